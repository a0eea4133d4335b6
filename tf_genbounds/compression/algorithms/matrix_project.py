"""Algorithm 1 of the compression paper: inner products with random matrices."""

import dataclasses
import functools
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from tf_genbounds import backend
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_finite
from tf_genbounds.functional.random import normals
from tf_genbounds.functional.random import signs

# Entries of the random matrices that are in memory at a time.
_BLOCK = 2**23
DISTRIBUTIONS = {"rademacher": signs, "gaussian": normals}


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """A kernel as inner products with random matrices.

    Attributes:
        numbers: Float32 array of shape `(k,)`, `<A, M_l>`: all that is stored.
        shape: Shape of the kernel.
        seed: Integer, of the random matrices.
        layer: Integer that tells the matrices of this kernel from others.
        distribution: `"rademacher"` or `"gaussian"`.

    Example:

    >>> found = Projection(np.ones(5), (3, 4), seed=0, layer=0, distribution="rademacher")
    >>> len(found.numbers), found.shape
    (5, (3, 4))
    """

    numbers: np.ndarray
    shape: tuple
    seed: int
    layer: int = 0
    distribution: str = "rademacher"

    def kernel(self) -> np.ndarray:
        """Returns `Ahat = (1 / k) sum_l <A, M_l> M_l`, a float32 array."""
        size = math.prod(self.shape)
        total = np.zeros(size, "float32")
        expand = _compiled("expand", size, self._rows(), self.distribution)
        for start, part in _blocks(self.numbers, self._rows()):
            total += ops.convert_to_numpy(
                expand(*_keys(self.seed, self.layer, start), part)
            )
        return (total / len(self.numbers)).reshape(self.shape)

    def _rows(self):
        return block_rows(math.prod(self.shape), len(self.numbers))


def matrix_project(
    kernel: npt.ArrayLike,
    epsilon: float,
    eta: float,
    *,
    seed: int,
    constant: str = "safe",
    distribution: str = "rademacher",
    layer: Any = 0,
) -> Projection:
    """Compresses a kernel to its inner products with random matrices.

    `Ahat = (1 / k) sum_l <A, M_l> M_l`, for `k` independent matrices `M_l` of
    the shape of `A`. For fixed vectors `u` and `v`, with the safe constant,

    `P[|u^T Ahat v - u^T A v| >= epsilon ||A||_F ||u|| ||v||] <= eta`

    - `constant="safe"`: `k = ceil(4 ln(4 / eta) / (eps**2 - 2 eps**3 / 3))`, for
      which this is a theorem; an `epsilon` from 1 on counts as 0.99.
    - `constant="paper"`: `k = ceil(ln(1 / eta) / epsilon**2)`, which is too
      small for it: failures of 0.27 were measured for `eta=0.1`.

    The directions must not depend on the random matrices; for many of them
    divide `eta` by their number. `E Ahat = A`, and for Rademacher matrices and
    `N` entries `E ||Ahat - A||_F**2 = (N - 1) ||A||_F**2 / k`: `Ahat` is far
    from `A`, and only fixed directions are kept.

    The matrices are hashes of seed, layer and index, the same on every backend,
    and are made in blocks, twice: memory does not grow with `k`.

    Args:
        kernel: Array of any shape, with `N` entries.
        epsilon: Positive float.
        eta: Float in (0, 1).
        seed: Integer. For a guarantee it has to be fixed before the data.
        constant: `"safe"` or `"paper"`. Defaults to `"safe"`.
        distribution: `"rademacher"`, signs, or `"gaussian"`, for which
            `N + 1` stands in the place of `N - 1`.
        layer: Integer: kernels of one network need matrices of their own.

    Returns:
        `Projection`.

    Raises:
        ValueError: If the kernel is not check_finite, or a number is out of range.

    Warns:
        UserWarning: If `k >= N`, which compresses nothing.

    Example:

    >>> projection = matrix_project(np.ones((50, 50)), 0.3, 0.1, seed=0)
    >>> len(projection.numbers), projection.kernel().shape
    (205, (50, 50))

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), algorithm 1.
        - [Achlioptas, 2003](https://doi.org/10.1016/S0022-0000(03)00025-4), for
          the tails of the safe constant.
    """
    kernel = check_finite(kernel)
    count = num_matrices(epsilon, eta, constant)
    if count >= kernel.size:
        warnings.warn(
            f"{count} numbers are no compression of a kernel of {kernel.size}. "
            f"Received: epsilon={epsilon}, eta={eta}",
            stacklevel=2,
        )
    return project(kernel, count, seed=seed, layer=layer, distribution=distribution)


def num_matrices(epsilon: Any, eta: Any, constant: str = "safe") -> int:
    """Returns the number `k` of random matrices; see `matrix_project`.

    Example:

    >>> [num_matrices(0.3, 0.1, constant) for constant in ("paper", "safe")]
    [26, 205]
    """
    check_choice("constant", constant, ("safe", "paper"))
    if not epsilon > 0 or not 0 < eta < 1:
        raise ValueError(
            "`epsilon` must be positive, and `eta` lie in (0, 1). "
            f"Received: epsilon={epsilon}, eta={eta}"
        )
    if constant == "paper":
        return math.ceil(math.log(1 / eta) / epsilon**2)
    epsilon = min(epsilon, 0.99)
    return math.ceil(4 * math.log(4 / eta) / (epsilon**2 - 2 * epsilon**3 / 3))


def project(
    kernel: Any,
    count: Any,
    *,
    seed: int,
    layer: Any = 0,
    distribution: str = "rademacher",
) -> Projection:
    """Computes `count` inner products; see `matrix_project`.

    Example:

    >>> project(np.eye(3), 4, seed=0).numbers.shape
    (4,)
    """
    check_choice("distribution", distribution, tuple(DISTRIBUTIONS))
    kernel = check_finite(kernel).astype("float32")
    if count < 1:
        raise ValueError(f"`count` must be positive. Received: count={count}")
    rows = block_rows(kernel.size, count)
    reduce = _compiled("reduce", kernel.size, rows, distribution)
    flat = ops.convert_to_tensor(kernel.reshape(-1))
    numbers = np.zeros(-(-count // rows) * rows, "float32")
    for start, _ in _blocks(numbers, rows):
        numbers[start : start + rows] = ops.convert_to_numpy(
            reduce(*_keys(seed, layer, start), flat)
        )
    return Projection(numbers[:count], kernel.shape, seed, layer, distribution)


@functools.lru_cache(maxsize=64)
def _compiled(direction, size, rows, distribution):
    """Compiles a block of one of the two passes."""
    draw = DISTRIBUTIONS[distribution]

    def matrices(seed, layer, start):
        # A matrix is its own stream: blocks of any size draw the same.
        index = start + ops.arange(rows, dtype="int32")
        return draw([seed, layer, index], size)

    def reduce(seed, layer, start, kernel):
        return ops.matmul(matrices(seed, layer, start), kernel)

    def expand(seed, layer, start, numbers):
        return ops.matmul(numbers, matrices(seed, layer, start))

    return backend.jit({"reduce": reduce, "expand": expand}[direction], xla=True)


def _keys(*keys):
    return [ops.convert_to_tensor(key, "int32") for key in keys]


def block_rows(size, count):
    """Returns how many random matrices are made at a time."""
    return max(1, min(count, _BLOCK // size))


def _blocks(numbers, rows):
    """Yields each block's start and numbers, the last filled up with zeros."""
    for start in range(0, len(numbers), rows):
        part = numbers[start : start + rows]
        yield start, np.pad(part, (0, rows - len(part)))
