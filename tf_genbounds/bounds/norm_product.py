"""Norm-based bounds with every constant: the product of the norms of the layers."""

import fractions
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tf_genbounds.bounds import grid
from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.margin import check_margins
from tf_genbounds.bounds.margin import margin_statement
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.rounding import at_least
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive

CHAIN = (
    Assumption(
        "the network is a chain of linear layers, with no biases beside those that the "
        "norms count"
    ),
    Assumption("architecture and preprocessing do not depend on the sample"),
)
_ELEMENTWISE = Assumption(
    "the activations act on each unit, have slopes of at most 1, map 0 to 0 and are "
    "positively homogeneous (ReLU, leaky ReLU); average pooling counts as a layer, and "
    "there is no max pooling"
)


def norm_product_bound(
    margins: npt.ArrayLike,
    *,
    norms: Sequence,
    margin: float,
    num_classes: int,
    inputs: npt.ArrayLike | None = None,
    input_bound: float | None = None,
    num_inputs: int | None = None,
    theorem: str = "golowich_frobenius",
    delta: float = 0.05,
    constant: str = "4k",
    chosen_after_training: bool = True,
) -> Bound:
    """Bounds the risk of a network by the product of the norms of its layers.

    For networks with matrices `A^1, ..., A^d`, `P = prod_i ||A^i||`, and the sample
    `x_1, ..., x_m` in `n` dimensions, the Rademacher complexity of the scores is at
    most:

    - `theorem="neyshabur"`, Frobenius norms: `2**(d - 1) P sqrt(sum_i ||x_i||**2) / m`
    - `theorem="golowich_frobenius"`:
      `(sqrt(2 d ln 2) + 1) P sqrt(sum_i ||x_i||**2) / m`
    - `theorem="golowich_l1_inf"`, the norms `||A||_{1,inf}`:
      `2 sqrt(d + 1 + ln n) P sqrt(max_j sum_i x_ij**2) / m`
    - `theorem="golowich_l1_inf_tight"`, with the constant that the proof gives:
      `sqrt(2 ((d + 1) ln 2 + ln n)) P sqrt(max_j sum_i x_ij**2) / m`

    What follows is `margin_bound` of it: `form="empirical"` by `inputs`, or
    `"expected"` by `input_bound`, a limit `X` that every possible input obeys, with
    `sqrt(m) X` in place of the root of the sum. `P` and the margin of a trained network
    depend on the sample: `P` is rounded up and the margin down to powers of two, and
    `delta` in the formulas becomes `delta * 9 / (pi**4 (|i| + 1)**2 (|j| + 1)**2)`. (A
    class depends on the norms through their product alone, since the layers can be
    rescaled.) It is a guarantee, and vacuous for nearly every network that is used.

    Args:
        margins: Float array of shape `(m,)`, of the training examples, on the logits.
        norms: Sequence of `d` non-negative floats, `||A^i||`, none below the norm: of
            full matrices, also for convolutions. `inf` gives a vacuous bound.
        margin: Float. If it is not positive, the bound is `inf`.
        num_classes: Integer, the number of logits.
        inputs: Float array of shape `(m, ...)`, the sample's inputs.
        input_bound: Float, `X`, in place of `inputs`: of `||x||_2`, or of `|x_j|` for
            the theorems with `l1_inf`. By construction of the data.
        num_inputs: Integer, `n`; needed beside `input_bound` for these.
        theorem: One of the above.
        delta: Float in (0, 1). Defaults to `0.05`.
        constant: `"4k"` or `"paper"`, as in `margin_bound`.
        chosen_after_training: Whether norms and margin were chosen with a view to the
            sample, and have to be paid for. Defaults to `True`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range or NaN, or not exactly one of `inputs`
            and `input_bound` is given.

    Example:

    >>> bound = norm_product_bound(
    ...     np.full(10000, 2.5), norms=[1.0, 1.0], margin=2.0, num_classes=1,
    ...     input_bound=1.0,
    ... )
    >>> round(bound.slack["complexity"], 4), bound.vacuous
    (0.0267, False)

    References:
        - [Neyshabur et al., 2015](https://arxiv.org/abs/1503.00036)
        - [Golowich et al., 2018](https://arxiv.org/abs/1712.06541)
    """
    check_choice("theorem", theorem, tuple(_THEOREMS))
    check_choice("constant", constant, ("4k", "paper"))
    check_delta(delta)
    margins = check_margins(margins)
    product = _product(check_norms("norms", norms))
    exponents = ()
    if chosen_after_training:
        product, exponent = grid.rounded_up(product)
        exponents = (exponent,)
    name, reference, kind, factor = _THEOREMS[theorem]
    size, num_inputs = _size(kind, len(margins), inputs, input_bound, num_inputs)
    assumptions = [*CHAIN, _ELEMENTWISE]
    if input_bound is not None:
        what = "norm" if kind == "l2" else "entry"
        text = f"no input has a {what} of more than {at_least(input_bound)}"
        assumptions.append(Assumption(f"{text}, by construction"))
    return margin_statement(
        name,
        margins,
        complexity=factor(len(norms), num_inputs) * product * size,
        exponents=exponents,
        margin=margin,
        num_classes=num_classes,
        delta=delta,
        form="empirical" if input_bound is None else "expected",
        constant=constant,
        chosen_after_training=chosen_after_training,
        assumptions=tuple(assumptions),
        reference=reference,
    )


