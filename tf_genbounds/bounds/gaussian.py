"""Divergences of diagonal Gaussians, in float64, rounded up."""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

# More than the relative error of the terms and of a sum in pairs of 2**60 of them.
_ROUNDING = 128 * sys.float_info.epsilon


def gaussian_kl(
    mean: npt.ArrayLike,
    std: Any,
    prior_mean: Any,
    prior_std: Any,
    *,
    per_array: npt.ArrayLike = False,
) -> float | list[float]:
    """Computes the Kullback-Leibler divergence of two diagonal Gaussians, in nats.

    `KL(N(u, s**2) || N(u0, s0**2)) = sum(ln(s0 / s) + (s**2 + (u - u0)**2) /
    (2 s0**2) - 1/2)`. In float64; what rounding may have lost is added, so that the
    result is never below the divergence.

    Args:
        mean: Array, or list of arrays, such as the weights of a model.
        std: As `mean`: positive standard deviations, not variances. A number, or an
            array of a shape that fits, serves for all.
        prior_mean: As `mean`.
        prior_std: As `std`.
        per_array: Whether to return one number for each array of a list. Defaults to
            `False`: their sum.

    Returns:
        Float; or a list of floats with `per_array`.

    Raises:
        ValueError: If shapes do not fit, a standard deviation is not positive, or a
            number is NaN or infinite.

    Example:

    >>> std = np.sqrt([0.5, 1.0])
    >>> round(gaussian_kl([1.0, 0.0], std, 0.0, 1.0), 8)
    0.59657359
    """
    found = []
    for u, s, u0, s0 in _arrays(mean, std, prior_mean, prior_std):
        squares = (u - u0) ** 2 / (2 * s0**2)
        excess = (s - s0) * (s + s0) / s0**2  # (s / s0)**2 - 1, exact near 0.
        logs = np.log(s / s0)
        terms = squares + excess / 2 - logs
        size = squares + np.abs(excess) / 2 + np.abs(logs) + s**2 / s0**2
        found.append(float(np.sum(terms) + _ROUNDING * np.sum(size)))
    return found if per_array else float(np.sum(found))


def gaussian_log_ratio(
    weights: npt.ArrayLike, mean: Any, std: Any, prior_mean: Any, prior_std: Any
) -> float:
    """Computes `ln(dQ/dP)(w)` of two diagonal Gaussians at drawn weights, in nats.

    `sum(ln(s0 / s) + (w - u0)**2 / (2 s0**2) - (w - u)**2 / (2 s**2))`; its
    expectation over `Q` is `gaussian_kl`. In float64, never below the exact value.

    Args:
        weights: Array, or list of arrays: one draw.
        mean: See `gaussian_kl`.
        std: See `gaussian_kl`.
        prior_mean: See `gaussian_kl`.
        prior_std: See `gaussian_kl`.

    Returns:
        Float, which may be negative.

    Example:

    >>> round(gaussian_log_ratio([1.0], [1.0], [0.5], [0.0], [1.0]), 8)
    1.19314718
    """
    total = 0.0
    for w, u, s, u0, s0 in _arrays(weights, mean, std, prior_mean, prior_std):
        own, prior = (w - u) ** 2 / (2 * s**2), (w - u0) ** 2 / (2 * s0**2)
        logs = np.log(s0 / s)
        size = own + prior + np.abs(logs)
        total += float(np.sum(logs + prior - own) + _ROUNDING * np.sum(size))
    return total


def _arrays(first, *others):
    """Yields the arrays that belong together; the last of each pair is a `std`."""
    # A list of numbers is one array.
    many = isinstance(first, (list, tuple)) and any(
        np.ndim(a) or hasattr(a, "shape") for a in first
    )
    count = len(first) if many else 1

    def split(value):
        if many and isinstance(value, (list, tuple)):
            if len(value) != count:
                raise ValueError(
                    "All lists must have one array for each of the first. "
                    f"Received: {count} and {len(value)} arrays"
                )
            return value
        return [value] * count

    columns = [first if many else [first], *map(split, others)]
    for row in zip(*columns, strict=True):
        row = [np.asarray(a, "float64") for a in row]
        shape = row[0].shape
        try:
            row = [np.broadcast_to(a, shape) for a in row]
        except ValueError:
            raise ValueError(
                "All arrays must have the shape of the first, or fit it. "
                f"Received: shapes {[a.shape for a in row]}"
            ) from None
        if not all(np.isfinite(a).all() for a in row):
            raise ValueError("Means and deviations must be finite. Received: others")
        if not (np.all(row[-1] > 0) and np.all(row[-3] > 0)):
            raise ValueError(
                "Standard deviations must be positive. Received: from "
                f"{min(row[-1].min(), row[-3].min())}"
            )
        yield row
