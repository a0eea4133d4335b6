"""The linear map of a Keras layer, bias and activation left out.

A convolution has two matrices. Its *operator* maps an image of the layer's
own size, with its padding, strides and dilation; its *kernel* is the same
numbers reshaped, one row a filter. They have different norms, so everything
that could mean either takes `matrix="operator"` or `matrix="kernel"`.
"""

import dataclasses
import functools
import math
from typing import Any

import keras
from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional.structures import Contraction
from tf_genbounds.functional.structures import Convolution
from tf_genbounds.functional.structures import DepthwiseConvolution
from tf_genbounds.functional.structures import TransposedConvolution
from tf_genbounds.functional.structures import known

_STRUCTURES = {
    keras.layers.Dense: Contraction,
    keras.layers.EinsumDense: Contraction,
    keras.layers.Conv1D: Convolution,
    keras.layers.Conv2D: Convolution,
    keras.layers.Conv3D: Convolution,
    keras.layers.SeparableConv1D: Convolution,
    keras.layers.SeparableConv2D: Convolution,
    keras.layers.DepthwiseConv1D: DepthwiseConvolution,
    keras.layers.DepthwiseConv2D: DepthwiseConvolution,
    keras.layers.Conv1DTranspose: TransposedConvolution,
    keras.layers.Conv2DTranspose: TransposedConvolution,
    keras.layers.Conv3DTranspose: TransposedConvolution,
}

LINEAR_LAYERS = tuple(_STRUCTURES)

# What decides a layer's linear map. A subclass that overrides one of these
# (weight standardization, say) computes something that we cannot see.
_MAP = ("call", "kernel", "convolution_op")


@dataclasses.dataclass(frozen=True, eq=False)
class LinearOperator:
    """The linear map of one layer: a structure and a kernel.

    Made by `linear_operator`. Vectors keep the layer's shape, without batch
    norm, bias or activation, and come in batches of `k`.

    Attributes:
        structure: What is known without the weights: a hashable description,
            equal for layers that share shapes and options, by which compiled
            functions are cached.
        kernel: Float32 tensor. A separable convolution is the ordinary one
            with its effective kernel.

    Example:

    >>> layer = keras.layers.Dense(2, kernel_initializer="ones")
    >>> layer.build((None, 3))
    >>> tuple(linear_operator(layer).as_matrix().shape)  # Kernel transposed.
    (2, 3)
    """

    structure: Contraction | Convolution
    kernel: object

    @property
    def input_shape(self) -> tuple:
        """Shape of an input, without the batch axis."""
        return self.structure.input_shape

    @property
    def output_shape(self) -> tuple:
        """Shape of an output, without the batch axis."""
        return self.structure.output_shape

    @property
    def channel_axis(self) -> int:
        """Output axis, counting the batch's, that scale and bias index."""
        return self.structure.channel_axis

    def matvec(self, x: Any) -> Any:
        """Maps `(k, *input_shape)` to `(k, *output_shape)`."""
        return self.structure.apply(self.kernel, x)

    def rmatvec(self, y: Any) -> Any:
        """Maps `(k, *output_shape)` to `(k, *input_shape)` by the adjoint."""
        # The map is linear: its derivative is the same at every point.
        point = ops.zeros((ops.shape(y)[0], *self.input_shape), self.kernel.dtype)
        return backend.vjp(self.matvec, point, y)

    def as_matrix(self) -> Any:
        """Returns the dense operator, `(outputs, inputs)`, of a small layer."""
        size = math.prod(known(self.input_shape))
        basis = ops.reshape(ops.eye(size), (size, *self.input_shape))
        return ops.transpose(ops.reshape(self.matvec(basis), (size, -1)))

    def kernel_matrix(self) -> Any:
        """Returns the kernel as a matrix, `(blocks, rows, columns)`.

        The matrix is block diagonal, and these are its blocks:

        | layer | blocks | rows | columns |
        | --- | --- | --- | --- |
        | Dense | 1 | outputs | inputs |
        | convolution | groups | filters | taps, channels |
        | depthwise | channels | multiplier | taps |
        | transposed | 1 | channels | taps, filters |
        | EinsumDense | indices that all three share | outputs | inputs |

        A transposed convolution shows the convolution that it transposes.
        """
        taps = self.structure.taps(self.kernel)
        *shifts, blocks, rows, columns = taps.shape
        taps = ops.moveaxis(taps, (-3, -2), (0, 1))
        return ops.reshape(taps, (blocks, rows, math.prod(shifts) * columns))

    def scaled(self, scale: Any) -> "LinearOperator":
        """Returns the operator whose output channels are multiplied.

        Args:
            scale: Tensor of shape `(channels,)`, as a batch normalization
                applies it along `channel_axis`.

        Raises:
            ValueError: If the channels do not index the kernel, or their
                number differs.
        """
        scale = ops.cast(ops.convert_to_tensor(scale), self.kernel.dtype)
        return dataclasses.replace(
            self, kernel=self.structure.rescale(self.kernel, scale)
        )


