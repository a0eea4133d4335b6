"""Numbers on a grid: as many levels as a code can pay for."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_genbounds.checks import check_finite
from tf_genbounds.checks import check_num_levels


@dataclasses.dataclass(frozen=True, eq=False)
class Quantized:
    """An array as multiples of a step.

    Attributes:
        indices: Integer array from `-n` to `n`, in the shape of the array.
        step: Float32, the distance of two levels.
        num_levels: Integer, `2 n + 1`.

    Example:

    >>> found = Quantized(np.array([-1, 0, 1]), np.float32(0.5), num_levels=3)
    >>> (found.indices * found.step).tolist()
    [-0.5, 0.0, 0.5]
    """

    indices: np.ndarray
    step: np.float32
    num_levels: int

    def values(self) -> np.ndarray:
        """Returns `step * indices`, a float32 array."""
        return self.step * self.indices.astype("float32")


def to_float16(array: npt.ArrayLike) -> np.ndarray:
    """Rounds numbers to float16: 16 bits each, with relative errors below 2**-11.

    Args:
        array: Float array.

    Returns:
        Float16 array.

    Raises:
        ValueError: If the array is not finite, or not within the range of float16.

    Example:

    >>> to_float16(np.array([1.0, 1 / 3]))
    array([1.    , 0.3333], dtype=float16)
    """
    with np.errstate(over="ignore"):
        rounded = check_finite(array).astype("float16")
    if not np.isfinite(rounded).all():
        raise ValueError(
            f"`array` leaves the range of float16, {np.finfo('float16').max}. "
            f"Received: max(abs(array))={np.max(np.abs(array))}"
        )
    return rounded


def quantize(
    array: npt.ArrayLike,
    num_levels: Any,
    *,
    largest: float | None = None,
    step: Any = None,
) -> Quantized:
    """Rounds numbers to a uniform grid around 0.

    `Q(t) = step * clip(round(t / step), -n, n)`, with `2 n + 1` levels and
    `step = largest / n`. A number of at most `largest` moves by at most half a
    step.

    Args:
        array: Array of numbers.
        num_levels: Odd integer of at least 3.
        largest: Positive float, the end of the grid. Defaults to the largest
            magnitude in `array`. The step is rounded to float32 first: what is
            decoded is exactly what is returned.
        step: Positive float32 or float16, in place of `largest`.

    Returns:
        `Quantized`.

    Raises:
        ValueError: If the array is not finite, or a number is out of range.

    Example:

    >>> found = quantize(np.array([-1.0, 0.2, 0.6]), 5)
    >>> found.indices, float(found.step)
    (array([-2,  0,  1]), 0.5)
    >>> found.values()
    array([-1. ,  0. ,  0.5], dtype=float32)
    """
    array = check_finite(array)
    check_num_levels("num_levels", num_levels)
    end = num_levels // 2
    if step is not None:
        return _rounded(array, np.float32(step), end)
    if largest is None:
        largest = float(np.max(np.abs(array), initial=0.0)) or 1.0
    if not largest > 0:
        raise ValueError(f"`largest` must be positive. Received: largest={largest}")
    step = np.float32(largest / end)
    if step == 0:
        raise ValueError(
            f"`largest` is too small for a float32 step. Received: largest={largest}"
        )
    return _rounded(array, step, end)


def _rounded(array, step, end):
    indices = np.clip(np.round(array.astype("float64") / float(step)), -end, end)
    return Quantized(indices.astype("int64"), step, 2 * end + 1)
