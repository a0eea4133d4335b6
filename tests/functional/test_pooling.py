import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional.pooling import is_max_pooling
from tf_genbounds.functional.pooling import max_pool

POOLINGS = [
    layers.MaxPooling1D(2),
    layers.MaxPooling1D(3, strides=2, padding="same"),
    layers.MaxPooling2D(),
    layers.MaxPooling2D(3, strides=1, padding="same"),
    layers.MaxPooling2D((3, 2), strides=(2, 3)),
    layers.MaxPooling2D(2, padding="same"),
    layers.MaxPooling3D(2, strides=1),
]


def image(layer, seed=0):
    rank = len(layer.pool_size)
    shape = (3, *(7, 6, 5)[:rank], 2)
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("layer", POOLINGS)
def test_equals_the_layer(layer):
    x = image(layer)
    np.testing.assert_array_equal(max_pool(layer, ops.convert_to_tensor(x)), layer(x))


def test_knows_the_operation_of_keras_ops():
    inputs = keras.Input((6, 6, 2))
    model = keras.Model(inputs, ops.max_pool(inputs, 2, 2, "same"))
    operation = model.operations[-1]
    x = image(layers.MaxPooling2D())
    assert is_max_pooling(operation)
    np.testing.assert_array_equal(
        max_pool(operation, ops.convert_to_tensor(x)), operation(x)
    )
    assert not is_max_pooling(layers.AveragePooling2D(2))


@pytest.mark.parametrize("layer", POOLINGS)
def test_derivatives_under_xla_are_each_others_adjoints(layer):
    # Entries this close the compiled derivative of the layer itself mistakes.
    x = 1 + 1e-4 * image(layer)
    t, v = image(layer, 1), np.asarray(layer(image(layer, 2)))

    def products(x, t, v):
        def run(x):
            return max_pool(layer, x)

        return backend.jvp(run, x, t)[1], backend.vjp(run, x, v)

    forward, backward = backend.jit(products, xla=True)(
        *map(ops.convert_to_tensor, (x, t, v))
    )
    assert np.vdot(forward, v) == pytest.approx(np.vdot(backward, t), rel=1e-5)
