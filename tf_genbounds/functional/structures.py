"""What a linear layer does with its kernel, apart from the numbers in it.

A structure is hashable and holds no tensor: layers of the same shapes and
options have equal structures and share compiled functions. There are two
families. A `Contraction` (Dense, EinsumDense) repeats the kernel along the
axes that it does not touch; a `Convolution` slides it.
"""

import dataclasses
import math
import string

import keras
from keras import ops


@dataclasses.dataclass(frozen=True)
class Contraction:
    """`einsum(equation, x, kernel)`, without ellipsis.

    The operator is a block diagonal matrix of copies of the kernel, so their
    spectral norms agree, up to `repetition`.
    """

    input_shape: tuple
    output_shape: tuple
    equation: str

    channel_axis = -1

    @classmethod
    def of(cls, layer, kernel_shape, input_shape):
        if isinstance(layer, keras.layers.Dense):
            equation = "...i,io->...o"
        else:
            equation = layer.equation
        inputs = equation.split(",")[0].replace("...", "")
        num_elided = 1 + len(input_shape) - len(inputs)
        unused = [c for c in string.ascii_letters if c not in equation]
        equation = equation.replace("...", "".join(unused[:num_elided]))

        inputs, kernel, outputs = equation.replace("->", ",").split(",")
        sizes = dict(zip(inputs[1:], input_shape, strict=True))
        sizes.update(zip(kernel, kernel_shape, strict=True))
        # Not by `compute_output_shape`, which leaves out what the user did.
        output_shape = tuple(sizes[c] for c in outputs[1:])
        return cls(input_shape, output_shape, equation)

    @staticmethod
    def unsupported_equation(equation):
        """Tells why the einsum is not a linear map of each example."""
        inputs, kernel, outputs = (
            equation.replace("...", ".").replace("->", ",").split(",")
        )
        for indices in (inputs, kernel, outputs):
            if len(set(indices)) < len(indices):
                return f"an index repeats in its equation {equation}"
        if inputs[0] in kernel or inputs[0] != outputs[0]:
            return f"its equation {equation} mixes the examples of a batch"
        if set(kernel) - set(inputs) - set(outputs):
            return f"a kernel index is summed out in its equation {equation}"
        return None

    def apply(self, kernel, x):
        return ops.einsum(self.equation, x, kernel)

    def taps(self, kernel):
        """The kernel's blocks, `(blocks, rows, columns)`: a single tap."""
        inputs, indices, outputs = self._indices()
        shared = [c for c in indices if c in inputs and c in outputs]
        rows = [c for c in indices if c not in inputs]
        columns = [c for c in indices if c not in outputs]
        size = dict(zip(indices, kernel.shape, strict=True))
        order = [indices.index(c) for c in (*shared, *rows, *columns)]
        return ops.reshape(
            ops.transpose(kernel, order),
            [math.prod(size[c] for c in group) for group in (shared, rows, columns)],
        )

    def view(self, kernel):
        """The kernel's only block or its transpose, without a copy, or None."""
        inputs, indices, outputs = self._indices()
        rows = [c for c in indices if c not in inputs]
        columns = [c for c in indices if c not in outputs]
        if [*columns, *rows] != list(indices):
            return None
        size = math.prod(kernel.shape[: len(columns)])
        return ops.reshape(kernel, (1, size, -1))

    def rescale(self, kernel, scale):
        _, indices, outputs = self._indices()
        axis = indices.find(outputs[-1])
        shape = [1] * len(indices)
        if axis >= 0:
            shape[axis] = kernel.shape[axis]
        _check_scale(scale, shape, axis >= 0)
        return kernel * ops.reshape(scale, shape)

    @property
    def repetition(self):
        """Norm of the sums over input axes that the kernel does not see.

        Summing `n` numbers has norm `sqrt(n)`; an ordinary layer has none.
        """
        inputs, indices, outputs = self._indices()
        sizes = [
            size
            for c, size in zip(inputs[1:], self.input_shape, strict=True)
            if c not in indices and c not in outputs
        ]
        return math.sqrt(math.prod(known(sizes)))

    @property
    def copies(self):
        """How often each entry of the kernel stands in the operator."""
        inputs, indices, _ = self._indices()
        sizes = zip(inputs[1:], self.input_shape, strict=True)
        return math.prod(known([size for c, size in sizes if c not in indices]))

    def patch_overlap(self, kernel):
        """How often a number of the input is used by each output channel."""
        return round(self.repetition**2)

    def _indices(self):
        return self.equation.replace("->", ",").split(",")


