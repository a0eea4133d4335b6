"""The effective number of parameters of the compression paper."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_genbounds.bounds.complexity import Complexity
from tf_genbounds.bounds.complexity import LayerComplexity
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta

# Of lemma 3, with as many random matrices as algorithm 1 takes, and with as
# many as its guarantee needs.
_CONSTANTS = {"explicit": 72, "safe": 324}
_REFERENCE = "https://arxiv.org/abs/1802.05296"


def effective_parameters(
    layer_cushions: Sequence,
    interlayer_cushions: Sequence,
    contractions: Sequence,
    *,
    jacobian_spreads: Sequence | None = None,
    patch_overlaps: Sequence | None = None,
    num_parameters: Any = None,
    names: Sequence[str] | None = None,
    constants: str = "ignore",
    relative_error: float | None = None,
    num_samples: int | None = None,
    width: int | None = None,
    delta: float = 0.05,
    smoothness: Any = None,
    assumptions: Sequence = (),
) -> Complexity:
    """Counts the parameters that a network needs, by its noise stability.

    With `constants="ignore"` the number of layer `i` is, as in table 1 and
    figure 3 of the compression paper,

        N_i = c_i^2 beta_i^2 overlap_i / (mu_i^2 mu_{i->}^2)

    and the value is their sum. With `"explicit"` and `"safe"` it is the number
    of lemma 3, for a compressed network whose outputs `f'` have
    `||f - f'|| <= eps ||f||` on the sample with probability `1 - delta / 2`:

        q = C c^2 d^2 ln(m d h / delta) / eps^2
            * sum_i beta^2 overlap_i / (mu_i^2 mu_{i->}^2)

    with `c` and `beta` the largest of any layer and `C = 72`, or `C = 324` (and
    `d` more), which allows for the number of random matrices that algorithm 1
    really needs. Since `q` depends on the sample, neither is a guarantee.

    Args:
        layer_cushions: Sequence of `mu_i`, one for each layer.
        interlayer_cushions: Sequence of minimal interlayer cushions, `mu_{i->}`.
        contractions: Sequence of `c_i`, of the activation before each layer. Not
            for `"ignore"`: of all that is between two layers, pooling too.
        jacobian_spreads: Sequence of `beta_i`. Defaults to 1, as for dense
            layers.
        patch_overlaps: Sequence of `ceil(taps / stride)` over all axes.
            Defaults to 1, as for dense layers.
        num_parameters: Sequence of the layers' numbers of weights, or `None`.
        names: Sequence of the layers' names.
        constants: `"ignore"`, `"explicit"` or `"safe"`.
        relative_error: `eps` in (0, 1]. A margin of `gamma` allows
            `gamma / (sqrt(2) max_x ||f(x)||)`. Not for `"ignore"`.
        num_samples: `m`. Not for `"ignore"`.
        width: `h`, the largest number of units of a layer. Not for
            `"ignore"`.
        delta: Failure probability in (0, 1). Not for `"ignore"`.
        smoothness: The interlayer smoothness `rho`, or `None`. An estimate can
            refute that it is large enough, and does not confirm it.
        assumptions: More `Assumption`s, to be kept with the result.

    Returns:
        `Complexity`. `inf` if a cushion is 0 or a contraction infinite.

    Raises:
        ValueError: If the sequences differ in length or a number is out of
            range.

    Example:

    >>> result = effective_parameters([0.2, 0.4], [0.1, 0.1], [1.5, 1.5])
    >>> round(result.value, 3)
    7031.25

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), lemma 3,
          theorems 4.1 and 5.1, table 1.
    """
    check_choice("constants", constants, ("ignore", *_CONSTANTS))
    depth = len(layer_cushions)
    ones = np.ones(depth)
    columns = {
        "layer_cushions": layer_cushions,
        "interlayer_cushions": interlayer_cushions,
        "contractions": contractions,
        "jacobian_spreads": ones if jacobian_spreads is None else jacobian_spreads,
        "patch_overlaps": ones if patch_overlaps is None else patch_overlaps,
    }
    columns = {k: _column(k, v, depth) for k, v in columns.items()}
    if names is None:
        names = [str(i + 1) for i in range(depth)]
    if num_parameters is None:
        num_parameters = [None] * depth
    mu, inter, contraction, spread, overlap = columns.values()
    found = [
        Assumption(
            "The numbers come from the sample, for which the theorem does not "
            "pay: this is a complexity, not a guarantee.",
            "failed",
        ),
        _smooth(smoothness, depth),
        *assumptions,
    ]
    if constants == "ignore":
        values = _per_layer(overlap, contraction * spread, mu, inter)
        total, formula = float(np.sum(values)), "sum_i (c_i beta_i)^2 overlap_i"
    else:
        values, formula, more = _explicit(
            columns.values(), constants, relative_error, num_samples, width, delta
        )
        total = float(np.sum(values))
        found += more
    return Complexity(
        name=f"effective parameters, constants={constants}",
        value=total,
        unit="parameters",
        formula=f"{formula} / (mu_i mu_(i->))^2",
        reference=_REFERENCE,
        layers=tuple(
            LayerComplexity(name, float(value), count)
            for name, value, count in zip(names, values, num_parameters, strict=True)
        ),
        assumptions=tuple(found),
    )


def _explicit(columns, constants, relative_error, num_samples, width, delta):
    """The numbers of the layers with all constants, their formula, what is assumed."""
    _check_explicit(relative_error, num_samples, width, delta)
    mu, inter, contraction, spread, overlap = columns
    depth, constant = len(mu), _CONSTANTS[constants]
    factor = constant * math.log(num_samples * depth * width / delta)
    # With eps_i, the relative error that layer i is projected with: (6 eps_i)^-2, of
    # the dense layers that the lemma is about.
    amplification = contraction.max() * spread.max() * depth / relative_error
    squares = _per_layer(overlap, amplification, mu, inter)
    with np.errstate(over="ignore"):
        values = factor * squares
    if constants == "safe":
        values = values + 1  # Each number of matrices is rounded up.
    assumptions = [
        _many(num_samples, delta, constants),
        # A layer without a number is not projected.
        Assumption.of(
            "Every layer is projected with a relative error of at most 1/6.",
            np.all((squares >= 1) | (squares == 0)),
        ),
        Assumption.of(
            "Every layer is dense: the constant of convolutions is unknown.",
            None if spread.max() == overlap.max() == 1 else False,
        ),
    ]
    formula = f"{constant} c^2 d^2 ln(m d h / delta) / eps^2 sum_i beta^2 overlap_i"
    return values, formula, assumptions


def _per_layer(overlap, amplification, mu, inter):
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        values = overlap * (amplification / mu / inter) ** 2
    # Nothing replaces a layer that some sample does not get through, even where
    # another of its numbers makes the quotient 0 or undefined.
    lost = (mu == 0) | (inter == 0) | np.isinf(amplification) | np.isinf(overlap)
    return np.where(lost, np.inf, values)


def _smooth(smoothness, depth):
    text = f"The interlayer smoothness is at least 3 d = {3 * depth}"
    if smoothness is None:
        return Assumption(f"{text}; it was not measured.")
    # It is a quantile over the noise of the very projections, which a few draws of
    # another noise can make doubtful, but not prove.
    return Assumption(
        f"{text}; a few draws of noise gave {smoothness:.4g}.",
        "unchecked" if smoothness >= 3 * depth else "failed",
    )


def _many(num_samples, delta, constants):
    least = (6 if constants == "explicit" else 24) * delta
    return Assumption(
        f"There are at least {least:.4g} samples.",
        "checked" if num_samples >= least else "failed",
    )


def _column(name, values, depth):
    values = np.asarray(values, "float64")
    if values.shape != (depth,) or depth == 0:
        raise ValueError(
            "There must be one number for each layer in every sequence. "
            f"Received: {depth} layer cushions, {name} of shape {values.shape}"
        )
    if not (values >= 0).all():  # NaN is not, either.
        raise ValueError(
            f"`{name}` must not be negative or NaN. Received: {name}={values}"
        )
    return values


def _check_explicit(relative_error, num_samples, width, delta):
    for name, value in {"num_samples": num_samples, "width": width}.items():
        if value is None or value < 1:
            raise ValueError(
                f"Explicit constants need `{name}`, a positive number. "
                f"Received: {name}={value}"
            )
    if relative_error is None or not 0 < relative_error <= 1:
        raise ValueError(
            "Explicit constants need `relative_error` in (0, 1]. "
            f"Received: relative_error={relative_error}"
        )
    check_delta(delta)
