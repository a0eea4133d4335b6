"""Freezing: the same function at the switch, and gates that never move."""

import keras
import models
import numpy as np
import pytest
from keras import layers
from keras import ops

import tf_genbounds as gb
from tf_genbounds import backend
from tf_genbounds.layers.gates import Gate
from tf_genbounds.two_phase import freeze_activation_pattern


@pytest.fixture(autouse=True)
def full_precision():
    """The tolerances are of float32: a GPU's TF32 has 10 bits."""
    with backend.full_precision():
        yield


def one_dimension():
    return keras.Sequential(
        [
            keras.Input((12, 2)),
            layers.Conv1D(4, 3, padding="causal", activation="relu"),
            layers.MaxPooling1D(3, strides=2, padding="same"),
            layers.SeparableConv1D(4, 3, activation="leaky_relu"),
            layers.ZeroPadding1D(1),
            layers.UpSampling1D(2),
            layers.Cropping1D(1),
            layers.AveragePooling1D(2),
            layers.SpatialDropout1D(0.2),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
        ]
    )


def three_dimensions():
    return keras.Sequential(
        [
            keras.Input((6, 6, 6, 1)),
            layers.Conv3D(3, 3, padding="same", activation="relu6"),
            layers.MaxPooling3D(2),
            layers.Conv3DTranspose(2, 2, activation="relu"),
            layers.GlobalAveragePooling3D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def everything():
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(0.5, offset=-1.0)(inputs)
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
    x = skip = layers.BatchNormalization()(x)
    x = layers.ReLU(negative_slope=0.1, max_value=1.5)(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([x, skip])
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Conv2D(6, 3, strides=2, groups=2, activation="relu")(x)
    x = layers.Subtract()([2.0 * x, -x])
    x = ops.relu(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def nested():
    body = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="relu"),
            keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.ReLU()]),
        ]
    )
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    # The same body twice, and a layer of the same name outside.
    x = layers.Concatenate()([body(a), body(b), layers.Dense(2, name="dense")(a)])
    return keras.Model(
        {"a": a, "b": b},
        {
            "class": layers.Dense(3, activation="softmax")(x),
            "binary": layers.Dense(1, activation="sigmoid")(x),
        },
    )


MODELS = [
    models.dense,
    models.convolutional,
    models.residual,
    one_dimension,
    three_dimensions,
    everything,
    nested,
]


def trained(make):
    """A model with biases and statistics that are not the initial ones."""
    return models.randomize(make())


def inputs_of(model, count=6, seed=0):
    generator = np.random.default_rng(seed)
    found = {
        tensor.name: generator.normal(size=(count, *tensor.shape[1:])).astype("float32")
        for tensor in model.inputs
    }
    return found if len(found) > 1 else next(iter(found.values()))


def numbers(outputs):
    return [ops.convert_to_numpy(t) for t in keras.tree.flatten(outputs)]


def losses_of(model):
    """Labels and losses by the shapes of the outputs."""
    if isinstance(model.output, dict):
        return {"class": "sparse_categorical_crossentropy", "binary": "mse"}
    return "sparse_categorical_crossentropy"


def labels_of(model, count=6):
    y = np.arange(count) % 3
    if isinstance(model.output, dict):
        return {"class": y, "binary": (y[:, None] > 0).astype("float32")}
    return y


def gates_of(model):
    return {
        f"{layer.name}/{i}": value
        for layer in model.layers
        if layer.name.endswith("_gate")
        for i, value in enumerate(layer.get_weights())
    }


