"""A code for small convolutional networks and the preparation of their images.

A certificate counts all that its decoder needs, and that is also the architecture, if
it was chosen by the sample. This is the list that `certify_mnist.py` chooses from,
written as a grammar whose words end by themselves:

    word    = deskew opponents width layer* end head
    layer   = cosine size order strides filters bias relu
            | cosine_depthwise size order strides bias relu
            | conv size strides filters bias relu
            | depthwise size strides bias relu
            | mix filters bias relu
            | max_pool size
            | average_pool size
    head    = pooling bias

A kind of layer (or `end`) takes three bits, a choice of two takes one, and a number
`n >= 1` takes `2 floor(log2 n) + 1` (Elias' gamma code). Filters are multiples of the
width, sides of kernels are odd. No word is the beginning of another, so a word of `L`
bits is one of `2**L` in a list that was there before: `choice`.
"""

import dataclasses

import keras
import numpy as np
import scipy.fft

# Three bits each. The fields of a layer, in the order in which they are written.
FIELDS = {
    "end": (),
    "cosine": ("size", "order", "strides", "filters", "bias", "relu"),
    "cosine_depthwise": ("size", "order", "strides", "bias", "relu"),
    "conv": ("size", "strides", "filters", "bias", "relu"),
    "depthwise": ("size", "strides", "bias", "relu"),
    "mix": ("filters", "bias", "relu"),
    "max_pool": ("size",),
    "average_pool": ("size",),
}
KINDS = tuple(FIELDS)
FLAGS = ("bias", "relu")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer; which fields count is in `FIELDS`.

    Attributes:
        kind: One of `KINDS`, but `"end"`.
        size: Side of the kernel, an odd integer; of a pooling window, any.
        order: The most that the frequencies of a cosine add up to, at least 1.
        strides: Integer.
        filters: Integer, in multiples of the width of the network.
        bias: Whether a number is added to each channel.
        relu: Whether a ReLU follows.
    """

    kind: str
    size: int = 1
    order: int = 1
    strides: int = 1
    filters: int = 1
    bias: bool = False
    relu: bool = False


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network, and how the images are prepared for it.

    Attributes:
        width: Integer.
        layers: Tuple of `Layer`s.
        average: Whether the mean of each channel goes to the last layer; else its
            maximum.
        bias: Whether the last layer has biases.
        deskew: Whether grey images lose their slant.
        opponents: Whether colours become brightness and two differences.
    """

    width: int
    layers: tuple
    average: bool = False
    bias: bool = False
    deskew: bool = False
    opponents: bool = False


def small(width, *, deskew=False, opponents=False):
    """The network of `certify_mnist.py`: few weights, each used often."""
    first = Layer("cosine", size=5, order=3, strides=2, bias=True, relu=True)
    second = Layer("cosine_depthwise", size=5, order=3)
    third = Layer("cosine_depthwise", size=5, order=3, strides=2)
    layers = (first, second, _mix(2), third, _mix(3))
    return Architecture(width, layers, deskew=deskew, opponents=opponents)


def _mix(filters):
    return Layer("mix", filters=filters, bias=True, relu=True)


def encode(architecture):
    """Writes an architecture as a string of `"0"` and `"1"`."""
    word = _flag(architecture.deskew) + _flag(architecture.opponents)
    word += _gamma(architecture.width)
    for layer in architecture.layers:
        word += f"{KINDS.index(layer.kind):03b}"
        for field in FIELDS[layer.kind]:
            value = getattr(layer, field)
            if field == "size" and not layer.kind.endswith("pool"):
                if value % 2 == 0:
                    raise ValueError(
                        f"The side of a kernel must be odd. Received: size={value}"
                    )
                value = (value + 1) // 2
            word += _flag(value) if field in FLAGS else _gamma(value)
    word += f"{KINDS.index('end'):03b}"
    return word + _flag(architecture.average) + _flag(architecture.bias)


def decode(word):
    """Reads an architecture, and returns it with what follows its word.

    Raises:
        ValueError: If the word has no end.
    """
    reader = _Reader(word)
    options = {"deskew": reader.flag(), "opponents": reader.flag()}
    options["width"] = reader.number()
    layers = []
    while (kind := KINDS[int(reader.take(3), 2)]) != "end":
        fields = {
            field: reader.flag() if field in FLAGS else reader.number()
            for field in FIELDS[kind]
        }
        if "size" in fields and not kind.endswith("pool"):
            fields["size"] = 2 * fields["size"] - 1
        layers.append(Layer(kind, **fields))
    options |= {"average": reader.flag(), "bias": reader.flag()}
    return Architecture(layers=tuple(layers), **options), reader.rest


