import keras
import models
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import backend
from tf_genbounds.network import Network
from tf_genbounds.network.products import run_with_products


def network(model):
    x, _ = models.data(model)
    return Network.of(model, keras.KerasTensor((len(x), *x.shape[1:]), "float32"))


def sequential(*stack, shape=(6,)):
    return models.randomize(keras.Sequential([keras.Input(shape), *stack]))


def activations(net, name):
    calls = {
        (id(op), 0): op.name for op in net.model._flatten_layers(include_self=False)
    }
    return [calls.get(key) for key in net.maps[name].activations]


@pytest.mark.parametrize(
    "make, names",
    [
        (models.dense, ["first", "second"]),
        (models.convolutional, ["conv", "conv2", "logits"]),
        (models.residual, ["stem", "branch", "logits"]),
        (models.nested, ["inner/dense", "dense"]),
        (models.shared, ["shared", "shared#2", "logits"]),
        (models.subclassed, ["first", "second", "third"]),
    ],
)
def test_finds_the_linear_maps_in_call_order(make, names):
    assert list(network(make()).maps) == names


@pytest.mark.parametrize("make", models.ALL)
def test_shapes_of_the_built_model_give_the_same_network(make):
    model = make()
    given, built = network(model), Network.of(model)
    assert list(built.maps) == list(given.maps)
    for a, b in zip(given.maps.values(), built.maps.values(), strict=True):
        assert a.facts() == b.facts()


@pytest.mark.parametrize(
    "linear, shape",
    [
        (lambda: layers.Dense(5, use_bias=False), (6,)),
        (lambda: layers.Dense(5), (4, 6)),
        (lambda: layers.Conv1D(4, 3, padding="causal"), (8, 3)),
        (lambda: layers.Conv2D(4, 3, padding="same"), (6, 6, 2)),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 2)),
        (lambda: layers.SeparableConv2D(4, 3, use_bias=False), (6, 6, 2)),
        (lambda: layers.Conv2DTranspose(4, 3, strides=2), (4, 4, 2)),
        (
            lambda: layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"),
            (4, 6),
        ),
    ],
)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_folded_batch_norm_is_the_model_without_its_constant(linear, shape, options):
    model = sequential(
        linear(), layers.BatchNormalization(name="norm", **options), shape=shape
    )
    weights = [np.array(w) for w in model.get_weights()]
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype("float32")
    net = Network.of(model, keras.KerasTensor(x.shape, "float32"))
    (linear_map,) = net.maps.values()
    assert linear_map.batch_norm is model.layers[-1]
    assert net.unsupported == {}
    # f(x) - f(0) is the linear part of an affine map.
    expected = model(x, training=False) - model(0 * x, training=False)
    np.testing.assert_allclose(
        linear_map.operator().matvec(ops.convert_to_tensor(x)),
        expected,
        rtol=1e-4,
        atol=1e-4,
    )
    _, _, products = run_with_products(
        net, net.maps, backend.values(model.variables), ops.convert_to_tensor(x)
    )
    np.testing.assert_allclose(
        products[linear_map.name], expected, rtol=1e-4, atol=1e-4
    )
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_batch_norm_after_an_activation_is_not_folded():
    net = network(
        sequential(
            layers.Dense(5, activation="relu"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(3),
        )
    )
    assert all(m.batch_norm is None for m in net.maps.values())
    assert "does not directly follow" in net.unsupported["norm"]


def test_batch_norm_is_not_folded_if_the_map_has_another_consumer():
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="map")(inputs)
    y = layers.Add()([layers.BatchNormalization(name="norm")(x), x])
    net = network(models.randomize(keras.Model(inputs, layers.Dense(3)(y))))
    assert net.maps["map"].batch_norm is None
    assert "norm" in net.unsupported


def test_batch_norm_over_another_axis_is_not_folded():
    net = Network.of(
        sequential(layers.Dense(5), layers.BatchNormalization(axis=1), shape=(4, 6))
    )
    assert list(net.unsupported) == ["batch_normalization"]


@pytest.mark.parametrize(
    "layer, activation",
    [
        (layers.ReLU, "re_lu"),
        (layers.LeakyReLU, "leaky_re_lu"),
        (layers.PReLU, "p_re_lu"),
        (lambda: layers.Activation("tanh"), "activation"),
        (lambda: layers.Dense(5, activation=layers.ReLU()), "re_lu"),
    ],
)
def test_finds_the_activation_that_feeds_a_map(layer, activation):
    net = network(
        sequential(
            layers.Dense(5, name="first"),
            layer(),
            layers.Dropout(0.5),
            layers.Dense(3, name="second"),
        )
    )
    assert activations(net, "first") == []
    assert activation in activations(net, "second")


def test_a_linear_activation_is_none():
    net = network(
        sequential(layers.Dense(5, activation="linear"), layers.Dense(3, name="second"))
    )
    assert net.maps["second"].activations == ()


@pytest.mark.parametrize(
    "hidden",
    [
        layers.Lambda(lambda x: ops.relu(x)),
        lambda x: ops.maximum(x, 0.0),
        lambda x: Own()(x),
    ],
)
def test_an_activation_in_disguise_is_not_taken_for_none(hidden):
    inputs = keras.Input((6,))
    x = hidden(layers.Dense(5)(inputs))
    net = network(keras.Model(inputs, layers.Dense(3, name="last")(x)))
    assert net.maps["last"].activations is None
    assert "'last' cannot be seen" in net.notes[0]


