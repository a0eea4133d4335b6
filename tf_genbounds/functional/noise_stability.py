"""How a layer and an activation carry a given input, compared with noise."""

import math
from typing import Any

from keras import ops

from tf_genbounds.functional.operators import LinearOperator
from tf_genbounds.functional.spectral import frobenius_norm


def sample_norm(x):
    """Computes the Euclidean norm of each sample, without overflow.

    Args:
        x: Float tensor of shape `(samples, ...)`.

    Returns:
        Float32 tensor of shape `(samples,)`.

    Example:

    >>> np.asarray(sample_norm([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [5.0, 0.0]
    """
    x = ops.cast(ops.convert_to_tensor(x), "float32")
    x = ops.reshape(x, (-1, math.prod(x.shape[1:])))
    # A float32 square overflows from 2e19 on and vanishes below 1e-23.
    largest = ops.max(ops.abs(x), axis=1)
    scale = ops.where(largest > 0, largest, 1.0)
    return scale * ops.sqrt(ops.sum(ops.square(x / scale[:, None]), axis=1))


def layer_cushion(operator: Any, inputs: Any, *, outputs: Any = None) -> Any:
    """Computes the layer cushion of a linear map at each sample.

    `mu(v) = ||A v|| / (||A||_F ||v||)` says how much of its norm `v` keeps,
    compared with noise, which keeps `||A||_F / sqrt(columns)` of it on
    average. The layer cushion of the compression paper is the minimum over the
    samples. For a matrix it is at most `1 / sqrt(stable_rank(A)) <= 1`; for a
    convolution, whose `||A||_F` is that of the kernel, it can exceed 1.

    Args:
        operator: `LinearOperator`, or a matrix of shape `(out, in)`.
        inputs: Float tensor of shape `(samples, *operator.input_shape)`.
        outputs: `A v`, of shape `(samples, *operator.output_shape)`, if it is
            known already.

    Returns:
        Float32 tensor of shape `(samples,)`. A sample with
        `||A||_F ||v|| = 0` puts no constraint: `inf`. A sample with `A v = 0`
        otherwise: 0.

    Example:

    >>> cushion = layer_cushion([[1.0, 0.0], [0.0, 2.0]], [[3.0, 1.0]])
    >>> round(float(cushion[0]), 6)  # sqrt(13) / (sqrt(5) sqrt(10))
    0.509902

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 4.
    """
    if outputs is None:
        outputs = apply(operator, inputs)
    scale = frobenius_norm(operator, matrix="kernel")
    return ratio(sample_norm(outputs), scale * sample_norm(inputs))


def activation_contraction(pre_activations: Any, activations: Any) -> Any:
    """Computes the activation contraction at each sample.

    `c(x) = ||x|| / ||phi(x)||`, the factor by which the activation shrinks
    the norm. The compression paper takes the maximum over samples and layers;
    about `sqrt(2)` is normal for ReLU, and 1 is the least.

    Args:
        pre_activations: Float tensor of shape `(samples, ...)`, `x`.
        activations: Float tensor of shape `(samples, ...)`, `phi(x)`.

    Returns:
        Float32 tensor of shape `(samples,)`. `inf` where `phi(x) = 0` and `x`
        is not; 0 (no constraint) where both are 0.

    Example:

    >>> c = activation_contraction([[3.0, -2.0]], [[3.0, 0.0]])
    >>> round(float(c[0]), 6)  # sqrt(13) / 3
    1.20185

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 6.
    """
    x, y = sample_norm(pre_activations), sample_norm(activations)
    return ops.where(x == 0, 0.0, ratio(x, y))  # Of NaN, NaN.


def apply(operator, inputs):
    """Applies a `LinearOperator` or a matrix `(out, in)` to each sample."""
    inputs = ops.cast(ops.convert_to_tensor(inputs), "float32")
    if isinstance(operator, LinearOperator):
        return operator.matvec(inputs)
    matrix = ops.cast(ops.convert_to_tensor(operator), "float32")
    return ops.matmul(inputs, ops.transpose(matrix))


def ratio(numerator, denominator):
    """Divides; a denominator of 0 puts no constraint, which is `inf`.

    NaN stays NaN.
    """
    safe = ops.where(denominator == 0, 1.0, denominator)
    return ops.where(denominator == 0, float("inf"), numerator / safe)
