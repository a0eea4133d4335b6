"""What becomes linear with a fixed activation pattern, and what never does."""

import keras
import pytest
from keras import layers

from tf_genbounds import backend
from tf_genbounds.layers.gates import Gate
from tf_genbounds.network.model import functional_graph
from tf_genbounds.two_phase.piecewise_linear import kind
from tf_genbounds.two_phase.piecewise_linear import slopes


class Own(layers.Layer):
    def call(self, x):
        return x


class Standardized(layers.Dense):
    def call(self, x):
        return super().call(x) / 2


class OwnFlatten(layers.Flatten):
    pass


@pytest.mark.parametrize(
    "layer, expected",
    [
        (layers.Dense(2), "linear"),
        (layers.SeparableConv2D(2, 3), "linear"),
        (layers.Conv3DTranspose(2, 3), "linear"),
        (layers.BatchNormalization(), "batch_norm"),
        (layers.ReLU(max_value=6), "activation"),
        (layers.Activation("leaky_relu"), "activation"),
        (layers.Activation("linear"), "identity"),
        (layers.Activation("sigmoid"), "probabilities"),
        (layers.MaxPooling3D(), "max_pooling"),
        (layers.GlobalMaxPooling1D(), "global_max_pooling"),
        (layers.AveragePooling1D(2), "average_pooling"),
        (layers.GlobalAveragePooling2D(), "mean"),
        (layers.Subtract(), "merge"),
        (layers.Rescaling(2.0), "scale"),
        (layers.Concatenate(), "rearrangement"),
        (layers.UpSampling2D(), "rearrangement"),
        (layers.SpatialDropout2D(0.5), "dropout"),
    ],
)
def test_kind(layer, expected):
    assert kind(layer) == (expected, None)


@pytest.mark.parametrize(
    "layer, reason",
    [
        (layers.Activation("gelu"), "has the activation gelu, which is not piecewise"),
        (layers.ReLU(threshold=1.0), "has a threshold, where its output jumps"),
        (layers.UpSampling2D(interpolation="bilinear"), "interpolates \\(bilinear\\)"),
        (layers.BatchNormalization(renorm=True), "renormalizes batches"),
        (layers.LayerNormalization(), "is not linear for a fixed activation"),
        (layers.Multiply(), "is not linear for a fixed activation"),
        (layers.LSTM(2), "is not linear for a fixed activation"),
        (layers.Embedding(2, 2), "is not linear for a fixed activation"),
        (layers.Lambda(lambda x: x), "is not linear for a fixed activation"),
        (layers.GaussianNoise(0.1), "is not linear for a fixed activation"),
        (Own(), "is not linear for a fixed activation"),
        (OwnFlatten(), "is not linear for a fixed activation"),
        (Standardized(2), "overrides"),
        (Gate(), "is frozen already"),
    ],
)
def test_reason(layer, reason):
    found, text = kind(layer)
    assert found is None
    with pytest.raises(ValueError, match=reason):
        raise ValueError(text)


def test_nodes_of_the_functional_api():
    x = keras.KerasTensor((None, 4, 4, 2))
    expected = {
        "activation": [
            keras.ops.relu(x),
            keras.activations.relu(x, max_value=3.0),
            keras.ops.leaky_relu(x),
        ],
        "merge": [x + 1.0, x - x],
        "scale": [-x, 2.0 * x, x / 3.0],
        "mean": [keras.ops.mean(x, axis=(1, 2))],
        "rearrangement": [
            keras.ops.reshape(x, (-1, 32)),
            x[:, 0],
            keras.ops.sum(x, axis=-1),
            keras.ops.transpose(x, (0, 3, 1, 2)),
        ],
        "max_pooling": [keras.ops.max_pool(x, 2)],
        "average_pooling": [keras.ops.average_pool(x, 2)],
        "probabilities": [keras.ops.softmax(x)],
    }
    for name, tensors in expected.items():
        for tensor in tensors:
            operation = tensor._keras_history.operation
            assert kind(operation) == (name, None), operation
    integers = keras.ops.cast(x, "int32")._keras_history.operation
    assert kind(integers) == (None, "casts to int32")
    halves = keras.ops.cast(x, "float16")._keras_history.operation
    assert kind(halves) == ("identity", None)
    for tensor in (keras.ops.mean(x), keras.ops.sum(x, axis=0)):
        assert kind(tensor._keras_history.operation)[1].startswith("mixes the exam")
    for tensor in (keras.ops.exp(x), keras.ops.maximum(x, 0.0), keras.ops.abs(x)):
        assert kind(tensor._keras_history.operation)[0] is None


def test_slopes():
    assert slopes(keras.activations.relu) == {}
    assert slopes(keras.activations.relu6) == {"max_value": 6.0}
    assert slopes(keras.activations.leaky_relu) == {"negative_slope": 0.2}
    assert slopes(layers.LeakyReLU()) == {"negative_slope": 0.3}
    assert slopes(layers.ReLU(2.0)) == {"negative_slope": 0.0, "max_value": 2.0}
    assert slopes(keras.activations.tanh) is None


def test_graph():
    model = keras.Sequential([layers.Dense(2)])
    with pytest.raises(ValueError, match="must be built"):
        functional_graph(model)
    model.build((None, 3))
    assert functional_graph(model).operations[-1] is model.layers[0]

    class Subclassed(keras.Model):
        pass

    with pytest.raises(TypeError, match="Received: a subclassed model, Subclassed"):
        functional_graph(Subclassed())


def modules():
    """Where the backend's users take their activations from."""
    own = backend.tf.nn if backend.name == "tensorflow" else backend.jax.nn
    return [keras.activations, keras.ops, own]


@pytest.mark.parametrize(
    "name, expected",
    [
        ("relu", {}),
        ("relu6", {"max_value": 6.0}),
        ("sigmoid", None),
        ("softmax", None),
    ],
)
def test_a_function_is_what_its_name_is(name, expected):
    what = "probabilities" if expected is None else "activation"
    for module in modules():
        function = getattr(module, name)
        assert slopes(function) == expected
        assert kind(layers.Activation(function)) == (what, None)


def test_leaky_relu_has_the_slope_of_its_module():
    jax = pytest.importorskip("jax")
    assert slopes(keras.ops.leaky_relu) == {"negative_slope": 0.2}
    assert slopes(jax.nn.leaky_relu) == {"negative_slope": 0.01}
    if backend.name == "tensorflow":
        assert slopes(backend.tf.nn.leaky_relu) == {"negative_slope": 0.2}


def test_a_hard_sigmoid_is_no_end_since_it_makes_logits_equal():
    assert kind(layers.Activation("hard_sigmoid"))[1].startswith("has the activation")
