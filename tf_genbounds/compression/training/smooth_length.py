"""The length of a code of levels, as Keras operations."""

import math

import numpy as np
from keras import ops


def counts(levels, end):
    """Returns how often each of the levels `-end` to `end` occurs."""
    index = ops.reshape(ops.cast(levels, "int32") + end, (-1,))
    ones = ops.ones(index.shape, "float32")
    return ops.segment_sum(ones, index, num_segments=2 * end + 1)


def geometric_length(scaled):
    """The bits of `P(l) = (1 - t) / (1 + t) t**abs(l)`, with the best `t`."""
    # The gradient of `abs` at 0 is 0, on every backend.
    mean = ops.mean(scaled * ops.stop_gradient(ops.sign(scaled))) + 1e-6
    # `(sqrt(1 + mean**2) - 1) / mean`, without the difference: it may be 0.
    ratio = mean / (1 + ops.sqrt(1 + mean**2))
    nats = ops.log((1 + ratio) / (1 - ratio)) - mean * ops.log(ratio)
    return math.prod(scaled.shape) * nats / np.log(2)


def code_length(counts):
    """The bits of the Krichevsky-Trofimov code, by Stirling's formula."""
    alphabet = counts.shape[0]
    total = ops.sum(counts)
    nats = log_gamma(total + alphabet / 2) - log_gamma(alphabet / 2)
    nats = nats + ops.sum(log_gamma(0.5) - log_gamma(counts + 0.5))
    return nats / np.log(2)


def log_gamma(x):
    """The logarithm of the gamma function, to six digits."""
    # Shifted by 4, where the series is right to seven digits.
    x = ops.convert_to_tensor(x, "float32")
    shift = ops.log(x * (x + 1) * (x + 2) * (x + 3))
    x = x + 4
    series = 1 / (12 * x) - 1 / (360 * x**3)
    return (x - 0.5) * ops.log(x) - x + 0.5 * np.log(2 * np.pi) + series - shift