def unsupported_reason(layer):
    """Tells why a layer has no `LinearOperator`; None if it has one.

    Example:

    >>> unsupported_reason(keras.layers.Dense(2)) is None
    True
    >>> unsupported_reason(keras.layers.LSTM(2))
    'LSTM is not a linear layer'
    """
    kind = _linear_class(layer)
    if kind is None:
        return f"{type(layer).__name__} is not a linear layer"
    for name in _MAP:
        if getattr(type(layer), name, None) is not getattr(kind, name, None):
            return f"{type(layer).__name__} overrides `{name}` of {kind.__name__}"
    if layer.quantization_mode is not None:
        return f"it is quantized ({layer.quantization_mode})"
    if kind is keras.layers.EinsumDense:
        return Contraction.unsupported_equation(layer.equation)
    return None


def linear_operator(layer: Any, input_shape: Any = None) -> LinearOperator:
    """Returns the linear map of a layer, bias and activation left out.

    The weights are read now, in float32 whatever the layer's dtype. That is
    cheap, and works inside compiled functions and `keras.StatelessScope`:
    make the operator where it is used and do not keep it.

    Args:
        layer: Built Keras layer, an instance of one of `LINEAR_LAYERS`.
        input_shape: Tuple, the shape of one input, without the batch axis.
            Defaults to the shape that the layer was built with. Sizes may
            be None as long as only the kernel is asked about.

    Returns:
        A `LinearOperator`.

    Raises:
        ValueError: If the layer is not built or not supported.

    Example:

    >>> layer = keras.layers.Conv2D(4, 3, strides=2, padding="same")
    >>> layer.build((None, 8, 8, 3))
    >>> linear_operator(layer).output_shape
    (4, 4, 4)
    """
    reason = unsupported_reason(layer)
    if reason is not None:
        name = getattr(layer, "name", layer)
        raise ValueError(
            f'Layer "{name}" is not supported: {reason}. Received: layer={layer}'
        )
    if not layer.built:
        raise ValueError(
            f'Layer "{layer.name}" has no weights yet: build it, or call it on '
            f"data. Received: layer={layer}"
        )
    if input_shape is None:
        input_shape = layer.get_build_config()["input_shape"][1:]
    kernel = _kernel(layer)
    structure = _STRUCTURES[_linear_class(layer)].of(
        layer, tuple(kernel.shape), tuple(input_shape)
    )
    return LinearOperator(structure, kernel)


def _linear_class(layer):
    for kind in type(layer).__mro__:
        if kind in _STRUCTURES:
            return kind
    return None


def _kernel(layer):
    def tensor(variable):
        return ops.cast(ops.convert_to_tensor(variable), "float32")

    if not hasattr(layer, "pointwise_kernel"):
        return tensor(layer.kernel)  # With its LoRA update, if it has one.
    depthwise = tensor(layer.depthwise_kernel)
    *taps, channels, multiplier = depthwise.shape
    pointwise = ops.reshape(tensor(layer.pointwise_kernel), (channels, multiplier, -1))
    kernel = ops.einsum(
        "tcm,cmf->tcf", ops.reshape(depthwise, (-1, channels, multiplier)), pointwise
    )
    return ops.reshape(kernel, (*taps, channels, -1))


