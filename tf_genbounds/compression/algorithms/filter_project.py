"""Algorithm 4 of the compression paper: another filter at each position."""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from tf_genbounds.checks import check_finite
from tf_genbounds.checks import check_positive
from tf_genbounds.compression.algorithms.matrix_project import num_matrices
from tf_genbounds.compression.algorithms.matrix_project import project
from tf_genbounds.functional.random import normals

# Tells the random subspaces from the random filters.
_SUBSPACE = 0x5AB


@dataclasses.dataclass(frozen=True, eq=False)
class FilterProjection:
    """The kernel of a convolution, as inner products with random kernels.

    Attributes:
        numbers: Float32 array of shape `(k p,)`, `a_t = <A, B_t>`: all that is
            stored.
        shape: Shape of the kernel.
        num_filters: Integer, `k`.
        independence: Integer, `p`.
        locations: Integer, how many positions the output has.
        seed: Integer, of the random kernels.
        layer: Integer that tells the random kernels of this one from others.

    Example:

    >>> found = FilterProjection(np.ones(6), (3, 3, 1, 4), 3, 2, locations=4, seed=0, layer=0)
    >>> found.num_filters * found.independence == len(found.numbers)
    True
    """

    numbers: np.ndarray
    shape: tuple
    num_filters: int
    independence: int
    locations: int
    seed: int
    layer: int = 0

    def gains(self) -> np.ndarray:
        """Returns the weight of each `B_t` at each position, `(locations, k p)`."""
        return ops.convert_to_numpy(
            gains(self.numbers, self.num_filters, self.locations, self.seed, self.layer)
        )

    def kernels(self) -> np.ndarray:
        """Returns the kernel of each position, `(locations, *shape)`."""
        index = np.arange(len(self.numbers), dtype="int32")
        size = math.prod(self.shape)
        random = ops.convert_to_numpy(normals([self.seed, self.layer, index], size))
        return (self.gains() @ random).reshape(self.locations, *self.shape)


def filter_project(
    kernel: npt.ArrayLike,
    epsilon: float,
    eta: float,
    *,
    locations: int,
    seed: int,
    constant: str = "safe",
    independence: int | None = None,
    layer: Any = 0,
) -> FilterProjection:
    """Compresses the kernel of a convolution, with other errors at each position.

    For random normal kernels `B_1` to `B_{kp}` the numbers `a_t = <A, B_t>` are
    stored. Position `l` of the output has a random subspace: `C_l` of shape
    `(k, k p)` with orthonormal rows, and

        M_c(l) = sum_t C_l[c, t] B_t
        Ahat_l = (1 / k) sum_c <A, M_c(l)> M_c(l)

    At each position this is algorithm 1 with `k` normal matrices: unbiased, and
    with `constant="safe"`, for fixed `u` and `v`,

    `P[|u^T Ahat_l v - u^T A v| >= epsilon ||A||_F ||u|| ||v||] <= eta`

    The errors of two positions have correlation `1 / p` (in a direction `B`, each
    has variance `(||A||^2 ||B||^2 + <A, B>^2) / k`). So sums over positions do not
    average them out altogether, and theorem 5.1 of the paper, whose filters are
    `p`-wise independent, is not proved for these. With `p = 1` all positions share
    one kernel.

    Args:
        kernel: Array of any shape.
        epsilon: Positive float.
        eta: Float in (0, 1).
        locations: Positive integer, how many positions the output has.
        seed: Integer. For a guarantee it has to be fixed before the data.
        constant: `"safe"` or `"paper"`, of `num_matrices(epsilon, eta, constant)`,
            which is `k`. Defaults to `"safe"`.
        independence: Integer, `p`. Defaults to `ceil(ln(1 / eta))`, and at most
            `locations`.
        layer: Integer: kernels of one network need random numbers of their own.

    Returns:
        `FilterProjection`.

    Raises:
        ValueError: If the kernel is not finite, or a number is out of range.

    Warns:
        UserWarning: If `k p >= N`, which compresses nothing.

    Example:

    >>> found = filter_project(
    ...     np.ones((3, 3, 40, 40)), 0.3, 0.1, locations=64, seed=0
    ... )
    >>> found.num_filters, found.independence, len(found.numbers)
    (205, 3, 615)

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), algorithm 4.
    """
    kernel = check_finite(kernel)
    check_positive("locations", locations)
    count = num_matrices(epsilon, eta, constant)
    if independence is None:
        independence = math.ceil(math.log(1 / eta))
    check_positive("independence", independence)
    independence = min(independence, locations)
    if count * independence >= kernel.size:
        warnings.warn(
            f"{count} times {independence} numbers are no compression of a kernel "
            f"of {kernel.size}. Received: epsilon={epsilon}, eta={eta}",
            stacklevel=2,
        )
    return project_filters(
        kernel, count, independence, locations=locations, seed=seed, layer=layer
    )


def project_filters(kernel, count, independence, *, locations, seed, layer=0):
    """Computes the `count * independence` numbers; see `filter_project`."""
    found = project(
        kernel, count * independence, seed=seed, layer=layer, distribution="gaussian"
    )
    return FilterProjection(
        found.numbers, found.shape, count, independence, locations, seed, layer
    )


def gains(numbers, count, locations, seed, layer):
    """Computes `C_l^T C_l a / k` for each position, `(locations, k p)`.

    Args:
        numbers: Tensor of shape `(k p,)`.
        count: Integer, `k`.
        locations: Integer.
        seed: Integer; so is `layer`.
    """
    numbers = ops.cast(ops.convert_to_tensor(numbers), "float32")
    total = numbers.shape[0]
    if total == count:  # The subspace is the whole space.
        return ops.tile(numbers[None] / count, (locations, 1))
    index = ops.arange(locations, dtype="int32")
    random = normals([seed, layer, _SUBSPACE, index], total * count)
    # The rows of `C_l` span a uniformly random subspace: that of normal vectors.
    random = ops.reshape(random, (locations, total, count))
    transposed = ops.transpose(random, (0, 2, 1))
    right = ops.matmul(transposed, numbers[:, None])
    coordinates = ops.linalg.solve(ops.matmul(transposed, random), right)
    return ops.matmul(random, coordinates)[..., 0] / count
