"""Products with kernels beside biases that leave nothing of them in a sum."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_genbounds import backend
from tf_genbounds import measure
from tf_genbounds.network import Network
from tf_genbounds.network.products import run_with_products

BIAS = 1e8
LAYERS = [
    lambda: layers.Dense(4, activation="relu"),
    lambda: layers.Conv2D(4, 3, padding="same", activation="relu"),
    lambda: layers.DepthwiseConv2D(3, data_format="channels_last"),
    lambda: layers.SeparableConv2D(4, 3),
    lambda: layers.Conv2DTranspose(4, 2, strides=2),
    lambda: layers.EinsumDense("abcd,de->abec", (5, 4, 5), bias_axes="ec"),
    lambda: layers.EinsumDense("abcd,de->abce", (5, 5, 4), bias_axes="e"),
]


def with_bias(layer, scale=BIAS):
    """A model of one layer, and the same without its bias."""
    model = keras.Sequential([keras.Input((5, 5, 2)), layer])
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=w.shape) for w in model.weights]
    model.set_weights([*weights[:-1], scale * np.abs(weights[-1])])
    bare = keras.Sequential(
        [
            keras.Input((5, 5, 2)),
            type(layer).from_config({**layer.get_config(), "activation": None}),
        ]
    )
    bare.set_weights([*weights[:-1], 0 * weights[-1]])
    return model, bare


def x(samples=3):
    return np.random.default_rng(1).normal(size=(samples, 5, 5, 2)).astype("float32")


@pytest.mark.parametrize("make", LAYERS)
def test_a_product_is_what_the_layer_without_bias_returns(make):
    model, bare = with_bias(make())
    network = Network.of(model)
    _, _, products = run_with_products(
        network, network.maps, backend.values(model.variables), x()
    )
    (product,) = products.values()
    np.testing.assert_allclose(product, bare(x()), rtol=1e-5, atol=1e-5)


def test_the_rest_of_the_network_sees_the_biases():
    # Each call of a shared layer, and a layer whose product nobody asked for.
    inputs = keras.Input((5, 5, 2))
    shared = layers.Dense(2, activation="relu", name="shared")
    last = layers.Conv2D(3, 2, name="last")
    model = keras.Model(inputs, last(shared(shared(inputs))))
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=w.shape) for w in model.weights])
    network = Network.of(model)
    maps = {"shared": network.maps["shared"]}
    logits, calls, products = run_with_products(
        network, maps, backend.values(model.variables), x()
    )
    assert list(products) == ["shared"]
    np.testing.assert_allclose(logits, model(x()), rtol=1e-5, atol=1e-5)
    second = calls[network.maps["shared#2"].key].pre_activation
    kernel, bias = shared.get_weights()
    np.testing.assert_allclose(
        second, np.asarray(shared(x())) @ kernel + bias, rtol=1e-5, atol=1e-5
    )
    assert shared.bias is shared.weights[1]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_layer_cushion_does_not_depend_on_the_bias(jit_compile):
    model = keras.Sequential(
        [
            keras.Input((5, 5, 2)),
            layers.Conv2D(3, 2, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(3, name="dense"),
        ]
    )
    generator = np.random.default_rng(0)
    weights = [np.abs(generator.normal(size=w.shape)) for w in model.weights]
    options = dict(quantities=["layer_cushion"], jit_compile=jit_compile, verbose=0)
    # The large bias, and the moving mean that takes it away again.
    weights[1], weights[4] = np.zeros(3), np.zeros(3)
    model.set_weights(weights)
    expected = measure(model, x(), **options).distribution("layer_cushion", "conv")
    weights[1], weights[4] = np.full(3, BIAS), np.full(3, BIAS)
    model.set_weights(weights)
    found = measure(model, x(), **options).distribution("layer_cushion", "conv")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    scale = weights[2] / np.sqrt(weights[5] + 1e-3)
    kernel = (weights[0] * scale).astype("float32")
    by_hand = (
        np.linalg.norm(np.asarray(keras.ops.conv(x(), kernel)).reshape(3, -1), axis=1)
        / np.linalg.norm(kernel)
        / np.linalg.norm(x().reshape(3, -1), axis=1)
    )
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)
