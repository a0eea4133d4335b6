"""How many parameters a noise-stable network really uses."""

import math
import numbers

import numpy as np

from tf_genbounds.bounds.bound import Assumption
from tf_genbounds.bounds.bound import Complexity
from tf_genbounds.bounds.bound import LayerComplexity
from tf_genbounds.bounds.bound import check_delta
from tf_genbounds.measurements import check_choice

# Lemma 3 projects layer `i` on `k = r ln(s / eta) / eps_i**2` numbers, rounded
# up, with `eta = delta / (6 d**2 h**2 m)` and `1 / eps_i**2 = 36 d**2 / eps**2`
# times the layer's share. `ln(s / eta) <= 2 ln(m d h / delta)` if `m >= 6 s
# delta`, and with one more delta the rest pays for the rounding up. So the
# constant is `72 r`. The printed `k` has r = s = 1; the one with the claimed
# failure probability has s = 4, and r = 4.5 where eps_i <= 1/6.
_CONSTANTS = {"explicit": 72.0, "safe": 324.0}
_LEAST_SAMPLES = {"explicit": 7, "safe": 25}


def effective_parameters(
    layer_cushions,
    minimal_interlayer_cushions,
    contractions,
    *,
    jacobian_spreads=None,
    overlaps=None,
    num_parameters=None,
    names=None,
    constants="ignore",
    depth=None,
    width=None,
    num_samples=None,
    delta=0.05,
    max_output_norm=None,
    margin=None,
    relative_error=None,
    smoothness=None,
):
    """Computes the effective number of parameters of a noise-stable network.

    Layer `i`, with cushion `mu_i`, minimal interlayer cushion `mu_{i->}`,
    contraction `c_i`, spread `beta_i` of its Jacobian (1 for dense layers) and
    patch overlap `o_i` (1 for dense layers, `ceil(kernel / stride)**2` for
    square filters), counts as

    `N_i = c_i**2 * beta_i**2 * o_i / (mu_i**2 * mu_{i->}**2)`.

    - `constants="ignore"`: The sum of the `N_i`, as in Table 1 of the paper. If
      `max_output_norm` and `margin` are given, `terms["figure_3"]` is the sum
      times `(max_output_norm / margin)**2`, as in its Figure 3.
    - `constants="explicit"`: The size of the compressed network in the proof of
      Lemma 3, with `c` and `beta` the maxima over the layers, as there, and
      `eps` the relative output error,

      `q = 72 c**2 d**2 ln(m d h / delta) / eps**2 *
      sum_i beta**2 o_i / (mu_i**2 mu_{i->}**2)`.

      Theorem 4.1 takes `eps**2 = margin**2 / (2 max_output_norm**2)`, which
      makes the factor 144: then no margin moves by more than `margin`.
    - `constants="safe"`: The same with 324 (648) in place of 72 (144). The
      printed number of projections is too small for the failure probability
      that the paper claims for it; this one is large enough.

    `q` depends on the sample, so it is a complexity, not a bound: the theorem
    that would turn it into one needs it fixed in advance.

    Args:
        layer_cushions: Sequence of `d` floats, `mu_i`. `inf` for a layer that
            needs no parameters, 0 for one that no number of them can replace.
        minimal_interlayer_cushions: Sequence of `d` floats, `mu_{i->}`.
        contractions: Sequence of `d` floats, `c_i` of the activation that gives
            the layer's input (1 for the first layer).
        jacobian_spreads: Sequence of `d` floats, `beta_i`. Defaults to 1.
        overlaps: Sequence of `d` numbers, `o_i`; see `patch_overlap`. Defaults
            to 1.
        num_parameters: Sequence of `d` integers, for the percentages.
        names: Sequence of `d` strings. Defaults to `"1"`, `"2"`, ...
        constants: `"ignore"`, `"explicit"` or `"safe"`. Defaults to `"ignore"`.
        depth: Integer, `d`. Defaults to the number of layers given.
        width: Integer, `h`, the largest number of units of a layer.
        num_samples: Integer, `m`.
        delta: Float in (0, 1), the `delta` of the formula. Defaults to `0.05`.
        max_output_norm: Float, the largest `||f(x)||` over the sample.
        margin: Float, in the units of the logits. Not positive: `inf`.
        relative_error: Float, `eps`, in place of the two above.
        smoothness: Float, the interlayer smoothness `rho_delta`, or `None`.

    Returns:
        `Complexity`, with one `LayerComplexity` a layer. `inf` if a cushion is
        0 or a contraction is infinite.

    Raises:
        ValueError: If lengths differ, a number is missing, NaN or out of range.

    Example:

    >>> complexity = effective_parameters([0.5, 1.0], [0.5, 0.5], [1.0, 1.5])
    >>> complexity.value
    25.0
    >>> [layer.value for layer in complexity.layers]
    [16.0, 9.0]

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), Lemma 3,
          Theorems 4.1 and 5.1, Table 1, Figure 3.
    """
    check_choice("constants", constants, ("ignore", *_CONSTANTS))
    cushions = _floats("layer_cushions", layer_cushions)
    count = len(cushions)
    onward = _floats(
        "minimal_interlayer_cushions", minimal_interlayer_cushions, count
    )
    contractions = _floats("contractions", contractions, count)
    spreads = _floats("jacobian_spreads", jacobian_spreads, count, least=1)
    overlaps = _floats("overlaps", overlaps, count, least=1)
    names = _aligned("names", names, count) or map(str, range(1, count + 1))
    sizes = _aligned("num_parameters", num_parameters, count) or [None] * count
    depth = count if depth is None else depth
    if not depth >= count:
        raise ValueError(
            f"`depth` must be at least {count}, the number of layers. "
            f"Received: depth={depth}"
        )
    assumptions = [
        Assumption("the layers form a chain without biases, linear or ReLU-like"),
        Assumption.of(
            f"the interlayer smoothness is at least 3 d = {3 * depth}",
            None if smoothness is None else smoothness >= 3 * depth,
        )
    ]
    if constants == "ignore":
        shares = _shares(contractions, spreads, overlaps, cushions, onward)
        terms = {}
        if max_output_norm is not None and margin is not None:
            error = _relative_error(None, max_output_norm, margin)
            # Of which 2 belongs to the constants of Theorem 4.1.
            terms["figure_3"] = _total(_scaled(shares, 1.0, 2 * error * error))
    else:
        check_delta(delta)
        _positive_integers(width=width, num_samples=num_samples, depth=depth)
        error = _relative_error(relative_error, max_output_norm, margin)
        contraction, spread = contractions.max(), spreads.max()
        shares = _shares(contraction, spread, overlaps, cushions, onward)
        terms = {
            "constant": _CONSTANTS[constants],
            "contraction": float(contraction),
            "depth": depth,
            "logarithm": math.log(num_samples * depth * width / delta),
            "relative_error": error,
            "sum": _total(_shares(1.0, spread, overlaps, cushions, onward)),
        }
        assumptions += _conditions(
            shares,
            least_samples=_LEAST_SAMPLES[constants] * delta,
            num_samples=num_samples,
            error=error,
            depth=depth,
            dense=spread == 1 and np.all(overlaps == 1),
        )
        factor = terms["constant"] * depth**2 * terms["logarithm"]
        shares = _scaled(shares, factor, error * error)
    return Complexity(
        name="Effective parameters"
        + (", constants ignored" if constants == "ignore" else f", {constants}"),
        value=_total(shares),
        assumptions=tuple(assumptions),
        reference="https://arxiv.org/abs/1802.05296, Theorems 4.1 and 5.1",
        layers=tuple(
            LayerComplexity(str(name), float(share), size)
            for name, share, size in zip(names, shares, sizes, strict=True)
        ),
        terms=terms,
    )


