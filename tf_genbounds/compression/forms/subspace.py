"""A random subspace around initial weights: many weights from few numbers."""

import math

import numpy as np
from keras import ops

from tf_genbounds.functional.random import normals

# What biases and the like, which begin with zeros, are moved by.
_SMALL = 0.1


class Subspace:
    """The weights `w_0 + D P v`, for a short array `v`.

    `P` is the Kronecker product of two random normal matrices, so that `P v` costs
    two small matrix products: with `v` as an array of shape `(a, b)`,
    `P v = Q_1 v Q_2^T / sqrt(a b)`. `D` scales each array of weights by its initial
    root mean square.

    Args:
        origin: List of arrays, `w_0`.
        dimension: Integer, at most how many numbers `v` has.
        seed: Integer, of `Q_1` and `Q_2`.

    Attributes:
        shape: Pair of integers, the shape of `v`.
    """

    def __init__(self, origin, dimension, seed):
        rows = math.isqrt(dimension)
        self.shape = rows, dimension // rows
        self._seed = seed
        self._origin = origin
        self._shapes = [tuple(a.shape) for a in origin]
        total = sum(math.prod(s) for s in self._shapes)
        self._sides = (
            math.isqrt(total - 1) + 1,
            -(-total // (math.isqrt(total - 1) + 1)),
        )

    def weights(self, array):
        """Returns the list of weights for an array of the subspace's shape."""
        left, right = (
            normals([self._seed, k, ops.arange(side, dtype="int32")], size)
            for k, (side, size) in enumerate(zip(self._sides, self.shape, strict=True))
        )
        moved = ops.matmul(ops.matmul(left, array), ops.transpose(right))
        moved = ops.reshape(moved, (-1,)) / math.sqrt(math.prod(self.shape))
        found, start = [], 0
        for origin, shape in zip(self._origin, self._shapes, strict=True):
            size = math.prod(shape)
            part = ops.reshape(moved[start : start + size], shape)
            origin = ops.convert_to_tensor(origin)
            square = ops.mean(ops.square(origin))
            scale = ops.where(square > 0, ops.sqrt(square), _SMALL)
            found.append(origin + scale * part)
            start += size
        return found


def check_dimension(dimension, size):
    """Refuses a dimension that is no short description of `size` weights."""
    if not isinstance(dimension, (int, np.integer)) or not 1 <= dimension < size:
        raise ValueError(
            f"`dimension` must be an integer from 1 to {size - 1}, below the number "
            f"of weights. Received: dimension={dimension}"
        )