def choice(architecture):
    """Returns what `compress` takes: the index of the word, and how many there are."""
    word = encode(architecture)
    return int(word, 2), 2 ** len(word)


def _flag(value):
    return str(int(value))


def _gamma(number):
    if number < 1:
        raise ValueError(f"Numbers must be positive. Received: {number}")
    digits = f"{number:b}"
    return "0" * (len(digits) - 1) + digits


class _Reader:
    def __init__(self, word):
        self.rest = word

    def take(self, count):
        if len(self.rest) < count:
            raise ValueError("The word has no end.")
        found, self.rest = self.rest[:count], self.rest[count:]
        return found

    def flag(self):
        return self.take(1) == "1"

    def number(self):
        length = 1
        while not self.flag():
            length += 1
        return int("1" + self.take(length - 1), 2)


def network(architecture, shape, classes=10):
    """Builds an architecture as a Keras model."""
    layers = [keras.Input(shape)]
    for layer in architecture.layers:
        layers += _keras_layers(layer, layer.filters * architecture.width)
    kind = "Average" if architecture.average else "Max"
    layers.append(getattr(keras.layers, f"Global{kind}Pooling2D")())
    layers.append(keras.layers.Dense(classes, use_bias=architecture.bias))
    return keras.Sequential(layers, name="small")


def _keras_layers(layer, filters):
    size, strides = layer.size, layer.strides
    if layer.kind == "max_pool":
        return [keras.layers.MaxPooling2D(size)]
    if layer.kind == "average_pool":
        return [keras.layers.AveragePooling2D(size)]
    if layer.kind in ("cosine", "cosine_depthwise"):
        filters = filters if layer.kind == "cosine" else None
        found = [CosineConv2D(size, layer.order, strides, filters)]
        found += [Bias()] * layer.bias
        return found + [keras.layers.ReLU()] * layer.relu
    options = {
        "strides": strides,
        "padding": "same",
        "use_bias": layer.bias,
        "activation": "relu" if layer.relu else None,
    }
    if layer.kind == "depthwise":
        return [keras.layers.DepthwiseConv2D(size, **options)]
    options["kernel_initializer"] = "he_normal"
    return [keras.layers.Conv2D(filters, size, **options)]


@keras.saving.register_keras_serializable(package="certify_mnist")
class CosineConv2D(keras.layers.Layer):
    """A convolution whose kernels are sums of few cosines.

    The kernels are smooth, and few numbers say which: those of the cosines of a
    discrete cosine transform whose two frequencies add up to `order` at most. The
    cosines are fixed, so they cost no bits.

    Args:
        size: Integer, side of the kernels.
        order: Integer.
        strides: Integer.
        filters: Integer, of an ordinary convolution; `None`: each channel has a
            kernel of its own.
    """

    def __init__(self, size=5, order=3, strides=1, filters=None, **kwargs):
        super().__init__(**kwargs)
        self.size, self.order = size, order
        self.strides, self.filters = strides, filters

    def build(self, input_shape):
        cosines = scipy.fft.idct(np.eye(self.size), norm="ortho", axis=0)
        self._basis = np.stack(
            [
                np.outer(cosines[:, u], cosines[:, v])
                for u in range(self.size)
                for v in range(self.size)
                if u + v <= self.order
            ],
            axis=-1,
        ).astype("float32")
        shape = (self._basis.shape[-1], input_shape[-1])
        self.kernel = self.add_weight(
            shape=shape + (self.filters,) * bool(self.filters),
            initializer=keras.initializers.RandomNormal(stddev=0.4),
            name="kernel",
        )

    def call(self, inputs):
        kernel = keras.ops.tensordot(self._basis, self.kernel, 1)
        if self.filters:
            return keras.ops.conv(inputs, kernel, self.strides, "same")
        return keras.ops.depthwise_conv(inputs, kernel[..., None], self.strides, "same")

    def get_config(self):
        return super().get_config() | {
            "size": self.size,
            "order": self.order,
            "strides": self.strides,
            "filters": self.filters,
        }


@keras.saving.register_keras_serializable(package="certify_mnist")
class Bias(keras.layers.Layer):
    """Adds a number to each channel."""

    def build(self, input_shape):
        self.bias = self.add_weight(shape=input_shape[-1:], initializer="zeros")

    def call(self, inputs):
        return inputs + self.bias
