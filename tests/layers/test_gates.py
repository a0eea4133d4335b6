"""The layers of a frozen pattern, against what Keras' own layers choose."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional.pooling import options
from tf_genbounds.layers.gates import FixedStatisticsBatchNormalization
from tf_genbounds.layers.gates import Gate
from tf_genbounds.layers.gates import GlobalMaxPoolingGate
from tf_genbounds.layers.gates import MaxPoolingGate
from tf_genbounds.layers.gates import PReLUGate

POOLINGS = {
    "plain": layers.MaxPooling2D(2),
    "gaps": layers.MaxPooling2D(2, strides=3),
    "remainder": layers.MaxPooling2D(4),
    "same": layers.MaxPooling2D(2, padding="same"),
    "odd": layers.MaxPooling2D(3),
    "overlapping": layers.MaxPooling2D(3, strides=2),
    "overlapping same": layers.MaxPooling2D(3, strides=2, padding="same"),
    "unequal": layers.MaxPooling2D((1, 3), strides=(2, 1), padding="same"),
    "one dimension": layers.MaxPooling1D(2),
    "one dimension, overlapping": layers.MaxPooling1D(3, strides=1, padding="same"),
    "three dimensions": layers.MaxPooling3D(2),
    "three dimensions, same": layers.MaxPooling3D(3, strides=2, padding="same"),
}


def images(pooling, seed=0, ties=False):
    rank = int(type(pooling).__name__[-2])
    shape = (2, *(7, 6, 5)[:rank], 3)
    generator = np.random.default_rng(seed)
    if ties:
        return generator.integers(0, 3, shape).astype("float32")
    return generator.normal(size=shape).astype("float32")


def gate_of(pooling):
    rank = int(type(pooling).__name__[-2]) + 2
    return MaxPoolingGate(**options(pooling, rank))


def selected(layer, x, gate, xla=False):
    """`layer([x, gate])` and its gradients, in a compiled function."""

    def run(x, gate, cotangent):
        def value(pair):
            return layer(list(pair))

        return value((x, gate)), backend.vjp(value, (x, gate), cotangent)

    cotangent = np.random.default_rng(9).normal(
        size=layer.compute_output_shape([x.shape, gate.shape])
    )
    tensors = [ops.convert_to_tensor(t, "float32") for t in (x, gate, cotangent)]
    y, gradients = backend.jit(run, xla=xla)(*tensors)
    return (cotangent, *map(ops.convert_to_numpy, (y, *gradients)))


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("ties", [False, True])
def test_pools_as_keras_where_the_gate_is_the_input(name, ties, xla):
    pooling = POOLINGS[name]
    x = images(pooling, ties=ties)
    layer = gate_of(pooling)
    _, y, _, _ = selected(layer, x, x, xla)
    np.testing.assert_array_equal(y, ops.convert_to_numpy(pooling(x)))
    assert layer.compute_output_shape([x.shape, x.shape]) == y.shape


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("ties", [False, True])
def test_takes_the_first_maximum_of_each_window(name, ties, xla):
    """The slow twin goes through the windows one by one."""
    pooling = POOLINGS[name]
    x, gate = images(pooling, 1), images(pooling, 2, ties)
    layer = gate_of(pooling)
    cotangent, y, to_x, to_gate = selected(layer, x, gate, xla)
    expected, gradient = np.zeros(y.shape), np.zeros(x.shape)
    for index in np.ndindex(*y.shape):
        best = None
        for source in window(layer, index, x.shape):
            if best is None or gate[source] > gate[best]:
                best = source
        expected[index] = x[best]
        gradient[best] += cotangent[index]
    np.testing.assert_array_equal(y, expected.astype("float32"))
    np.testing.assert_allclose(to_x, gradient, rtol=1e-5, atol=1e-6)
    assert not to_gate.any()


def window(layer, index, shape):
    """The places of a window, in row-major order."""
    ranges = []
    for axis, (size, stride) in enumerate(
        zip(layer.pool_size, layer.strides, strict=True)
    ):
        length = shape[axis + 1]
        start = index[axis + 1] * stride
        if layer.padding == "same":
            count = -(-length // stride)
            start -= max((count - 1) * stride + size - length, 0) // 2
        ranges.append([i for i in range(start, start + size) if 0 <= i < length])
    grids = np.meshgrid(*ranges, indexing="ij")
    for place in zip(*(g.ravel() for g in grids), strict=True):
        yield (index[0], *place, index[-1])


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_pooling(data_format, keepdims):
    generator = np.random.default_rng(0)
    x, gate = generator.normal(size=(2, 2, 3, 4, 2)).astype("float32")
    layer = GlobalMaxPoolingGate(data_format, keepdims)
    pooling = layers.GlobalMaxPooling2D(data_format, keepdims)
    _, y, _, _ = selected(layer, gate, gate)
    np.testing.assert_array_equal(y, ops.convert_to_numpy(pooling(gate)))
    _, y, to_x, to_gate = selected(layer, x, gate)
    axes = (1, 2) if data_format == "channels_last" else (2, 3)
    at_maximum = gate == gate.max(axis=axes, keepdims=True)
    np.testing.assert_array_equal(
        y, np.sum(x * at_maximum, axis=axes, keepdims=keepdims)
    )
    np.testing.assert_array_equal(to_x != 0, at_maximum)
    assert not to_gate.any()


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("cap", [None, 6.0, 0.5])
def test_gate_is_the_relu_and_its_slope(slope, cap):
    layer = Gate(slope, cap)
    relu = layers.ReLU(max_value=cap, negative_slope=slope)
    # On both sides of every corner, and on it.
    gate = np.array([[-2, -1e-30, 0, 1e-30, 0.25, 0.5, 3, 6, 7]], "float32")
    x = np.linspace(-3, 4, 9, dtype="float32")[None]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer([gate, gate])), ops.convert_to_numpy(relu(gate))
    )
    _, y, to_x, to_gate = selected(layer, x, gate)
    on = (gate > 0) & (gate < (cap or np.inf))
    slopes = np.where(gate > 0, on, slope)
    offsets = np.where(gate >= (cap or np.inf), cap or 0, 0)
    np.testing.assert_allclose(y, slopes * x + offsets, rtol=1e-6)
    np.testing.assert_array_equal(to_x != 0, slopes != 0)
    assert not to_gate.any()
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.slope(gate)), slopes)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.offset(gate)), offsets)


def test_an_infinity_behind_a_closed_gate_is_0():
    x = np.array([[-np.inf, np.inf, np.nan]], "float32")
    y = ops.convert_to_numpy(Gate()([x, np.array([[-1.0, 0.0, -np.inf]])]))
    np.testing.assert_array_equal(y, 0)


@pytest.mark.parametrize("shared_axes", [None, [1], [1, 2]])
def test_prelu_gate(shared_axes):
    relu = layers.PReLU(shared_axes=shared_axes, alpha_initializer="random_normal")
    gate, x = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype("float32")
    expected = ops.convert_to_numpy(relu(gate))
    layer = PReLUGate(shared_axes)
    layer.build([gate.shape, gate.shape])
    layer.set_weights(relu.get_weights())
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer([gate, gate])), expected, rtol=1e-6
    )
    alpha = np.broadcast_to(relu.get_weights()[0], gate.shape)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer([x, gate])),
        np.where(gate > 0, x, alpha * x),
        rtol=1e-6,
    )
    assert not layer.trainable_weights


def test_batch_norm_never_uses_the_batch():
    layer = FixedStatisticsBatchNormalization()
    x = np.random.default_rng(0).normal(5, 2, size=(8, 3)).astype("float32")
    before = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(before, x / np.sqrt(1.001), rtol=1e-6)
    assert not ops.convert_to_numpy(layer.moving_mean).any()
    assert len(layer.trainable_weights) == 2


@pytest.mark.parametrize(
    "layer",
    [
        Gate(0.1, 6.0),
        PReLUGate([1]),
        MaxPoolingGate((2, 3), (1, 2), "same", "channels_first"),
        GlobalMaxPoolingGate("channels_last", True),
        FixedStatisticsBatchNormalization(momentum=0.5),
    ],
)
def test_config_round_trip(layer):
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert keras.saving.serialize_keras_object(again) == config