@pytest.mark.parametrize("make", MODELS)
def test_the_switch_changes_no_output(make):
    model = trained(make)
    before = model.get_weights()
    frozen = freeze_activation_pattern(model)
    x = inputs_of(model)
    expected = model(x, training=False)
    assert keras.tree.map_structure(lambda t: t.shape, frozen(x)) == (
        keras.tree.map_structure(lambda t: t.shape, expected)
    )
    graph = [m.predict(x, verbose=0) for m in (model, frozen)]
    # XLA may add up in another order.
    tolerance = 0 if backend.name == "tensorflow" else 1e-6
    for a, b in zip(numbers(graph[0]), numbers(graph[1]), strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    compiled = backend.jit(lambda x: frozen(x, training=False), xla=True)
    tensors = keras.tree.map_structure(ops.convert_to_tensor, x)
    for a, b in zip(numbers(expected), numbers(compiled(tensors)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6 * max(1, np.abs(a).max()))
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", MODELS)
def test_training_moves_the_paths_and_not_the_gates(make):
    frozen = freeze_activation_pattern(trained(make))
    x = inputs_of(frozen)
    before, gates = numbers(frozen(x)), gates_of(frozen)
    statistics = [
        layer.get_weights()[2:]
        for layer in frozen.layers
        if isinstance(layer, layers.BatchNormalization)
    ]
    frozen.compile(keras.optimizers.AdamW(0.01), losses_of(frozen), jit_compile=True)
    frozen.fit(x, labels_of(frozen), epochs=2, verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, numbers(frozen(x)), strict=True))
    assert gates
    for name, value in gates_of(frozen).items():
        np.testing.assert_array_equal(value, gates[name])
    for layer in frozen.layers:
        if isinstance(layer, layers.BatchNormalization):
            for a, b in zip(layer.get_weights()[2:], statistics.pop(0), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", MODELS)
def test_save_and_load(make, tmp_path):
    frozen = freeze_activation_pattern(trained(make))
    frozen.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = inputs_of(frozen)
    for a, b in zip(numbers(frozen(x)), numbers(again(x)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [layer.name for layer in again.layers if not layer.trainable] == [
        layer.name for layer in frozen.layers if not layer.trainable
    ]
    again.compile("sgd", losses_of(again))
    gates = gates_of(again)
    again.fit(x, labels_of(again), verbose=0)
    for name, value in gates_of(again).items():
        np.testing.assert_array_equal(value, gates[name])


@pytest.mark.parametrize("name", ["conv", "conv2", "logits", "norm"])
def test_linear_in_the_weights_of_each_layer(name):
    """The second difference in one kernel is 0, which no ReLU network has."""
    model = trained(models.convolutional)
    x = inputs_of(model)
    generator = np.random.default_rng(0)

    def outputs(model, steps):
        layer = model.get_layer(name)
        weight = layer.kernel if hasattr(layer, "kernel") else layer.gamma
        start = ops.convert_to_numpy(weight)
        direction = generator.normal(size=start.shape)
        found = []
        for step in steps:
            weight.assign(start + step * direction)
            found.append(numbers(model(x, training=False))[0])
        weight.assign(start)
        return found

    def bend(model):
        left, middle, right = outputs(model, (-1, 0, 1))
        return np.abs(left - 2 * middle + right).max() / np.abs(middle).max()

    assert bend(freeze_activation_pattern(model)) < 1e-5
    if name != "logits":
        assert bend(model) > 1e-2


def test_homogeneous_without_bias():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, use_bias=False, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3, use_bias=False),
        ]
    )
    frozen = freeze_activation_pattern(model)
    models.randomize(model)  # A copy: the frozen model does not follow.
    x = inputs_of(frozen)
    np.testing.assert_allclose(
        numbers(frozen(3 * x))[0], 3 * numbers(frozen(x))[0], rtol=1e-5, atol=1e-6
    )
    assert np.abs(numbers(frozen(x))[0] - numbers(model(x))[0]).max() > 1e-3


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = everything()
    finally:
        keras.config.set_dtype_policy("float32")
    frozen = freeze_activation_pattern(model)
    x = inputs_of(model)
    for a, b in zip(numbers(model(x)), numbers(frozen(x)), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.astype("float32"), b.astype("float32"))
    gates = gates_of(frozen)
    frozen.compile("sgd", "mse", jit_compile=True)
    frozen.fit(x, np.zeros((6, 3)), verbose=0)
    for name, value in gates_of(frozen).items():
        np.testing.assert_array_equal(value, gates[name])


@pytest.mark.tensorflow
def test_mirrored_strategy(strategy):
    with strategy.scope():
        model = everything()
    frozen = freeze_activation_pattern(model)
    assert frozen.distribute_strategy is strategy
    x = inputs_of(model, 8)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), frozen.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    gates = gates_of(frozen)
    with strategy.scope():
        frozen.compile("adam", "mse")
    frozen.fit(x, np.zeros((8, 3)), epochs=2, verbose=0)
    for name, value in gates_of(frozen).items():
        np.testing.assert_array_equal(value, gates[name])