_NEYSHABUR = "https://arxiv.org/abs/1503.00036"
_GOLOWICH = "https://arxiv.org/abs/1712.06541"
# Name, reference, norm of the inputs, factor of the depth and the dimension.
_THEOREMS = {
    "neyshabur": (
        "Neyshabur, Tomioka and Srebro's bound",
        _NEYSHABUR,
        "l2",
        lambda depth, _: 2.0 ** (depth - 1),
    ),
    "golowich_frobenius": (
        "Golowich, Rakhlin and Shamir's bound (Frobenius norms)",
        f"{_GOLOWICH}, Theorem 1",
        "l2",
        lambda depth, _: math.sqrt(2 * math.log(2) * depth) + 1,
    ),
    "golowich_l1_inf": (
        "Golowich, Rakhlin and Shamir's bound (l1,inf norms)",
        f"{_GOLOWICH}, Theorem 2",
        "inf",
        lambda depth, inputs: 2 * math.sqrt(depth + 1 + math.log(inputs)),
    ),
    "golowich_l1_inf_tight": (
        "Golowich, Rakhlin and Shamir's bound (l1,inf norms, the proof's constant)",
        f"{_GOLOWICH}, proof of Theorem 2",
        "inf",
        lambda depth, inputs: math.sqrt(
            2 * ((depth + 1) * math.log(2) + math.log(inputs))
        ),
    ),
}


def check_norms(name, norms):
    """Returns norms as a vector of float64, one for each layer; refuses others."""
    norms = np.asarray(norms, "float64")
    if norms.ndim != 1 or not norms.size or not (norms >= 0).all():
        raise ValueError(
            f"`{name}` must have a number for each layer, not negative and not NaN. "
            f"Received: {name}={norms}"
        )
    return norms


def _product(norms):
    """Returns the product of norms, rounded up to a float."""
    if np.isinf(norms).any():
        return math.inf
    exact = math.prod(map(fractions.Fraction, norms.tolist()))
    try:
        product = float(exact)
    except OverflowError:
        return math.inf
    return product if product >= exact else math.nextafter(product, math.inf)


def _size(kind, num_samples, inputs, input_bound, num_inputs):
    """Returns the norm of the inputs over the size of the sample, and `n`."""
    if (inputs is None) == (input_bound is None):
        raise ValueError(
            "Pass either `inputs` or `input_bound`. "
            f"Received: inputs={inputs}, input_bound={input_bound}"
        )
    if inputs is None:
        if not input_bound >= 0:
            raise ValueError(
                "`input_bound` must not be negative. "
                f"Received: input_bound={input_bound}"
            )
        if kind == "inf":
            check_positive("num_inputs", num_inputs)
        return input_bound / math.sqrt(num_samples), num_inputs
    inputs = np.asarray(inputs)
    if len(inputs) != num_samples or not np.isfinite(inputs).all():
        raise ValueError(
            f"`inputs` must be finite, one for each of {num_samples} margins. "
            f"Received: inputs.shape={inputs.shape}"
        )
    squares = np.sum(np.square(inputs, dtype="float64"), axis=0).ravel()
    total = squares.sum() if kind == "l2" else squares.max()
    return math.sqrt(total) / num_samples, squares.size