def test_a_shared_batch_norm_is_not_folded():
    inputs = keras.Input((6,))
    norm = layers.BatchNormalization(name="norm")
    x = norm(layers.Dense(6, name="one")(inputs))
    outputs = norm(layers.Dense(6, name="two")(x))
    net = network(keras.Model(inputs, outputs))
    assert net.maps["one"].batch_norm is net.maps["two"].batch_norm is None
    assert list(net.unsupported) == ["norm"]


def test_an_activation_that_cannot_be_seen_is_noted():
    net = network(models.subclassed())
    assert net.maps["second"].activations is not None
    assert net.maps["third"].activations is None
    assert "'third' cannot be seen" in net.notes[0]


class Own(layers.Layer):
    """A layer of the user's, with a weight."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return ops.relu(x * self.gain)


class Standardized(layers.Dense):
    def call(self, x):
        return super().call(x) / 2


@pytest.mark.parametrize(
    "layer, shape, reason",
    [
        (lambda: Own(name="odd"), (6,), "Own is not a linear map"),
        (lambda: Standardized(5, name="odd"), (6,), "overrides `call`"),
        (lambda: layers.LSTM(4, name="odd"), (6, 3), "loop"),
        (
            lambda: layers.TimeDistributed(layers.Dense(2), name="odd"),
            (6, 3),
            "loop",
        ),
        (lambda: layers.LayerNormalization(name="odd"), (6,), "LayerNorm"),
        (lambda: layers.GroupNormalization(2, name="odd"), (6,), "GroupNorm"),
    ],
)
def test_what_is_no_linear_map_is_listed_with_the_reason(layer, shape, reason):
    net = Network.of(
        sequential(layer(), layers.Flatten(), layers.Dense(3), shape=shape)
    )
    assert reason in net.unsupported["odd"]
    assert "odd" not in net.maps
    with pytest.raises(ValueError, match="'odd' is not supported: "):
        net.choose(["odd"])


def test_embedding_is_listed():
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(10, 6, name="table"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    assert "Embedding" in Network.of(model).unsupported["table"]


def test_a_layer_that_is_never_called_is_listed():
    model = models.Subclassed()
    model.unused = layers.Dense(2, name="unused")
    model.unused.build((None, 3))
    model(np.zeros((1, 6), "float32"))
    assert "not called" in network(model).unsupported["unused"]


def test_a_map_that_mixes_the_batch_is_listed():
    inputs = keras.Input((2, 6))
    x = layers.Dense(3, name="mixer")(ops.reshape(inputs, (-1, 6)))
    model = keras.Model(inputs, ops.reshape(x, (-1, 2, 3)))
    net = Network.of(model, keras.KerasTensor((5, 2, 6), "float32"))
    assert "batch axis" in net.unsupported["mixer"]


@pytest.mark.parametrize(
    "head",
    [
        lambda: [layers.Dense(3, activation="softmax")],
        lambda: [layers.Dense(3, activation="sigmoid")],
        lambda: [layers.Dense(3), layers.Softmax()],
        lambda: [layers.Dense(3), layers.Activation("softmax")],
        lambda: [layers.Dense(3, activation=keras.activations.log_softmax)],
    ],
)
def test_a_softmax_at_the_end_is_removed(head):
    model = sequential(*head())
    x, _ = models.data(model)
    net = network(model)
    logits = net.logits_of(
        *net.run(backend.values(model.variables), ops.convert_to_tensor(x))
    )
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(logits, x @ kernel + bias, rtol=1e-4, atol=1e-5)
    assert "is removed" in net.notes[0]


def test_a_softmax_of_keras_ops_is_removed():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, ops.softmax(layers.Dense(3)(inputs)))
    assert "The softmax of" in network(model).notes[0]


def test_refuses_what_is_no_built_model():
    with pytest.raises(TypeError, match="must be a Keras model"):
        Network.of(layers.Dense(3))
    with pytest.raises(ValueError, match="must be built"):
        Network.of(models.Subclassed())


class Positions(layers.Layer):
    """Knows twenty places, as an embedding of positions does."""

    def call(self, x):
        if x.shape[1] is not None and x.shape[1] > 20:
            raise ValueError("too long")
        return x

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize(
    "layer", [layers.Conv1D(2, 3), layers.Conv1D(2, 100), Positions()]
)
def test_a_size_is_found_where_the_model_leaves_it_open(layer):
    stack = [layer, layers.GlobalAveragePooling1D(), layers.Dense(3, name="last")]
    model = keras.Sequential([keras.Input((None, 2)), *stack])
    net = Network.of(model)
    assert net.maps["last"].input_shape == (2,)
    assert None not in keras.tree.flatten(net.inputs)[0].shape


class OfIntegers(keras.Model):
    """Its build knows a shape and no dtype."""

    def __init__(self):
        super().__init__()
        self.last = layers.Dense(2)

    def call(self, x):
        if "int" not in keras.backend.standardize_dtype(x.dtype):
            raise TypeError("not integers")
        return self.last(ops.cast(x, "float32"))


def test_a_model_that_cannot_be_run_unseen_is_measured_on_data():
    model = OfIntegers()
    x = np.ones((2, 3), "int32")
    model(x)
    with pytest.raises(ValueError, match="does not run.*measure it on data"):
        Network.of(model)
    assert list(Network.of(model, keras.KerasTensor((2, 3), "int32")).maps)


def test_refuses_a_model_without_linear_layers():
    net = network(sequential(layers.ReLU()))
    with pytest.raises(ValueError, match="no linear layer"):
        net.choose()
