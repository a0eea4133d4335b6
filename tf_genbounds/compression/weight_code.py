"""How one array of weights is written: levels and a step, or plain floats."""

import dataclasses

import numpy as np

from tf_genbounds.compression.matrix_project import finite
from tf_genbounds.compression.quantize import quantize
from tf_genbounds.compression.quantize import to_float16


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """`step * index` for small integers; how often each occurs sets its price.

    Attributes:
        indices: Integer array.
        step: NumPy float16, positive.
        end: Positive integer: indices go from `-end` to `end`.
    """

    indices: np.ndarray
    step: np.float16
    end: int

    def values(self):
        """Returns what is decoded, a float32 array."""
        return np.float32(self.step) * self.indices.astype("float32")

    def write(self, encoder):
        encoder.positive(self.end)
        encoder.number(float(self.step), "e")
        encoder.symbols((self.indices + self.end).ravel().tolist(), 2 * self.end + 1)

    @classmethod
    def read(cls, decoder, shape):
        end = decoder.positive()
        if end > 2**16:
            raise ValueError("The code is damaged: it has too many levels.")
        step = np.float16(decoder.number("e"))
        symbols = decoder.symbols(int(np.prod(shape)), 2 * end + 1)
        return cls(np.array(symbols, "int64").reshape(shape) - end, step, end)


@dataclasses.dataclass(frozen=True, eq=False)
class Floats:
    """Numbers as they are, in 16 or 32 bits each.

    Attributes:
        array: Float array.
        kind: `"e"` for float16, `"f"` for float32.
    """

    array: np.ndarray
    kind: str = "f"

    def values(self):
        """Returns what is decoded, a float32 array."""
        return self.array.astype({"e": "float16", "f": "float32"}[self.kind]).astype(
            "float32"
        )

    def write(self, encoder):
        encoder.integer("ef".index(self.kind), 2)
        for value in self.values().ravel().tolist():
            encoder.number(value, self.kind)

    @classmethod
    def read(cls, decoder, shape):
        kind = "ef"[decoder.integer(2)]
        count = int(np.prod(shape))
        numbers = [decoder.number(kind) for _ in range(count)]
        return cls(np.array(numbers, "float32").reshape(shape), kind)


FORMATS = (Levels, Floats)


def half(array):
    """Rounds an array to float16; what leaves its range stays float32."""
    array = finite(array).astype("float32")
    try:
        to_float16(array)
    except ValueError:
        return Floats(array)
    return Floats(array, "e")


def write(encoder, coded):
    """Writes a `Levels` or `Floats`."""
    encoder.integer(FORMATS.index(type(coded)), len(FORMATS))
    coded.write(encoder)


def read(decoder, shape):
    """Reads what `write` wrote, for an array of a known shape."""
    return FORMATS[decoder.integer(len(FORMATS))].read(decoder, shape)


def levels(array, end, step=None):
    """Rounds an array to `2 end + 1` levels.

    Args:
        array: Float array.
        end: Positive integer.
        step: Float. Defaults to the one, of some tried, with the least squared
            error: few levels serve better if the largest weights are cut off.

    Returns:
        `Levels`, or `Floats` if the step leaves the range of float16.
    """
    array = finite(array).astype("float64")
    if step is None:
        largest = np.max(np.abs(array), initial=0.0)
        if largest == 0:
            return Levels(np.zeros(array.shape, "int64"), np.float16(1), end)
        candidates = largest / end * np.linspace(0.2, 1.0, 33)
    else:
        candidates = [step]
    best = None
    for candidate in candidates:
        with np.errstate(over="ignore"):
            rounded = np.float16(candidate)
        if not 0 < rounded < np.inf:
            continue
        found = quantize(array, 2 * end + 1, step=rounded)
        error = np.sum((found.values() - array) ** 2)
        if best is None or error < best[0]:
            best = error, Levels(found.indices, rounded, end)
    return Floats(array.astype("float32")) if best is None else best[1]