def frobenius_norm(target: Any, matrix: str = "kernel") -> Any:
    """Computes the Frobenius norm of a layer's linear map, exactly.

    `||A||_F = sqrt(sum(A[i, j] ** 2))`, of the kernel or of the operator. An
    entry of the operator is one entry of the kernel, so the operator's norm
    is that of one application of the squared kernel to a vector of ones, or,
    where every entry stands in it as often, a multiple of the kernel's.

    Args:
        target: `LinearOperator`, or float tensor of shape
            `(..., rows, columns)`.
        matrix: `"kernel"` or `"operator"`, which matrix of a layer is meant.
            Defaults to `"kernel"`. An array is its own matrix.

    Returns:
        Float tensor, a scalar for an operator and of shape `(...)` for an
        array.

    Example:

    A 3 by 3 kernel of ones on a 6 by 6 image with `same` padding: 16 pixels
    see 9 taps, 16 on the edges 6 and 4 in the corners 4.

    >>> layer = keras.layers.Conv2D(
    ...     1, 3, padding="same", kernel_initializer="ones"
    ... )
    >>> layer.build((None, 6, 6, 1))
    >>> operator = linear_operator(layer)
    >>> float(frobenius_norm(operator)), float(frobenius_norm(operator, "operator"))
    (3.0, 16.0)
    """
    if check_matrix(target, matrix) == "array":
        return _root_sum(ops.square, as_matrices(target), (-2, -1))
    if matrix == "kernel":
        return root_of_squares(target.kernel)
    known(target.input_shape)
    if isinstance(target.structure, Contraction):
        return math.sqrt(target.structure.copies) * root_of_squares(target.kernel)
    return _compiled_frobenius_norm(target.structure)(target.kernel)


def check_matrix(target, matrix):
    """Checks `matrix`, and returns which is meant: an array is an `"array"`."""
    if matrix not in ("kernel", "operator"):
        raise ValueError(
            f'`matrix` must be "kernel" or "operator". Received: matrix={matrix!r}'
        )
    return matrix if isinstance(target, LinearOperator) else "array"


def as_matrices(array):
    """Converts an array of matrices to a float32 tensor."""
    array = ops.cast(ops.convert_to_tensor(array), "float32")
    if len(array.shape) < 2:
        raise ValueError(
            "A matrix must have at least two dimensions. "
            f"Received: shape={tuple(array.shape)}"
        )
    return array


@functools.lru_cache(maxsize=512)
def _compiled_frobenius_norm(structure):
    # Compiled, or TensorFlow would compile a grouped convolution every time.
    def norm(kernel):
        def squares(x):
            ones = ops.ones((1, *structure.input_shape))
            return structure.apply(ops.square(x), ones)

        return _root_sum(squares, kernel)

    return backend.jit(norm)


def root_of_squares(kernel):
    """The Frobenius norm of an array, in one pass that only reads.

    Where the squares leave the range of float32, another pass scales first.
    """
    # Never as the product of a row and a column, which adds one square after the
    # other to a float32 until the sum is too large for them: 1e-3 of the norm of
    # 16 M numbers is missing then, 1e-1 of that of 100 M.
    energy = backend.sum_of_squares(kernel)
    return ops.cond(
        in_range(energy),
        lambda: ops.sqrt(energy),
        lambda: _root_sum(ops.square, kernel),
    )


def in_range(energy):
    """Whether a sum of squares is far from where float32 ends; not of NaN."""
    return ops.logical_and(energy > 1e-24, energy < 1e24)


def keep_nan(extreme, total):
    """Returns an extreme of values that are not negative, NaN if one of them is.

    TensorFlow's XLA leaves NaN out of a minimum or maximum, where it would
    constrain least of all. It does not leave it out of their sum, `total`.
    """
    return ops.where(ops.isnan(total), float("nan"), extreme)


def _root_sum(squares, kernel, axis=None):
    # Scaled by the largest entry, since 1e-20 squared is 0 in float32.
    largest = ops.max(ops.abs(kernel), axis=axis, keepdims=axis is not None)
    scale = ops.where(largest > 0, largest, 1.0)
    root = ops.sqrt(ops.sum(squares(kernel / scale), axis=axis))
    return ops.reshape(scale, root.shape) * root
