"""The spectrally normalized margin bound, with every constant."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tf_genbounds.bounds import grid
from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.margin import margin_statement
from tf_genbounds.bounds.norm_product import CHAIN
from tf_genbounds.bounds.norm_product import check_norms
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive

_REFERENCE = "https://arxiv.org/abs/1706.08498, Theorem 1.1"


def spectral_complexity(
    spectral_norms: Sequence,
    distances: Sequence,
    lipschitz_constants: Sequence | None = None,
) -> float:
    """Computes the spectral complexity `R_A` of a chain of layers.

    `R_A = (sum_i (D_i prod_j rho_j prod_{j != i} ||A^j||_2)**(2/3))**(3/2)`, with
    `D_i = ||A^i - M^i||_{2,1}`, the sum over units of the norm of the weights into
    them. Where no layer is zero it is the product of all `rho_i ||A^i||_2` times
    `(sum_i (D_i / ||A^i||_2)**(2/3))**(3/2)`.

    Args:
        spectral_norms: Sequence of `||A^i||_2`.
        distances: Sequence of `D_i`.
        lipschitz_constants: Sequence of `rho_i`, of what stands behind each layer.
            Defaults to 1 for each.

    Returns:
        Float.

    Raises:
        ValueError: If the sequences differ in length, or a number is negative or NaN.

    Example:

    >>> golden = (1 + 5**0.5) / 2
    >>> round(spectral_complexity([2.0, golden], [3.0, 1 + 2**0.5]), 7)
    13.6931479

    References:
        - [Bartlett et al., 2017](https://arxiv.org/abs/1706.08498)
    """
    spectral, distances, constants = _columns(
        spectral_norms, distances, lipschitz_constants
    )
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        logs = np.log(spectral)
        terms = [
            float(np.exp((np.log(distance) + np.delete(logs, i).sum()) * 2 / 3))
            for i, distance in enumerate(distances)
        ]
        total = float(math.fsum(terms) ** 1.5 * np.prod(constants))
    return math.inf if math.isnan(total) else total


def spectral_bound(
    margins: npt.ArrayLike,
    *,
    spectral_norms: Sequence,
    distances: Sequence,
    margin: float,
    input_norm: float,
    width: int,
    lipschitz_constants: Sequence | None = None,
    delta: float = 0.05,
    chosen_after_training: bool = True,
) -> Bound:
    """Bounds the risk of a network by its spectral complexity.

    For `n >= 2` examples, matrices `A^i` with references `M^i` that were fixed before
    the sample, and `R_A` of `spectral_complexity`, with probability at least
    `1 - delta`:

    `R <= Rhat_gamma + 8 / n**(3/2) + 72 ||X||_F sqrt(ln(2 W**2 + 1)) ln(n) R_A
    / (gamma n) + 3 sqrt(ln(2 / delta) / (2 n))`

    (The paper prints `ln(2 W)` for the root, which is less than it for narrow networks,
    and `ln(1 / delta)`, where two events have to hold; the 1 is for rounding in
    Maurey's lemma.) The norms and the margin of a trained network depend on the sample:
    each norm is rounded up to a power of `2**(1 / d)`, the margin down to a power of
    two, and `delta` becomes `delta prod_q 3 / (pi**2 (|j_q| + 1)**2)` over the
    `2 d + 1` exponents.

    Args:
        margins: Float array of shape `(n,)`, of the training examples, on the logits.
        spectral_norms: Sequence of `d` floats, none below `||A^i||_2`: a power
            iteration converges from below, see `functional.spectral_norm_upper_bound`.
        distances: Sequence of `||A^i - M^i||_{2,1}`: the sum over units of the norm of
            the weights into them. The reference is 0 or the initial weights.
        margin: Float, `gamma`. If it is not positive, the bound is `inf`.
        input_norm: Non-negative float, `||X||_F = sqrt(sum_i ||x_i||**2)`.
        width: Integer, `W`, the largest width, of the input and the output too; of
            convolutions, flattened.
        lipschitz_constants: Sequence of the Lipschitz constants of what stands behind
            each layer, activation and pooling together; it must map 0 to 0. Defaults to
            1 for each.
        delta: Float in (0, 1). Defaults to `0.05`.
        chosen_after_training: Whether norms and margin were chosen with a view to the
            sample, and have to be paid for. Defaults to `True`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> bound = spectral_bound(
    ...     np.ones(1000), spectral_norms=[2.0, 1.618034], distances=[3.0, 2.414214],
    ...     margin=0.5, input_norm=1000**0.5, width=2,
    ... )
    >>> bound.vacuous
    True

    References:
        - [Bartlett et al., 2017](https://arxiv.org/abs/1706.08498)
    """
    check_delta(delta)
    check_positive("width", width)
    spectral, distances, constants = _columns(
        spectral_norms, distances, lipschitz_constants
    )
    if not input_norm >= 0:
        raise ValueError(
            f"`input_norm` must not be negative. Received: input_norm={input_norm}"
        )
    exponents = ()
    if chosen_after_training:
        depth = len(spectral)
        rounded = [grid.root_rounded_up(n, depth) for n in (*spectral, *distances)]
        values, exponents = zip(*rounded, strict=True)
        spectral, distances = values[:depth], values[depth:]
    num_samples = np.size(margins)
    if num_samples < 2:
        raise ValueError(
            f"There must be at least 2 examples. Received: {num_samples} margins"
        )
    per_margin = (
        36
        * input_norm
        * math.sqrt(math.log(2 * width**2 + 1))
        * math.log(num_samples)
        * spectral_complexity(spectral, distances, constants)
        / num_samples
    )
    return margin_statement(
        "Bartlett, Foster and Telgarsky's bound",
        margins,
        # The two of `2 Rhat_S`; the theorem is of margins already.
        complexity=2 * per_margin,
        exponents=exponents,
        margin=margin,
        num_classes=None,
        delta=delta,
        form="empirical",
        constant=None,
        chosen_after_training=chosen_after_training,
        assumptions=(
            *CHAIN,
            Assumption(
                "what stands behind each layer maps 0 to 0 and has the Lipschitz "
                "constant that was given"
            ),
            Assumption("the reference matrices were fixed before the sample"),
        ),
        reference=_REFERENCE,
        further={"discretization": 8 / num_samples**1.5},
    )


def _columns(spectral_norms, distances, lipschitz_constants):
    spectral = check_norms("spectral_norms", spectral_norms)
    if lipschitz_constants is None:
        lipschitz_constants = np.ones(len(spectral))
    distances = check_norms("distances", distances)
    constants = check_norms("lipschitz_constants", lipschitz_constants)
    if not len(spectral) == len(distances) == len(constants):
        raise ValueError(
            "There must be one number for each layer in every sequence. Received: "
            f"{len(spectral)} spectral norms, {len(distances)} distances, "
            f"{len(constants)} Lipschitz constants"
        )
    return spectral, distances, constants
