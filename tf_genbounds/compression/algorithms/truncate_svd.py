"""Lemma 1 of the compression paper: kernels without their small directions."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from tf_genbounds.checks import check_finite


@dataclasses.dataclass(frozen=True, eq=False)
class Factors:
    """A kernel of low rank as the kernels of two layers, one after the other.

    Attributes:
        first: Float32 array, `(*taps, inputs, rank)`.
        second: Float32 array, `(1, ..., 1, rank, outputs)`, of as many axes.
        rank: Integer.
        error: Float, `||Ahat - A||_2` of the kernels as matrices: the largest
            singular value that was left out.

    Example:

    >>> factors = truncate_svd(np.diag([3.0, 2.0, 1.0]), rank=2)
    >>> factors.first.shape, factors.second.shape, round(float(factors.error), 4)
    ((3, 2), (2, 3), 1.0)
    """

    first: np.ndarray
    second: np.ndarray
    rank: int
    error: float

    @property
    def size(self) -> int:
        """Integer, how many numbers are stored."""
        return self.first.size + self.second.size

    def kernel(self) -> np.ndarray:
        """Returns the kernel of low rank, a float32 array."""
        second = self.second.reshape(self.rank, self.second.shape[-1])
        return (self.first.astype("float64") @ second).astype("float32")


def truncate_svd(
    kernel: npt.ArrayLike,
    threshold: float | None = None,
    *,
    rank: int | None = None,
    operator_norm: float | None = None,
    overlap: int = 1,
) -> Factors:
    """Leaves out the small singular values of a kernel.

    The kernel is a matrix `R` with a column for each output. Singular values
    below `threshold ||R||_2` are left out; then `||Rhat - R||_2` is at most
    that, and the rank at most `stable_rank(R) / threshold**2`.

    For a convolution, whose operator moves by up to `sqrt(overlap)` times as
    much, pass `operator_norm` and `overlap`: the cut is
    `threshold * operator_norm / sqrt(overlap)`, and the operator moves by at
    most `threshold * operator_norm`.

    Args:
        kernel: Array of shape `(..., outputs)`: of `Dense` or a convolution
            without groups.
        threshold: Positive float. Above 1 it leaves nothing.
        rank: Integer, in place of `threshold`: how many to keep.
        operator_norm: Float, the spectral norm of the operator; see
            `functional.spectral_norm`.
        overlap: Integer, in how many patches a pixel lies:
            `structure.patch_overlap(kernel)` of its
            `functional.linear_operator`.

    Returns:
        `Factors`, of `(inputs + outputs) * rank` numbers; the singular values
        are shared out evenly.

    Raises:
        ValueError: If the kernel is not finite, or not exactly one of
            `threshold` and `rank` is given, in range.

    Example:

    >>> factors = truncate_svd(np.diag([4.0, 2.0, 1.0]), 0.5)
    >>> factors.rank, factors.error
    (2, 1.0)

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), lemma 1.
    """
    kernel = check_finite(kernel)
    if kernel.ndim < 2 or (threshold is None) == (rank is None):
        raise ValueError(
            "Pass a kernel of at least two axes, and either `threshold` or "
            f"`rank`. Received: kernel.shape={kernel.shape}, "
            f"threshold={threshold}, rank={rank}"
        )
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype("float64")
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    if threshold is not None:
        if not threshold > 0:
            raise ValueError(
                f"`threshold` must be positive. Received: threshold={threshold}"
            )
        norm = values[0] if operator_norm is None else operator_norm
        cut = threshold * norm / math.sqrt(overlap)
        rank = int(np.sum((values >= cut) & (values > 0)))
    elif not 0 <= rank <= len(values):
        raise ValueError(
            f"`rank` must lie in [0, {len(values)}]. Received: rank={rank}"
        )
    root = np.sqrt(values[:rank])
    first = left[:, :rank] * root
    second = root[:, None] * right[:rank]
    ones = [1] * (kernel.ndim - 2)
    return Factors(
        first=first.reshape(*kernel.shape[:-1], rank).astype("float32"),
        second=second.reshape(*ones, *second.shape).astype("float32"),
        rank=rank,
        error=float(values[rank]) if rank < len(values) else 0.0,
    )
