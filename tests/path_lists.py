"""Networks of a few units, with all their paths listed: the slow, obvious twin.

Each unit holds three aligned arrays, an entry for each path to it: the feature
`x_path sigma_path`, the path weight, and the path weight of the gate branch.
"""

import dataclasses
import itertools

import numpy as np


@dataclasses.dataclass
class Unit:
    features: np.ndarray
    weights: np.ndarray
    gate_weights: np.ndarray

    @property
    def gate(self):
        return float(self.features @ self.gate_weights)

    @property
    def output(self):
        return float(self.features @ self.weights)

    def times(self, weight, gate_weight):
        return Unit(
            self.features, self.weights * weight, self.gate_weights * gate_weight
        )

    def seen(self, slope):
        return Unit(self.features * slope, self.weights, self.gate_weights)


def constant(feature, weight, gate_weight):
    return Unit(*(np.array([float(v)]) for v in (feature, weight, gate_weight)))


def union(units):
    return Unit(
        *(
            np.concatenate([getattr(u, f.name) for u in units])
            for f in dataclasses.fields(Unit)
        )
    )


def array(shape, make):
    units = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        units[index] = make(index)
    return units


def start(x):
    return array(x.shape, lambda i: constant(x[i], 1, 1))


def dense(units, path, gate):
    """`path` and `gate` are lists `[kernel, bias]`, or `[kernel]`."""

    def make(index):
        (k,) = index
        parts = [
            units[i].times(path[0][i, k], gate[0][i, k]) for i in range(len(units))
        ]
        if len(path) > 1:
            parts.append(constant(1, path[1][k], gate[1][k]))
        return union(parts)

    return array((path[0].shape[1],), make)


def convolution(units, path, gate, padding="same"):
    """Two-dimensional, stride 1, channels last."""
    height, width, channels = units.shape
    rows, columns, _, filters = path[0].shape
    top, left = (rows - 1) // 2, (columns - 1) // 2
    if padding == "valid":
        top = left = 0
    cut = (0, 0) if padding == "same" else (rows - 1, columns - 1)

    def make(index):
        y, x, k = index
        parts = []
        for i, j, c in np.ndindex(rows, columns, channels):
            row, column = y + i - top, x + j - left
            if 0 <= row < height and 0 <= column < width:
                weights = path[0][i, j, c, k], gate[0][i, j, c, k]
                parts.append(units[row, column, c].times(*weights))
        if len(path) > 1:
            parts.append(constant(1, path[1][k], gate[1][k]))
        return union(parts)

    return array((height - cut[0], width - cut[1], filters), make)


def relu(units, slope=0.0, cap=None):
    slope = np.broadcast_to(slope, units.shape)

    def make(index):
        unit = units[index]
        found = unit.seen(1.0 if unit.gate > 0 else slope[index])
        if cap is None:
            return found
        capped = unit.gate >= cap
        offset = constant(cap if capped else 0, 1, 1)
        return union([found.seen(0.0 if capped else 1.0), offset])

    return array(units.shape, make)


def windows(units, size, stride, padding):
    """Yields `(output index, list of units)`."""
    height, width, channels = units.shape
    if padding == "same":
        counts = [-(-n // stride) for n in (height, width)]
    else:
        counts = [(n - size) // stride + 1 for n in (height, width)]
    before = [
        max((count - 1) * stride + size - n, 0) // 2 if padding == "same" else 0
        for count, n in zip(counts, (height, width), strict=True)
    ]
    for y, x, c in np.ndindex(*counts, channels):
        rows = range(y * stride - before[0], y * stride - before[0] + size)
        columns = range(x * stride - before[1], x * stride - before[1] + size)
        yield (
            (y, x, c),
            [
                units[i, j, c]
                for i, j in itertools.product(rows, columns)
                if 0 <= i < height and 0 <= j < width
            ],
        )


def max_pool(units, size, stride, padding="valid"):
    def choose(window):
        first = int(np.argmax([unit.gate for unit in window]))
        return union([u.seen(float(i == first)) for i, u in enumerate(window)])

    return _pooled(units, size, stride, padding, choose)


def average_pool(units, size, stride, padding="valid"):
    def mean(window):
        return union([u.times(1 / len(window), 1 / len(window)) for u in window])

    return _pooled(units, size, stride, padding, mean)


def add(*parts):
    return array(parts[0].shape, lambda i: union([p[i] for p in parts]))


def times(units, weight):
    return array(units.shape, lambda i: units[i].times(weight, weight))


def _pooled(units, size, stride, padding, function):
    found = dict(windows(units, size, stride, padding))
    shape = tuple(max(index[a] for index in found) + 1 for a in range(3))
    return array(shape, lambda i: function(found[i]))
