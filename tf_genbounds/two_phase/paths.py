"""Norms of path features and path weights, without listing the paths.

With a frozen activation pattern a network is `h_k(x) = z(x)^T w_k`: a sum over
paths from an input (or a bias, a path from the constant 1) to output `k`. All
norms are one forward pass of the same network with other weights: sums over
paths of products are sums of products over layers.

The numbers of paths grow beyond any float with depth. So every array of the
pass is kept as `array * 2**exponent`, one exponent for each example, which
costs no accuracy.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tf_genbounds import backend
from tf_genbounds.checks import check_choice
from tf_genbounds.data.batches import batches
from tf_genbounds.two_phase.path_pass import path_pass

__all__ = [
    "path_count",
    "path_feature_norms",
    "path_gram_matrix",
    "path_weight_norms",
]


def path_feature_norms(
    model: keras.Model,
    x: Any,
    *,
    output: int | str | None = 0,
    batch_size: int = 128,
    log: bool = False,
) -> np.ndarray:
    """Computes `||z(x)||_2`, the norm of the path features, of each example.

    `||z(x)||_2^2 = sum_paths (x_path sigma_path(x))^2`. Biases and the caps of
    capped units are paths from a constant input: `x_path` is 1 for a bias, and
    the cap for a cap. The weights of averages and other constants of the
    network are part of `w`.

    Args:
        model: Keras model, as `two_phase.freeze_activation_pattern` returns
            it, or without activations.
        x: Inputs, as for `measure`.
        output: Integer, which of the flat outputs of the model.
        batch_size: Integer. Defaults to `128`.
        log: Boolean, whether to return logarithms, for numbers that leave the
            range of floats. Defaults to `False`.

    Returns:
        Float64 array of shape `(samples,)`. Where the units of the output have
        different path features, the largest norm among them.

    Raises:
        ValueError: If the model is of another kind.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> norms = path_feature_norms(model, np.array([[2.0, 2.0]]))
    >>> norms.round(5)  # Of (2, 2) and 1 for the bias.
    array([3.])

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """
    found, run = [], _pass(model, "features", output)
    for batch in batches(x, batch_size=batch_size):
        squares = _logarithms(*run(batch.x))
        found.append(np.max(squares, axis=1)[: batch.count])
    return _result(np.concatenate(found) / 2, log)


def path_weight_norms(
    model: keras.Model,
    *,
    order: int = 2,
    output: int | str | None = 0,
    log: bool = False,
) -> np.ndarray:
    """Computes `||w_k||_1` or `||w_k||_2`, the norm of the path weights.

    `||w_k||_p^p` is the sum over all paths to output `k` of the products of
    `|w|^p` along them, whether or not an input switches them on. Batch
    normalization is folded into the layer before it. A bias is the weight of a
    path, too, and all entries of a pooling window have theirs: code that leaves
    the maximum in its place finds less.

    Others give one number for all outputs, `(sum_k ||w_k||_p^p)^(1/p)`. It is
    `np.linalg.norm(path_weight_norms(model, order=p), ord=p)`.

    Args:
        model: As for `path_feature_norms`; the path branch is taken.
        order: `1` or `2`. Defaults to `2`.
        output: As for `path_feature_norms`.
        log: As for `path_feature_norms`.

    Returns:
        Float64 array of shape `(outputs,)`.

    Raises:
        ValueError: If `order` is another, or the model is of another kind.

    Example:

    >>> layer = keras.layers.Dense(2, kernel_initializer="ones")
    >>> model = keras.Sequential([keras.Input((4,)), layer])
    >>> [path_weight_norms(model, order=order).round(5) for order in (1, 2)]
    [array([4., 4.]), array([2., 2.])]
    >>> norms = path_weight_norms(model, order=2)
    >>> round(float(np.linalg.norm(norms)), 5)  # Of all outputs, sqrt(8).
    2.82843

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
        - [Neyshabur et al., 2015](https://arxiv.org/abs/1503.00036)
    """
    check_choice("order", order, (1, 2))
    sums = _logarithms(*_pass(model, f"weights_{order}", output)())
    return _result(sums[0] / order, log)


def path_count(
    model: keras.Model, *, output: int | str | None = 0, log: bool = True
) -> float:
    """Counts the paths to each output, on or off: `d_z`, the length of `z`.

    Args:
        model: As for `path_feature_norms`.
        output: As for `path_feature_norms`.
        log: Boolean, whether to return the natural logarithm. Defaults to
            `True`, since the number is mostly beyond any float.

    Returns:
        Float: the largest over the units of the output.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> round(path_count(model, log=False), 5)  # Four inputs and the bias.
    5.0
    """
    return float(np.max(_result(_logarithms(*_pass(model, "count", output)())[0], log)))


def path_gram_matrix(
    model: keras.Model,
    x: Any,
    other: npt.ArrayLike | None = None,
    *,
    output: int | str | None = 0,
    unit: int = 0,
    batch_size: int = 64,
) -> np.ndarray:
    """Computes `<z(x_i), z(x'_j)>`, the Gram matrix of the path features.

    A product is a sum over the paths that are on for both, so each pair of
    examples takes a pass.

    Args:
        model: As for `path_feature_norms`.
        x: Float array of shape `(samples, ...)`.
        other: Float array of the `x'`, or `None` for `x` itself.
        output: As for `path_feature_norms`.
        unit: Integer, the unit of the output whose paths are meant.
        batch_size: Integer, pairs at a time.

    Returns:
        Float64 array of shape `(samples, samples of other)`. Each number has
        an error of some 1e-6 of the product of the two norms.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> path_gram_matrix(model, np.array([[1.0, 2.0], [3.0, 0.0]])).round(5)
    array([[ 6.,  4.],
           [ 4., 10.]])

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """
    x = np.asarray(x)
    symmetric = other is None
    other = x if symmetric else np.asarray(other)
    left, right = np.indices((len(x), len(other))).reshape(2, -1)
    if symmetric:
        keep = left <= right
        left, right = left[keep], right[keep]
    gram, run = np.zeros((len(x), len(other))), _pass(model, "gram", output)
    for start in range(0, len(left), batch_size):
        part = slice(start, start + batch_size)
        count = len(left[part])
        pick = [
            np.resize(indices[part], batch_size) for indices in (left, right)
        ]  # The last batch is filled up, for one compilation.
        value, exponent = run((x[pick[0]], other[pick[1]]))
        values = np.ldexp(value[:, unit], exponent.astype(int))
        gram[left[part], right[part]] = values[:count]
    if symmetric:
        gram = np.triu(gram) + np.triu(gram, 1).T
    return gram


def _pass(model, mode, output):
    """Returns a compiled pass that takes a batch and returns float64 arrays."""
    compiled = path_pass(model, mode, output)
    values = backend.values(model.variables)

    def run(x=()):
        with backend.full_precision():
            found = compiled(values, x)
        return tuple(
            np.asarray(keras.ops.convert_to_numpy(t), "float64") for t in found
        )

    return run


def _logarithms(value, exponent):
    with np.errstate(divide="ignore"):  # No path: the logarithm of 0.
        return np.log(value) + exponent[:, None] * np.log(2)


def _result(logarithms, log):
    with np.errstate(over="ignore"):
        return logarithms if log else np.exp(logarithms)
