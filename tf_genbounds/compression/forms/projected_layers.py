"""Layers that store inner products with random kernels in place of a kernel."""

import math
from typing import Any

import keras
from keras import ops

from tf_genbounds.compression.algorithms.filter_project import gains
from tf_genbounds.compression.algorithms.matrix_project import DISTRIBUTIONS
from tf_genbounds.compression.algorithms.matrix_project import block_rows

# How many examples are thought of when the memory of a block is reckoned.
_BATCH = 128


@keras.saving.register_keras_serializable(package="tf_genbounds")
class Projected(keras.layers.Layer):
    """A Dense or convolution layer that stores `k` numbers in place of a kernel.

    Its kernel is `(1 / k) sum_l numbers[l] M_l`, for random signs `M_l` that are
    hashes of the seed and made anew in each call: see
    `compression.matrix_project`.

    Args:
        layer: The layer, whose kernel is not used, or its config.
        num_numbers: Positive integer, `k`.
        seed: Integer.
        index: Integer that tells the signs of this layer from others.
        **kwargs: Of `keras.layers.Layer`.

    Example:

    >>> layer = Projected(keras.layers.Dense(10), num_numbers=5, seed=0)
    >>> y = layer(np.ones((2, 20)))
    >>> [tuple(w.shape) for w in layer.weights]
    [(5,), (10,)]
    """

    def __init__(
        self, layer: Any, num_numbers: int, seed: int, index: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(layer, dict):
            layer = keras.saving.deserialize_keras_object(layer)
        # Of this layer, so that what comes before it can be watched.
        self.activation = layer.activation
        bare = type(layer).from_config(layer.get_config() | {"activation": None})
        # Hidden from Keras, which would count its kernel among the weights.
        self._template = lambda: bare
        self.num_numbers = num_numbers
        self.seed = seed
        self.index = index

    def build(self, input_shape: Any) -> None:
        layer = self._template()
        if not layer.built:
            layer.build(input_shape)
        self._shape = tuple(layer.kernel.shape)
        self.numbers = self.add_weight(
            shape=(self.num_numbers,), name="numbers", initializer="zeros"
        )
        self.bias = None
        if layer.use_bias:
            self.bias = self.add_weight(
                shape=layer.bias.shape, name="bias", initializer="zeros"
            )

    def call(self, inputs: Any) -> Any:
        layer = self._template()
        values = [(layer.kernel, self.kernel)]
        if self.bias is not None:
            values.append((layer.bias, ops.convert_to_tensor(self.bias)))
        with keras.StatelessScope(state_mapping=values):
            outputs = layer.call(inputs)
        return self.activation(outputs)

    @property
    def kernel(self) -> Any:
        """The kernel, computed from the numbers."""
        size = math.prod(self._shape)
        rows = block_rows(size, self.num_numbers)
        blocks = -(-self.num_numbers // rows)
        numbers = ops.cast(self.numbers, "float32") / self.num_numbers
        numbers = ops.pad(numbers, [(0, blocks * rows - self.num_numbers)])
        numbers = ops.reshape(numbers, (blocks, rows))

        def add(block, total):
            index = block * rows + ops.arange(rows, dtype="int32")
            signs = DISTRIBUTIONS["rademacher"]([self.seed, self.index, index], size)
            return total + ops.matmul(ops.take(numbers, block, axis=0), signs)

        total = ops.zeros(size)
        if blocks == 1:
            total = add(0, total)
        else:  # All signs at once would be as many as kernel times numbers.
            total = ops.fori_loop(0, blocks, add, total)
        return ops.reshape(total, self._shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self._template().compute_output_shape(input_shape)

    def get_config(self) -> dict:
        layer = self._template()
        config = layer.get_config()
        config["activation"] = keras.activations.serialize(self.activation)
        return super().get_config() | {
            "layer": keras.saving.serialize_keras_object(
                type(layer).from_config(config)
            ),
            "num_numbers": self.num_numbers,
            "seed": self.seed,
            "index": self.index,
        }


@keras.saving.register_keras_serializable(package="tf_genbounds")
class FilterProjected(Projected):
    """A convolution with other filters at each position, of few numbers.

    It stores the `k p` numbers of `compression.filter_project`: the input is
    convolved with the `k p` random kernels, block by block, and at each position of
    the output they are summed with the weights of that position.

    Args:
        layer: The convolution, whose kernel is not used, or its config. Its groups
            are 1, its channels come last, and its input has a known size.
        num_filters: Positive integer, `k`.
        independence: Positive integer, `p`.
        seed: Integer.
        index: Integer that tells the random kernels of this layer from others.
        **kwargs: Of `keras.layers.Layer`.

    Example:

    >>> layer = FilterProjected(
    ...     keras.layers.Conv2D(4, 3), num_filters=5, independence=2, seed=0
    ... )
    >>> tuple(layer(np.ones((1, 6, 6, 2))).shape), tuple(layer.weights[0].shape)
    ((1, 4, 4, 4), (10,))
    """

    def __init__(
        self,
        layer: Any,
        num_filters: int,
        independence: int,
        seed: int,
        index: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, num_filters * independence, seed, index, **kwargs)
        self.num_filters = num_filters
        self.independence = independence

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self._positions = positions(self._template(), input_shape)
        if self._positions is None:
            raise ValueError(
                "The layer must be a convolution of one group, with channels last "
                "and an input of known size. Received: "
                f"layer={self._template()}, input_shape={input_shape}"
            )

    def call(self, inputs: Any) -> Any:
        layer = self._template()
        if positions(layer, tuple(inputs.shape)) != self._positions:
            raise ValueError(
                "The layer has weights for the positions of one input size. "
                f"Received: inputs.shape={tuple(inputs.shape)}, for outputs of size "
                f"{self._positions}"
            )
        size, filters = math.prod(self._shape), self._shape[-1]
        locations = math.prod(self._positions)
        rows = block_rows(max(size, _BATCH * locations * filters), self.num_numbers)
        blocks = -(-self.num_numbers // rows)
        weights = gains(
            self.numbers, self.num_filters, locations, self.seed, self.index
        )
        weights = ops.pad(weights, [(0, 0), (0, blocks * rows - self.num_numbers)])
        weights = ops.transpose(
            ops.reshape(weights, (locations, blocks, rows)), (1, 0, 2)
        )

        def convolved(block):
            index = block * rows + ops.arange(rows, dtype="int32")
            random = DISTRIBUTIONS["gaussian"]([self.seed, self.index, index], size)
            random = ops.reshape(random, (rows, *self._shape))
            random = ops.moveaxis(random, 0, -1)
            outputs = ops.conv(
                ops.cast(inputs, "float32"),
                ops.reshape(random, (*self._shape[:-1], filters * rows)),
                strides=layer.strides,
                padding=layer.padding,
                data_format=layer.data_format,
                dilation_rate=layer.dilation_rate,
            )
            outputs = ops.reshape(outputs, (-1, locations, filters, rows))
            return ops.einsum("nlcb,lb->nlc", outputs, ops.take(weights, block, axis=0))

        total = convolved(0)
        if blocks > 1:
            total = ops.fori_loop(
                1, blocks, lambda block, total: total + convolved(block), total
            )
        total = ops.reshape(total, (-1, *self._positions, filters))
        if self.bias is not None:
            total = total + ops.cast(self.bias, "float32")
        return self.activation(ops.cast(total, self.compute_dtype))

    @property
    def kernel(self) -> None:
        raise AttributeError("There is no one kernel: every position has its own.")

    def get_config(self) -> dict:
        config = super().get_config()
        del config["num_numbers"]
        return config | {
            "num_filters": self.num_filters,
            "independence": self.independence,
        }


def positions(layer, input_shape):
    """Returns the size of a convolution's output; `None` if it has no such form."""
    if not isinstance(
        layer, (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    ):
        return None
    if layer.groups != 1 or layer.data_format != "channels_last":
        return None
    if layer.padding not in ("same", "valid") or None in input_shape[1:]:
        return None
    return tuple(layer.compute_output_shape(input_shape)[1:-1])
