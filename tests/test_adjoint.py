"""`<J t, v> = <t, J^T v>` between layers, in functions compiled with XLA."""

import keras
import models
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import backend
from tf_genbounds.network import Network

BETWEEN = {
    "convolution": [layers.Conv2D(3, 3, strides=2)],
    "max pooling": [layers.MaxPooling2D(2)],
    "overlapping max pooling": [layers.MaxPooling2D(3, 1, padding="same")],
    "average pooling": [layers.AveragePooling2D(3, 2, padding="same")],
    "global max pooling": [layers.GlobalMaxPooling2D()],
    "depthwise": [layers.DepthwiseConv2D(3, depth_multiplier=2)],
    "separable": [layers.SeparableConv2D(3, 3)],
    "transposed": [layers.Conv2DTranspose(3, 3, strides=2)],
    "grouped and dilated": [layers.Conv2D(4, 2, groups=2, dilation_rate=2)],
    "batch norm": [layers.Activation("relu"), layers.BatchNormalization()],
    "layer norm": [layers.LayerNormalization()],
    "group norm": [layers.GroupNormalization(2)],
    "gelu": [layers.Activation("gelu")],
    "softmax": [layers.Softmax()],
}


def attention():
    inputs = keras.Input((5, 4))
    x = layers.Dense(4, name="first")(inputs)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x)])
    x = layers.LayerNormalization()(x)
    return keras.Model(inputs, layers.Dense(2, name="last")(x))


def image_model(stack):
    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    for layer in stack:
        x = type(layer).from_config(layer.get_config())(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(5, name="last")(x))


@pytest.mark.parametrize("name", [*BETWEEN, "attention"])
def test_forward_and_backward_products_agree(name):
    model = attention() if name == "attention" else image_model(BETWEEN[name])
    models.randomize(model)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, *model.input_shape[1:])).astype("float32")
    network = Network.of(model)
    first, last = network.maps["first"], network.maps["last"]
    t = generator.normal(size=(2, *first.output_shape)).astype("float32")
    v = generator.normal(size=(2, *last.output_shape)).astype("float32")
    slices = not backend.pooling_has_jvp(xla=True)

    def products(values, x, t, v):
        def run(change):
            perturb = {first.tap: lambda inputs, x: change}
            _, calls = network.run(values, x, perturb, slices)
            return calls[last.tap].value

        zero = ops.zeros_like(t)
        return backend.jvp(run, zero, t)[1], backend.vjp(run, zero, v)

    forward, backward = backend.jit(products, xla=True)(
        backend.values(model.variables), *map(ops.convert_to_tensor, (x, t, v))
    )
    assert np.abs(np.asarray(forward)).max() > 1e-3
    assert np.vdot(forward, v) == pytest.approx(
        np.vdot(t, backward), rel=1e-4, abs=1e-5
    )
