"""Quantities of the Jacobian between two layers, and of how well it serves.

Here the Jacobian is given. `tf_genbounds.measure` computes the same
quantities of networks without ever forming one.
"""

import math
from typing import Any

from keras import ops

from tf_genbounds.functional.noise_stability import ratio
from tf_genbounds.functional.noise_stability import sample_norm

# A float32 run through a network is not more exact than this.
_ROUNDING = 2e-6


def interlayer_cushion(jacobian: Any, x: Any, *, num_pixels: int = 1) -> Any:
    """Computes the interlayer cushion at each sample.

    `mu_{i,j}(x) = sqrt(num_pixels) ||J x^i|| / (||J||_F ||x^i||)`, with `J` the
    Jacobian of the pre-activation `x^j` in `x^i`: how much of `x^i` arrives at
    layer `j`, compared with noise. The interlayer cushion of the compression
    paper is the minimum over the samples. It is at most `sqrt(num_pixels)`.

    Args:
        jacobian: Float tensor of shape `(samples, outputs, inputs)`.
        x: Float tensor of shape `(samples, inputs)`, the `x^i`.
        num_pixels: Integer, number of positions of `x^i`: 1 for a dense layer,
            height times width for a convolution.

    Returns:
        Float32 tensor of shape `(samples,)`. A sample with `||J||_F ||x|| = 0`
        puts no constraint: `inf`. A sample with `J x = 0` otherwise: 0.

    Example:

    >>> cushion = interlayer_cushion([[[1.0, 0.0]]], [[3.0, -2.0]])
    >>> round(float(cushion[0]), 6)  # 3 / sqrt(13)
    0.83205

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definitions 5
          and 8.
    """
    jacobian, x = _jacobian(jacobian), ops.convert_to_tensor(x, "float32")
    image = ops.matmul(jacobian, x[..., None])
    scale = sample_norm(jacobian) * sample_norm(x)
    return math.sqrt(num_pixels) * ratio(sample_norm(image), scale)


def jacobian_spread(jacobian: Any, *, num_pixels: int) -> Any:
    """Computes how unevenly a Jacobian reads the pixels, at each sample.

    `beta(x) = max_p sqrt(num_pixels) ||J_p||_F / ||J||_F`, with `J_p` the
    columns of `J` at pixel `p`. The maximum over samples and pairs of layers is
    the `beta` of a well-distributed Jacobian. 1: all pixels count alike;
    `sqrt(num_pixels)`: a single one counts.

    Args:
        jacobian: Float tensor of shape `(samples, outputs, inputs)`; the inputs
            of one pixel stand together.
        num_pixels: Integer, number of positions of `x^i`.

    Returns:
        Float32 tensor of shape `(samples,)`; 0 where `J` is 0.

    Example:

    >>> float(jacobian_spread([[[3.0, 0.0, 0.0, 0.0]]], num_pixels=4)[0])
    2.0

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 9.
    """
    jacobian = _jacobian(jacobian)
    samples, outputs, inputs = jacobian.shape
    if inputs % num_pixels:
        raise ValueError(
            "The last dimension of `jacobian` must be a multiple of "
            "`num_pixels`. Received: "
            f"jacobian.shape={tuple(jacobian.shape)}, num_pixels={num_pixels}"
        )
    slices = ops.reshape(jacobian, (samples, outputs, num_pixels, -1))
    slices = ops.reshape(
        ops.transpose(slices, (0, 2, 1, 3)),
        (samples * num_pixels, outputs, inputs // num_pixels),
    )
    norms = ops.reshape(sample_norm(slices), (samples, num_pixels))
    total = sample_norm(jacobian)
    spread = math.sqrt(num_pixels) * ratio(ops.max(norms, axis=1), total)
    return ops.where(total == 0, 0.0, spread)


def interlayer_smoothness(
    noise: str, x: Any, outputs: Any, moved: Any, linear: Any
) -> Any:
    """Computes the interlayer smoothness for one noise vector a sample.

    `rho = ||eta|| ||M(x)|| / (||x|| ||M(x + eta) - M(x) - J eta||)` says how
    close the layers in between, `M`, are to their linearization about `x`. The
    compression paper takes a minimum over samples and later layers, and a
    low quantile over the noise; its theorems ask for three times the depth.

    Args:
        noise: Float tensor of shape `(samples, ...)`, `eta`.
        x: Float tensor of shape `(samples, ...)`, the pre-activation `x^i`.
        outputs: Float tensor of shape `(samples, ...)`, `M(x) = x^j`.
        moved: Float tensor of shape `(samples, ...)`, `M(x + eta)`.
        linear: Float tensor of shape `(samples, ...)`, `J eta`.

    Returns:
        Float32 tensor of shape `(samples,)`. `inf` where `eta` is 0, or where
        the residual is not larger than the rounding errors of float32.

    Example:

    ReLU at `x = (3, -1)` with `eta = (0, 2)`: the residual is `(0, 1)`.

    >>> rho = interlayer_smoothness(
    ...     [[0.0, 2.0]], [[3.0, -1.0]], [[3.0, 0.0]], [[3.0, 1.0]], [[0.0, 0.0]]
    ... )
    >>> round(float(rho[0]), 5)  # 2 * 3 / sqrt(10)
    1.89737

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 7.
    """
    outputs, moved, linear = (
        ops.convert_to_tensor(t, "float32") for t in (outputs, moved, linear)
    )
    residual = sample_norm(moved - outputs - linear)
    size = sample_norm(outputs)
    noise, x = sample_norm(noise), sample_norm(x)
    exact = residual <= _ROUNDING * (size + sample_norm(moved) + sample_norm(linear))
    # One norm at a time, since the product of two may overflow.
    rho = ratio(noise, x) * ratio(size, residual)
    rho = ops.where(size == 0, 0.0, rho)
    return ops.where(ops.logical_or(exact, noise == 0), float("inf"), rho)


def _jacobian(jacobian):
    jacobian = ops.convert_to_tensor(jacobian, "float32")
    if len(jacobian.shape) != 3:
        raise ValueError(
            "`jacobian` must have shape (samples, outputs, inputs). "
            f"Received: jacobian.shape={tuple(jacobian.shape)}"
        )
    return jacobian
