"""How one array of weights is written: levels and a step, or plain floats."""

import dataclasses
import math

import numpy as np

from tf_genbounds.checks import check_finite
from tf_genbounds.compression.algorithms.quantize import quantize
from tf_genbounds.compression.algorithms.quantize import to_float16

# Steps are powers of two, 16 to an octave: 9 bits are enough for them.
OCTAVE = 16
STEPS = (2.0 ** (np.arange(-16 * OCTAVE, 16 * OCTAVE) / OCTAVE)).astype("float32")


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """`step * index` for small integers; how often each occurs sets its price.

    Attributes:
        indices: Integer array.
        position: Integer, of the step in `STEPS`.
        end: Positive integer: indices go from `-end` to `end`.
    """

    indices: np.ndarray
    position: int
    end: int

    @property
    def step(self):
        return STEPS[self.position]

    def values(self):
        """Returns what is decoded, a float32 array."""
        return self.step * self.indices.astype("float32")

    def write(self, encoder):
        encoder.positive(self.end)
        encoder.integer(self.position, len(STEPS))
        encoder.symbols((self.indices + self.end).ravel().tolist(), 2 * self.end + 1)

    @classmethod
    def read(cls, decoder, shape):
        end = decoder.positive()
        if end > 2**16:
            raise ValueError("The code is damaged: it has too many levels.")
        position = decoder.integer(len(STEPS))
        symbols = decoder.symbols(int(np.prod(shape)), 2 * end + 1)
        return cls(np.array(symbols, "int64").reshape(shape) - end, position, end)


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
    array = check_finite(array).astype("float32")
    try:
        to_float16(array)
    except ValueError:
        return Floats(array)
    return Floats(array, "e")


def exact(array):
    """Keeps the float32 numbers of an array, which are cheap if all are zero."""
    array = check_finite(array).astype("float32")
    return Floats(array) if np.any(array) else levels(array, 1)


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
        `Levels`, or `Floats` if no step is small or large enough.
    """
    array = check_finite(array).astype("float64")
    largest = np.max(np.abs(array), initial=0.0)
    if step is not None:
        candidates = [step]
    elif largest == 0:
        candidates = [1.0]
    else:
        candidates = largest / end * np.linspace(0.2, 1.0, 33)
    best = None
    for place in sorted({position(c) for c in candidates} - {None}):
        found = quantize(array, 2 * end + 1, step=STEPS[place])
        error = np.sum((found.values() - array) ** 2)
        if best is None or error < best[0]:
            best = error, Levels(found.indices, place, end)
    return Floats(array.astype("float32")) if best is None else best[1]


def position(step):
    """Returns where the nearest of `STEPS` is, `None` beyond them."""
    found = round(OCTAVE * math.log2(step)) + len(STEPS) // 2
    return found if 0 <= found < len(STEPS) else None
