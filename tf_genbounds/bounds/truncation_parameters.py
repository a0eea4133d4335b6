"""Theorem 2.2: the parameters that are left when small singular values go."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_genbounds.bounds.complexity import Complexity
from tf_genbounds.bounds.complexity import LayerComplexity
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_choice

# In the threshold: `||f - f'||` is at most `e / 3` of the margin, or the margin
# itself is kept, which asks for `sqrt(2) ||f - f'||`.
_CONSTANTS = {"paper": 3.0, "safe": math.e * math.sqrt(2)}


def truncation_parameters(
    *,
    spectral_norms: Sequence,
    stable_ranks: Sequence,
    width: int,
    margin: float,
    input_norm: float,
    num_parameters: Any = None,
    names: Sequence[str] | None = None,
    constants: str = "paper",
    assumptions: Sequence = (),
) -> Complexity:
    """Counts the parameters of a network without its small singular values.

    Every singular value of `A^i` below `t ||A^i||_2` is left out, for

        t = gamma / (c X d prod_i ||A^i||_2)

    with `c = 3` (`"paper"`: the outputs move by at most `e / 3 gamma`) or
    `c = e sqrt(2)` (`"safe"`: no margin shrinks by more than `gamma`). What is
    left of layer `i` has rank `srank(A^i) / t^2` at most and is stored as two
    factors of `2 h` numbers for each unit of rank:

        q = 2 c^2 h d^2 X^2 (prod_i ||A^i||_2^2) (sum_i srank(A^i)) / gamma^2

    This is theorem 2.2 of the compression paper with `X` squared, without which
    it would change with the unit of the inputs. It depends on the sample, and so
    is no guarantee.

    Args:
        spectral_norms: Sequence of `||A^i||_2`, of the operators.
        stable_ranks: Sequence of `srank(A^i)`; for a convolution the squared
            Frobenius norm of the kernel over the squared norm of the operator,
            times the overlap of the patches.
        width: `h`, the largest side of a matrix, the inputs included.
        margin: Float, `gamma`. If it is not positive, the value is `inf`.
        input_norm: Positive float, `X`, the largest norm of an input.
        num_parameters: Sequence of the layers' numbers of weights, or `None`.
        names: Sequence of the layers' names.
        constants: `"paper"` or `"safe"`.
        assumptions: More `Assumption`s, to be kept with the result.

    Returns:
        `Complexity`.

    Raises:
        ValueError: If the sequences differ in length or a number is out of range.

    Example:

    >>> found = truncation_parameters(
    ...     spectral_norms=[2.0, (1 + 5**0.5) / 2],
    ...     stable_ranks=[5 / 4, 3 / ((3 + 5**0.5) / 2)],
    ...     width=2,
    ...     margin=1.0,
    ...     input_norm=1.0,
    ... )
    >>> round(found.value, 5)
    3612.98447

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), theorem 2.2.
        - [Neyshabur et al., 2018](https://arxiv.org/abs/1707.09564)
    """
    check_choice("constants", constants, tuple(_CONSTANTS))
    norms = np.asarray(spectral_norms, "float64")
    ranks = np.asarray(stable_ranks, "float64")
    depth = len(norms)
    if ranks.shape != norms.shape or depth == 0 or not (norms >= 0).all():
        raise ValueError(
            "There must be a spectral norm and a stable rank, not negative, for "
            f"each layer. Received: spectral_norms={norms}, stable_ranks={ranks}"
        )
    if not (width >= 1 and input_norm > 0):
        raise ValueError(
            "`width` and `input_norm` must be positive. "
            f"Received: width={width}, input_norm={input_norm}"
        )
    constant = _CONSTANTS[constants]
    with np.errstate(over="ignore"):
        # The inverse of the threshold: 0 where the outputs are 0 anyway.
        inverse = (
            constant
            * input_norm
            * depth
            * np.prod(norms)
            / np.float64(margin if margin > 0 else math.nan)
        )
        values = 2 * width * np.where(ranks > 0, ranks * inverse**2, 0.0)
    if not margin > 0:
        values = np.full(depth, math.inf)
    return Complexity(
        name=f"parameters after truncation, constants={constants}",
        value=float(np.sum(values)),
        unit="parameters",
        formula=(
            f"{2 * constant**2:.6g} h d^2 X^2 prod_i ||A^i||_2^2 sum_i srank(A^i) / "
            "gamma^2"
        ),
        reference="https://arxiv.org/abs/1802.05296",
        layers=tuple(
            LayerComplexity(name, float(value), count)
            for name, value, count in zip(
                names or [str(i + 1) for i in range(depth)],
                values,
                num_parameters or [None] * depth,
                strict=True,
            )
        ),
        terms={"threshold": 1 / float(inverse) if inverse else math.inf},
        assumptions=(
            Assumption(
                "The numbers come from the sample, for which the theorem does not "
                "pay: this is a complexity, not a guarantee.",
                "failed",
            ),
            # Of layers of zeros nothing is left, whatever the threshold.
            Assumption.of(
                "The threshold is at most 1 / d.", inverse == 0 or inverse >= depth
            ),
            *assumptions,
        ),
    )
