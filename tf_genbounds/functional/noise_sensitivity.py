"""Noise sensitivity: by how much Gaussian noise at its input moves a map."""

import math
from typing import Any

from keras import ops

from tf_genbounds.functional.noise_stability import apply
from tf_genbounds.functional.noise_stability import ratio
from tf_genbounds.functional.noise_stability import sample_norm
from tf_genbounds.functional.operators import LinearOperator
from tf_genbounds.functional.operators import frobenius_norm
from tf_genbounds.functional.random import normals


def noise_sensitivity(
    target: Any,
    inputs: Any,
    *,
    scale: float = 1.0,
    num_draws: int | None = None,
    seed: int = 0,
) -> Any:
    """Computes the noise sensitivity of a map at each sample.

    `psi(x) = E ||M(x + s eta ||x||) - M(x)||^2 / (s^2 ||M(x)||^2)`, with `eta`
    standard normal and `s` the scale. A linear map has `||M||_F^2 ||x||^2 /
    ||M x||^2` for every scale, at least its stable rank; it is the inverse
    square of the layer cushion with the norm of the operator.

    `eta` has a norm of about `sqrt(inputs)`: noise of a tenth of the norm of `x`
    is a scale of `0.1 / sqrt(inputs)`. As the scale tends to 0, the value of
    a differentiable map tends to that of its Jacobian.

    Args:
        target: `LinearOperator`, a matrix of shape `(out, in)`, or, for a
            Monte Carlo estimate, a function of a float tensor of the shape of
            `inputs`.
        inputs: Float tensor of shape `(samples, ...)`.
        scale: Positive float, `s`; of no effect on a linear map.
        num_draws: Integer, draws of `eta` for a function. Defaults to 100.
        seed: Integer, of the draws.

    Returns:
        For a linear map a float32 tensor of shape `(samples,)`. For a function
        a pair `(value, standard_error)` of such. `inf` where `M(x) = 0`, NaN
        where `x = 0`.

    Raises:
        ValueError: If the scale is not positive, there are fewer than 2 draws
            for a function, or `num_draws` comes with a linear map.

    Example:

    >>> psi = noise_sensitivity([[3.0, 0.0], [0.0, 4.0]], [[1.0, 0.0]])
    >>> round(float(psi[0]), 6)  # 25 / 9
    2.777778

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 3
          and proposition 3.1.
    """
    if not scale > 0:
        raise ValueError(f"`scale` must be positive. Received: scale={scale}")
    inputs = ops.convert_to_tensor(inputs, "float32")
    norms = sample_norm(inputs)
    if not callable(target):
        if num_draws is not None:
            raise ValueError(
                "`num_draws` is for a function; a linear map has a closed "
                f"form. Received: num_draws={num_draws}"
            )
        matrix = "operator" if isinstance(target, LinearOperator) else "kernel"
        root = frobenius_norm(target, matrix) * ratio(
            norms, sample_norm(apply(target, inputs))
        )
        return ops.where(norms == 0, float("nan"), ops.square(root))
    num_draws = 100 if num_draws is None else num_draws
    if num_draws < 2:
        raise ValueError(
            "`num_draws` must be at least 2, for a standard error. "
            f"Received: num_draws={num_draws}"
        )
    outputs = ops.convert_to_tensor(target(inputs), "float32")
    size = sample_norm(outputs)
    samples = inputs.shape[0]
    shape = (samples, *[1] * (len(inputs.shape) - 1))
    step = scale * ops.reshape(norms, shape)
    values = []
    for draw in range(num_draws):
        eta = normals(
            [seed, draw, ops.arange(samples, dtype="int32")],
            math.prod(inputs.shape[1:]),
        )
        moved = target(inputs + step * ops.reshape(eta, inputs.shape))
        values.append(ops.square(ratio(sample_norm(moved - outputs), scale * size)))
    values = ops.where(norms == 0, float("nan"), ops.stack(values))
    error = ops.std(values, axis=0) / math.sqrt(num_draws - 1)
    return ops.mean(values, axis=0), error