@pytest.mark.tensorflow
def test_export(tmp_path):
    import tensorflow as tf

    frozen = freeze_activation_pattern(trained(everything))
    frozen.export(tmp_path / "saved", verbose=False)
    x = inputs_of(frozen)
    again = tf.saved_model.load(tmp_path / "saved")
    served = again.serve(x)
    np.testing.assert_allclose(
        served.numpy(), numbers(frozen(x))[0], rtol=1e-5, atol=1e-5
    )


def test_dropout_acts_on_the_paths_alone():
    model = keras.Sequential(
        [
            keras.Input((50,)),
            layers.Dropout(0.5, seed=0),
            layers.Dense(40, activation="relu"),
            layers.Dense(1),
        ]
    )
    frozen = freeze_activation_pattern(model)
    inner = keras.Model(
        frozen.inputs, [frozen.get_layer("dense_gate").output, frozen.output]
    )
    x = inputs_of(frozen)
    gate, output = numbers(inner(x, training=True))
    same_gate, same_output = numbers(inner(x, training=False))
    np.testing.assert_array_equal(gate, same_gate)
    assert np.abs(output - same_output).max() > 1e-3


def test_penalties_stay_on_the_paths():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(
                5,
                activation="relu",
                kernel_regularizer="l2",
                activity_regularizer=keras.regularizers.L1(0.1),
            ),
            layers.Dense(3, activity_regularizer=gb.regularizers.DARC1(0.1)),
            gb.layers.DARC1Regularization(0.2),
            layers.Softmax(),
        ]
    )
    frozen = freeze_activation_pattern(model)
    x = inputs_of(model)
    for m in (model, frozen):
        m(x)
    expected, found = (sorted(map(float, m.losses)) for m in (model, frozen))
    assert len(expected) == 4
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_layers_keep_their_names_options_and_sharing():
    model = nested()
    frozen = freeze_activation_pattern(model)
    names = [layer.name for layer in frozen.layers]
    assert len(set(names)) == len(names)
    # Two layers are used twice: four gates, but one copy in each branch.
    found = frozen.layers
    assert sum(isinstance(layer, Gate) for layer in found) == 4
    dense = [layer for layer in found if isinstance(layer, layers.Dense)]
    assert sum(not layer.trainable for layer in dense) == 2
    assert sum(layer.trainable for layer in dense) == 5
    assert frozen.name == f"{model.name}_frozen"
    model = trained(models.convolutional)
    model.get_layer("conv").trainable = False
    frozen = freeze_activation_pattern(model)
    assert not frozen.get_layer("conv").trainable
    assert frozen.get_layer("conv2").trainable
    # No gate is behind the logits, nor a gate branch's copy of them.
    assert "logits_gate" not in [layer.name for layer in frozen.layers]


def test_the_result_is_fine_tuned_and_frozen_no_second_time():
    frozen = freeze_activation_pattern(trained(models.dense))
    with pytest.raises(ValueError, match="first_activation.*is frozen already"):
        freeze_activation_pattern(frozen)
    kernel = frozen.get_layer("second").get_weights()[0]
    frozen.get_layer("second").trainable = False
    frozen.compile("sgd", losses_of(frozen))
    frozen.fit(inputs_of(frozen), labels_of(frozen), verbose=0)
    np.testing.assert_array_equal(frozen.get_layer("second").get_weights()[0], kernel)


