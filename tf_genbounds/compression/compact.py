"""Layers of few numbers in the place of Dense and convolution layers."""

import math

import keras
from keras import ops

from tf_genbounds import backend
from tf_genbounds.compression.matrix_project import DISTRIBUTIONS
from tf_genbounds.compression.matrix_project import block_rows
from tf_genbounds.compression.matrix_project import project
from tf_genbounds.compression.truncate_svd import truncate_svd
from tf_genbounds.functional.operators import unsupported_reason

COMPACT = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)
# What the code says of a layer: its form, and how large it is.
FORMS = ("plain", "low_rank", "projected")


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

    def __init__(self, layer, num_numbers, seed, index=0, **kwargs):
        super().__init__(**kwargs)
        if isinstance(layer, dict):
            layer = keras.saving.deserialize_keras_object(layer)
        # Hidden from Keras, which would count its kernel among the weights.
        self._template = lambda: layer
        self.num_numbers = num_numbers
        self.seed = seed
        self.index = index

    def build(self, input_shape):
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

    def call(self, inputs):
        layer = self._template()
        values = [(layer.kernel, self.kernel)]
        if self.bias is not None:
            values.append((layer.bias, ops.convert_to_tensor(self.bias)))
        with keras.StatelessScope(state_mapping=values):
            return layer.call(inputs)

    @property
    def kernel(self):
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

    def compute_output_shape(self, input_shape):
        return self._template().compute_output_shape(input_shape)

    def get_config(self):
        return super().get_config() | {
            "layer": keras.saving.serialize_keras_object(self._template()),
            "num_numbers": self.num_numbers,
            "seed": self.seed,
            "index": self.index,
        }


def compactable(model):
    """Returns the layers that have compact forms, in a fixed order.

    The order is that of `model.layers`, nested models entered, each layer once.
    """
    found = {}

    def visit(layers):
        for layer in layers:
            if isinstance(layer, keras.Model):
                visit(layer.layers)
            elif type(layer) in COMPACT and unsupported_reason(layer) is None:
                if getattr(layer, "groups", 1) == 1:
                    found[layer] = None

    visit(model.layers)
    return list(found)


def largest_size(layer, form):
    """Returns the largest rank, or the largest number of numbers, of a form."""
    shape = tuple(layer.kernel.shape)
    if form == "low_rank":
        return min(math.prod(shape[:-1]), shape[-1])
    return math.prod(shape)


def compact_model(model, forms, seed):
    """Builds a model in which some layers have compact forms.

    Args:
        model: Functional or Sequential model.
        forms: Pairs `(form, size)`, one for each layer of `compactable(model)`.
        seed: Integer, of projected layers.

    Returns:
        A model with fresh weights.
    """
    index = {layer: i for i, layer in enumerate(compactable(model))}

    def clone(layer):
        if layer not in index:
            return type(layer).from_config(layer.get_config())
        form, size = forms[index[layer]]
        config = layer.get_config()
        if form == "low_rank":
            return _two_layers(layer, size)
        copy = type(layer).from_config(config)
        if form == "plain":
            return copy
        return Projected(copy, size, seed, index[layer], name=layer.name)

    with backend.scope(model):
        return keras.models.clone_model(model, clone_function=clone, recursive=True)


def _two_layers(layer, rank):
    """Two layers, the first of which has `rank` outputs."""
    config = layer.get_config()
    first = dict(config)
    first |= {"name": f"{layer.name}_first", "use_bias": False}
    first |= {"activation": "linear", "activity_regularizer": None}
    second = dict(config) | {"name": f"{layer.name}_second"}
    if isinstance(layer, keras.layers.Dense):
        first["units"] = rank
    else:
        first["filters"] = rank
        ones = (1,) * len(layer.kernel_size)
        second |= {"kernel_size": ones, "strides": ones, "dilation_rate": ones}
        second["padding"] = "valid"
    return keras.Sequential(
        [type(layer).from_config(c) for c in (first, second)], name=layer.name
    )


def fill(model, forms, compact, seed):
    """Gives a compact model the weights that stand for those of `model`."""
    index = {layer: i for i, layer in enumerate(compactable(model))}

    def visit(layers, parent):
        for layer in layers:
            if not layer.weights:
                continue
            copy = parent.get_layer(layer.name)
            form, size = forms[index[layer]] if layer in index else ("plain", 0)
            if isinstance(layer, keras.Model):
                visit(layer.layers, copy)
            elif form == "plain":
                copy.set_weights(layer.get_weights())
            else:
                kernel, *bias = layer.get_weights()
                if form == "low_rank":
                    factors = truncate_svd(kernel, rank=size)
                    copy.set_weights([factors.first, factors.second, *bias])
                else:
                    found = project(kernel, size, seed=seed, layer=index[layer])
                    copy.set_weights([found.numbers, *bias])

    visit(model.layers, compact)