@dataclasses.dataclass(frozen=True)
class Convolution:
    """`keras.ops.conv`; a kernel is `(*taps, channels / groups, filters)`."""

    input_shape: tuple
    output_shape: tuple
    strides: tuple
    padding: str
    dilation: tuple
    channels_last: bool
    groups: int = 1
    output_padding: tuple | None = None

    @classmethod
    def of(cls, layer, kernel_shape, input_shape):
        return cls(
            input_shape=input_shape,
            output_shape=tuple(layer.compute_output_shape((None, *input_shape))[1:]),
            strides=tuple(layer.strides),
            padding=layer.padding,
            dilation=tuple(layer.dilation_rate),
            channels_last=layer.data_format == "channels_last",
            groups=getattr(layer, "groups", 1),
            output_padding=getattr(layer, "output_padding", None),
        )

    @property
    def channel_axis(self):
        return -1 if self.channels_last else 1

    def apply(self, kernel, x):
        padding, dilation = self.padding, self.dilation
        if padding == "causal":
            front = dilation[0] * (kernel.shape[0] - 1)
            time = 1 if self.channels_last else 2
            x = ops.pad(x, [(front * (i == time), 0) for i in range(3)])
            padding = "valid"
        if max(self.strides) > 1 and max(dilation) > 1:
            # Only a separable layer has both, and TensorFlow's `conv` refuses.
            kernel, dilation = self._dilated(kernel), 1
        return ops.conv(x, kernel, self.strides, padding, self._data_format, dilation)

    def taps(self, kernel):
        """The matrix that each tap applies, `(*taps, blocks, rows, columns)`.

        For a transposed convolution: of the convolution that it transposes.
        """
        *taps, channels, filters = kernel.shape
        shape = (*taps, channels, self.groups, filters // self.groups)
        return ops.moveaxis(ops.reshape(kernel, shape), -3, -1)

    def view(self, kernel):
        """The kernel's only block or its transpose, without a copy, or None."""
        if self.groups > 1:
            return None
        return ops.reshape(kernel, (1, -1, kernel.shape[-1]))

    def rescale(self, kernel, scale):
        _check_scale(scale, kernel.shape[-1:])
        return kernel * scale

    def axes(self, kernel):
        """Tuples `(inputs, outputs, taps, stride, dilation)`, an axis each.

        For a transposed convolution: of the convolution that it transposes.
        """
        return list(
            zip(
                self._spatial(self.input_shape),
                self._spatial(self.output_shape),
                kernel.shape,  # Longer: its channels are left out.
                self.strides,
                self.dilation,
            )
        )

    def patch_overlap(self, kernel):
        """Largest number of patches that a pixel lies in, on a large image.

        `ceil(taps / stride)` for each axis, less where a dilation and a
        stride keep pixels apart.
        """
        return math.prod(
            math.ceil(taps * math.gcd(dilation, stride) / stride)
            for _, _, taps, stride, dilation in self.axes(kernel)
        )

    @property
    def _data_format(self):
        return "channels_last" if self.channels_last else "channels_first"

    def _spatial(self, shape):
        return shape[:-1] if self.channels_last else shape[1:]

    def _dilated(self, kernel):
        """Writes the dilation out as zero taps."""
        for axis, step in enumerate(self.dilation):
            size = kernel.shape[axis]
            padding = [(0, 0)] * (len(kernel.shape) + 1)
            padding[axis + 1] = (0, step - 1)
            shape = list(kernel.shape)
            shape[axis] = size * step
            kernel = ops.pad(ops.expand_dims(kernel, axis + 1), padding)
            kernel = ops.reshape(kernel, shape)
            kernel = ops.take(kernel, range(size * step - step + 1), axis=axis)
        return kernel


class DepthwiseConvolution(Convolution):
    """`keras.ops.depthwise_conv`; a kernel is `(*taps, channels, multiplier)`."""

    def apply(self, kernel, x):
        return ops.depthwise_conv(
            x, kernel, self.strides, self.padding, self._data_format, self.dilation
        )

    def taps(self, kernel):
        return ops.expand_dims(kernel, -1)

    def view(self, kernel):
        return None  # A block for each channel.

    def rescale(self, kernel, scale):
        shape = kernel.shape[-2:]
        _check_scale(scale, shape)
        return kernel * ops.reshape(scale, shape)


class TransposedConvolution(Convolution):
    """`keras.ops.conv_transpose`; a kernel is `(*taps, filters, channels)`."""

    def apply(self, kernel, x):
        return ops.conv_transpose(
            x,
            kernel,
            self.strides,
            self.padding,
            self.output_padding,
            self._data_format,
            self.dilation,
        )

    def rescale(self, kernel, scale):
        _check_scale(scale, kernel.shape[-2:-1])
        return kernel * ops.expand_dims(scale, -1)

    def axes(self, kernel):
        return [(n, m, *rest) for m, n, *rest in super().axes(kernel)]


def known(shape):
    """Returns `shape`, or raises if one of its sizes is unknown."""
    if None in shape:
        raise ValueError(
            "The operator of this layer depends on the size of its input: "
            "pass `input_shape` without None to `linear_operator`. "
            f"Received: input_shape={tuple(shape)}"
        )
    return shape


def _check_scale(scale, shape, indexed=True):
    if not indexed or tuple(scale.shape) != (math.prod(shape),):
        expected = f"({math.prod(shape)},)" if indexed else "no channel index"
        raise ValueError(
            f"`scale` must have one number for each output channel that indexes "
            f"the kernel, here {expected}. Received: scale.shape="
            f"{tuple(scale.shape)}"
        )
