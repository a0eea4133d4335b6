"""Norms of the weights that come into each unit."""

from typing import Any

from keras import ops

from tf_genbounds.checks import check_choice
from tf_genbounds.functional.operators import as_matrices
from tf_genbounds.functional.operators import check_matrix


def unit_norms(target: Any, order: Any) -> Any:
    """Computes the norm of the weights into each unit of a layer.

    For row `u` of the matrix `A`, `sum_v abs(A[u, v])` for order 1 and
    `sqrt(sum_v A[u, v]**2)` for order 2. The largest one of order 1 is
    `||A||_{1,inf}`, the sum of those of order 2 is `||A||_{2,1}`: two norms of
    weight matrices in generalization bounds.

    Args:
        target: `LinearOperator`, whose kernel matrix is meant (a row a filter, see
            `LinearOperator.kernel_matrix`), or array of shape
            `(..., rows, columns)`.
        order: 1 or 2.

    Returns:
        Float32 tensor of shape `(..., rows)`; `(blocks, rows)` for an operator.

    Raises:
        ValueError: If `order` is another, or the array has no rows and columns.

    Example:

    >>> norms = unit_norms(np.array([[3.0, -4.0], [0.0, 1.0]]), order=2)
    >>> [float(norm) for norm in norms]
    [5.0, 1.0]

    References:
        - [Neyshabur et al., 2015](https://arxiv.org/abs/1503.00036)
        - [Bartlett et al., 2017](https://arxiv.org/abs/1706.08498)
    """
    check_choice("order", order, (1, 2))
    if check_matrix(target, "kernel") != "array":
        target = target.kernel_matrix()
    magnitudes = ops.abs(as_matrices(target))
    if order == 1:
        return ops.sum(magnitudes, axis=-1)
    # Squares of numbers of any size.
    largest = ops.max(magnitudes, axis=-1, keepdims=True)
    scaled = magnitudes / ops.where(largest > 0, largest, 1.0)
    return largest[..., 0] * ops.sqrt(ops.sum(ops.square(scaled), axis=-1))