def test_what_cannot_be_frozen_is_named():
    inputs = keras.Input((4,))
    x = layers.Dense(4, activation="gelu", name="smooth")(inputs)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Multiply(name="product")([x, x])
    model = keras.Model(inputs, layers.Dense(2)(x), name="mine")
    with pytest.raises(ValueError) as info:
        freeze_activation_pattern(model)
    text = str(info.value)
    assert "'smooth' (Dense) has the activation gelu, which is not piecewise" in text
    assert "'norm' (LayerNormalization) is not linear" in text
    assert "'product' (Multiply) is not linear" in text
    assert "Supported: Dense" in text and "model='mine'" in text


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda x: x * x, "A product of two tensors is not linear"),
        (lambda x: 1.0 / (x + 10.0), "divided by"),
        (
            lambda x: layers.Dense(2)(layers.Dense(3, activation="softmax")(x)),
            "must be the end of the network. Received: layer",
        ),
    ],
)
def test_what_the_graph_shows_is_refused(make, message):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, make(inputs))
    with pytest.raises(ValueError, match=message):
        freeze_activation_pattern(model)


def test_models_without_a_graph_are_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="a subclassed model, Subclassed"):
        freeze_activation_pattern(Subclassed())
    with pytest.raises(ValueError, match="must be built"):
        freeze_activation_pattern(keras.Sequential([layers.Dense(2)]))


@pytest.mark.parametrize("make", [models.dense, models.convolutional, models.residual])
def test_the_path_branch_is_measured_as_the_model(make):
    """At the switch it is the same network, so all its numbers are the same."""
    model = trained(make)
    frozen = freeze_activation_pattern(model)
    x = inputs_of(model)
    quantities = ["layer_cushion", "activation_contraction", "stable_rank"]
    expected, found = (gb.measure(m, x, quantities=quantities) for m in (model, frozen))
    assert set(expected.layers) <= set(found.layers)
    for name, layer in expected.layers.items():
        for quantity in quantities:
            assert getattr(found.layers[name], quantity) == pytest.approx(
                getattr(layer, quantity), rel=1e-5
            )
    assert not any("cannot be seen" in note for note in found.notes)


def test_live_metrics_inside_the_step():
    frozen = freeze_activation_pattern(trained(models.dense))
    monitored = gb.MonitoredModel.from_model(frozen, metrics=["layer_cushion"])
    monitored.compile("sgd", "sparse_categorical_crossentropy")
    history = monitored.fit(inputs_of(frozen), labels_of(frozen), verbose=0).history
    assert np.isfinite(history["layer_cushion/first"]).all()


@pytest.mark.parametrize("split", [True, False], ids=["of a layer", "its own layer"])
@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_a_function_of_the_backend_is_frozen_as_it_is(name, split, tmp_path):
    module = backend.tf.nn if backend.name == "tensorflow" else backend.jax.nn
    function = getattr(module, name)
    first = (
        [layers.Dense(5, activation=function)]
        if split
        else [
            layers.Dense(5),
            layers.Activation(function),
        ]
    )
    model = models.randomize(
        keras.Sequential(
            [
                keras.Input((4,)),
                *first,
                layers.Dense(5, activation="relu"),
                layers.Dense(3),
                layers.Activation(module.softmax),
            ]
        )
    )
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    slope = {"relu": 0.0, "leaky_relu": 0.2 if backend.name == "tensorflow" else 0.01}
    a, a0, b, b0, c, c0 = model.get_weights()
    hidden = x @ a + a0
    hidden = np.where(hidden > 0, hidden, slope[name] * hidden)
    expected = np.exp(np.maximum(hidden @ b + b0, 0) @ c + c0)
    expected /= expected.sum(axis=1, keepdims=True)
    frozen = freeze_activation_pattern(model)
    np.testing.assert_allclose(frozen(x), expected, rtol=1e-4, atol=1e-6)
    frozen.save(tmp_path / "frozen.keras")
    loaded = keras.models.load_model(tmp_path / "frozen.keras")
    np.testing.assert_allclose(loaded(x), expected, rtol=1e-4, atol=1e-6)