def patch_overlap(kernel_size, strides=1, dilation_rate=1):
    """Counts the patches of a convolution that one input pixel can lie in.

    Per axis `ceil(taps * gcd(dilation, stride) / stride)`; their product is
    `ceil(kernel / stride)**2` for square filters without dilation.

    Args:
        kernel_size: Tuple of integers, one an axis.
        strides: The same, or one integer for all axes. Defaults to `1`.
        dilation_rate: The same. Defaults to `1`.

    Returns:
        Integer.

    Example:

    >>> patch_overlap((3, 3)), patch_overlap((5, 3), strides=2)
    (9, 6)
    >>> patch_overlap((3, 3), strides=2, dilation_rate=2)
    9

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), Theorem 5.1.
    """
    axes = len(kernel_size)
    strides = np.broadcast_to(strides, axes).tolist()
    dilation_rate = np.broadcast_to(dilation_rate, axes).tolist()
    return math.prod(
        # Exact: the ceiling of a quotient of integers.
        -(-taps * math.gcd(dilation, stride) // stride)
        for taps, stride, dilation in zip(
            kernel_size, strides, dilation_rate, strict=True
        )
    )


def _conditions(shares, *, least_samples, num_samples, error, depth, dense):
    """What Lemma 3 asks for, besides smoothness."""
    # eps_i = error / (6 depth sqrt(share)); a layer without a share needs none.
    roots = np.sqrt(np.where(shares, shares, np.inf))
    return [
        Assumption.of(
            f"the sample has at least {least_samples:g} examples",
            num_samples >= least_samples,
        ),
        Assumption.of("the relative error lies in (0, 1]", 0 < error <= 1),
        Assumption.of(
            "each layer is projected with a relative error of at most 1/6",
            np.all(error <= depth * roots),
        ),
        Assumption.of(
            "every layer is dense (for convolutions the constant is unknown)",
            None if dense else False,
        ),
    ]


def _shares(contractions, spreads, overlaps, cushions, onward):
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shares = overlaps * (contractions * spreads / cushions / onward) ** 2
    # No parameters replace a layer that some sample does not get through,
    # whatever its other numbers are.
    lost = np.isinf(contractions) | np.isinf(spreads) | np.isinf(overlaps)
    lost = lost | (cushions == 0) | (onward == 0)
    return np.where(lost, np.inf, shares)


def _scaled(shares, factor, divisor):
    """Divides by a number that may be 0 or infinite; an infinity stays one."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scaled = shares * factor / divisor if divisor else np.inf
    return np.where(np.isinf(shares), np.inf, scaled)


def _total(shares):
    return float(np.sum(shares))


def _relative_error(relative_error, max_output_norm, margin):
    """`eps` of Lemma 3; 0 for a margin that leaves no room for an error."""
    if (relative_error is None) == (max_output_norm is None or margin is None):
        raise ValueError(
            "Pass either `relative_error`, or `max_output_norm` and `margin`. "
            f"Received: relative_error={relative_error}, "
            f"max_output_norm={max_output_norm}, margin={margin}"
        )
    if relative_error is not None:
        if not relative_error > 0:
            raise ValueError(
                "`relative_error` must be positive. "
                f"Received: relative_error={relative_error}"
            )
        return float(relative_error)
    if not max_output_norm > 0 or math.isnan(margin):
        raise ValueError(
            "`max_output_norm` must be positive, and `margin` a number. "
            f"Received: max_output_norm={max_output_norm}, margin={margin}"
        )
    return max(float(margin), 0.0) / (math.sqrt(2) * float(max_output_norm))


def _floats(name, values, count=None, least=0):
    """Float64 array of values in `[least, inf]`; ones for `None` if optional."""
    if values is None and least == 1:
        return np.ones(count)
    found = np.array(_aligned(name, values, count), dtype="float64")
    # A missing value is NaN by now: to leave out its layer would be wrong.
    if found.ndim != 1 or not np.all(found >= least):
        raise ValueError(
            f"`{name}` must be a sequence of numbers of at least {least}. "
            f"Received: {name}={values}"
        )
    return found


def _aligned(name, values, count):
    if values is None:
        return None
    values = list(values) if np.iterable(values) else []
    if not values or count not in (None, len(values)):
        raise ValueError(
            f"`{name}` must be a sequence with one entry for each layer"
            + ("" if count is None else f", {count}")
            + f". Received: {name} of length {len(values)}"
        )
    return values


def _positive_integers(**values):
    for name, value in values.items():
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={value}"
            )
