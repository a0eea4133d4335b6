"""Upper bounds of a layer's spectral norm, fit to enter a guarantee.

Power iteration approaches the norm from below; these never fall short of it.
Computed in float64 NumPy, and enlarged by more than rounding can take away.
"""

import math
from typing import Any

import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional.structures import Contraction
from tf_genbounds.functional.structures import known

_ROUNDING = 1 + 1e-6
_CHUNK_BYTES = 2**26


def spectral_norm_upper_bound(operator: Any, method: Any = "tightest") -> float:
    """Bounds the spectral norm of a layer's operator from above.

    - `"fourier"`: A zero-padded convolution on `n` pixels, whatever its
      strides, is part of the circular convolution on `n + (taps - 1) *
      dilation`. The norm of that one is the largest of its Fourier
      transform's matrices. (On `n` pixels alone it is no bound.)
    - `"reshaped"`: `sqrt(overlap) * ||R||_2`, for the kernel matrix `R` and
      the largest number `overlap` of patches that a pixel lies in. Tighter
      for strides.
    - `"frobenius"`: `||A||_F` of the operator.
    - `"tightest"`: The least of them.

    For Dense and EinsumDense layers the first two are the norm itself.

    Args:
        operator: `LinearOperator`.
        method: One of the above. Defaults to `"tightest"`.

    Returns:
        Float.

    Raises:
        ValueError: If `method` is unknown, the size of the input is, or the
            kernel holds NaN or infinity.

    Example:

    A 3 by 3 kernel of ones on a 6 by 6 image with `same` padding has norm
    `(1 + 2 * cos(pi / 7)) ** 2 = 7.85`; the circular one has 9.

    >>> import keras
    >>> from tf_genbounds.functional.operators import linear_operator
    >>> layer = keras.layers.Conv2D(
    ...     1, 3, padding="same", kernel_initializer="ones"
    ... )
    >>> layer.build((None, 6, 6, 1))
    >>> round(spectral_norm_upper_bound(linear_operator(layer)), 3)
    9.0

    References:
        - [Sedghi et al., 2018](https://arxiv.org/abs/1805.10408)
    """
    if method != "tightest" and method not in _METHODS:
        raise ValueError(
            f"`method` must be one of {[*_METHODS, 'tightest']}. "
            f"Received: method={method!r}"
        )
    known(operator.input_shape)
    if not np.all(np.isfinite(ops.convert_to_numpy(operator.kernel))):
        raise ValueError(
            "The kernel holds NaN or infinity. "
            f"Received: operator.structure={operator.structure}"
        )
    methods = _METHODS if method == "tightest" else [method]
    return float(min(_METHODS[m](operator) for m in methods)) * _ROUNDING


def _fourier(operator):
    structure = operator.structure
    if isinstance(structure, Contraction):
        return _reshaped(operator)
    taps = _float64(structure.taps(operator.kernel))
    phases = _phases(structure.axes(operator.kernel))
    matrices = taps.shape[len(structure.strides) :]
    taps = taps.reshape(phases.shape[1], -1)
    chunk = max(1, _CHUNK_BYTES // (16 * taps.shape[1]))
    return max(
        _largest_norm((part @ taps).reshape(-1, *matrices[-2:]))
        for part in np.split(phases, range(chunk, len(phases), chunk))
    )


def _phases(axes):
    """Discrete Fourier transform, one row a frequency, one column a tap."""
    phases = np.ones((1, 1))
    for index, (inputs, _, taps, _, dilation) in enumerate(axes):
        grid = inputs + (taps - 1) * dilation
        # Real kernels: half of the last axis is the conjugate of the other.
        count = grid // 2 + 1 if index == len(axes) - 1 else grid
        angles = np.outer(np.arange(count), dilation * np.arange(taps)) / grid
        phases = np.kron(phases, np.exp(-2j * math.pi * angles))
    return phases


def _reshaped(operator):
    norm = _largest_norm(_float64(operator.kernel_matrix()))
    structure = operator.structure
    if isinstance(structure, Contraction):
        return structure.repetition * norm
    overlap = math.prod(
        min(math.ceil(taps * math.gcd(dilation, stride) / stride), outputs)
        for _, outputs, taps, stride, dilation in structure.axes(operator.kernel)
    )
    return math.sqrt(overlap) * norm


def _frobenius(operator):
    kernel = operator.kernel
    x = ops.ones((1, *operator.input_shape))

    def apply(kernel):
        return operator.structure.apply(kernel, x)

    # How often each entry of the kernel stands in the operator's matrix.
    ones = ops.ones((1, *operator.output_shape))
    count = np.rint(_float64(backend.vjp(apply, kernel, ones)))
    return math.sqrt(np.sum(count * _float64(kernel) ** 2))


def _largest_norm(matrices):
    """Largest spectral norm in a stack, by the smaller Gram matrices."""
    scale = np.max(np.abs(matrices))
    if scale == 0:
        return 0.0
    matrices = matrices / scale
    adjoint = np.conj(np.swapaxes(matrices, -1, -2))
    if matrices.shape[-2] > matrices.shape[-1]:
        matrices, adjoint = adjoint, matrices
    return scale * math.sqrt(np.max(np.linalg.eigvalsh(matrices @ adjoint)))


def _float64(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


_METHODS = {"fourier": _fourier, "reshaped": _reshaped, "frobenius": _frobenius}
