"""Algorithms 2 and 3 of the compression paper, for linear classifiers.

`c` is a unit vector, an input `x` has at most norm 1, and the class is the sign
of `c^T x`. For other vectors take the normalized margin,
`gamma / (||c|| max ||x||)`; a bias is the weight of a constant input.
"""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from tf_genbounds.compression.algorithms.matrix_project import Projection
from tf_genbounds.compression.algorithms.matrix_project import project


@dataclasses.dataclass(frozen=True, eq=False)
class Sparse:
    """A sparse vector.

    Attributes:
        vector: Float64 array: zero but at `support`.
        support: Integer array, where entries were kept.
        step: Float, of whose multiples the entries are, or `None`.

    Example:

    >>> found = Sparse(np.array([0.0, 2.0]), support=np.array([1]), step=None)
    >>> found.vector[found.support].tolist()
    [2.0]
    """

    vector: np.ndarray
    support: np.ndarray
    step: float | None = None


def sparsify(
    vector: npt.ArrayLike,
    gamma: float,
    eta: float = 0.25,
    *,
    seed: int,
    discrete: bool = False,
) -> Sparse:
    """Keeps few entries of a linear classifier, at random, and rescales them.

    Entry `i` is kept with probability `p_i = min(1, 2 c_i**2 / (eta gamma**2))`
    and becomes `c_i / p_i`. This is unbiased; for each fixed `||u|| <= 1`

    `P[|chat^T u - c^T u| >= gamma] <= eta / 2`

    and `2 / (eta gamma**2)` entries are kept in the mean. With
    `discrete=True`, probabilities are `min(1, 8 c_i**2 / (eta gamma**2))`, what
    was raised to at least `2 eta gamma sqrt(h)` becomes 0, and the rest is
    rounded to multiples of `gamma / (2 sqrt(h))`; the statement still holds.

    Args:
        vector: Array of shape `(h,)` and norm 1, `c`.
        gamma: Positive float, the margin.
        eta: Float in (0, 1). Defaults to `0.25`.
        seed: Integer.
        discrete: Boolean, whether entries come from a finite set.

    Returns:
        `Sparse`.

    Raises:
        ValueError: If a number is out of range, or the norm is not 1.

    Example:

    >>> found = sparsify(np.full(100, 0.1), 0.5, seed=0)
    >>> found.vector[found.support[:1]].round(4)
    array([0.3125])

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), algorithm 2.
          It has `gamma**2 / (8 c_i)` for the entries, also where `p_i` is 1 and
          `c_i` is right, and its discrete form deletes such entries.
    """
    vector = _unit(vector)
    _check(gamma, eta)
    half = gamma / 2 if discrete else gamma
    probability = np.minimum(1.0, 2 * vector**2 / (eta * half**2))
    generator = np.random.default_rng(seed)
    kept = generator.random(len(vector)) < probability
    found = np.zeros(len(vector))
    found[kept] = vector[kept] / probability[kept]
    if not discrete:
        return Sparse(found, np.flatnonzero(kept))
    large = np.abs(found) >= 2 * eta * gamma * math.sqrt(len(vector))
    found[large & (probability < 1)] = 0.0
    step = gamma / (2 * math.sqrt(len(vector)))
    found = step * np.round(found / step)
    return Sparse(found, np.flatnonzero(found), step)


def vector_project(
    vector: npt.ArrayLike, gamma: float, eta: float, *, seed: int
) -> Projection:
    """Compresses a linear classifier to inner products with Gaussian vectors.

    `chat = (1 / k) sum_i z_i v_i`, with `k = ceil(16 ln(1 / eta) / gamma**2)`
    standard normal vectors `v_i` and `z_i = <v_i, c>`, rounded to multiples of
    `gamma / (2 sqrt(h k))`. Without the rounding it is unbiased, with
    `Var(chat^T u) = (||c||**2 ||u||**2 + (c^T u)**2) / k`. That a fixed `u` has
    `|chat^T u - c^T u| >= gamma` with probability at most `eta` was measured,
    not proved, for this `k`: `matrix_project` has a constant that is safe.

    Args:
        vector: Array of shape `(h,)` and norm 1, `c`.
        gamma: Positive float, the margin.
        eta: Float in (0, 1).
        seed: Integer.

    Returns:
        `Projection`; its `kernel()` is `chat`.

    Raises:
        ValueError: If a number is out of range, or the norm is not 1.

    Example:

    >>> found = vector_project(np.full(4, 0.5), 0.5, 0.1, seed=0)
    >>> len(found.numbers)
    148

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), algorithm 3.
    """
    vector = _unit(vector)
    _check(gamma, eta)
    count = math.ceil(16 * math.log(1 / eta) / gamma**2)
    found = project(vector, count, seed=seed, distribution="gaussian")
    step = gamma / (2 * math.sqrt(len(vector) * count))
    rounded = (step * np.round(found.numbers / step)).astype("float32")
    return Projection(rounded, found.shape, seed, distribution="gaussian")


def _unit(vector):
    vector = np.asarray(vector, "float64")
    if vector.ndim != 1 or not abs(np.linalg.norm(vector) - 1) < 1e-3:
        raise ValueError(
            "`vector` must have shape (h,) and norm 1. Received: "
            f"shape {vector.shape}, norm {np.linalg.norm(vector):g}"
        )
    return vector


def _check(gamma, eta):
    if not gamma > 0 or not 0 < eta < 1:
        raise ValueError(
            "`gamma` must be positive, and `eta` lie in (0, 1). "
            f"Received: gamma={gamma}, eta={eta}"
        )
