"""Path norms, against lists of all paths and against theorems."""

import keras
import numpy as np
import path_lists as lists
import pytest
from keras import layers
from path_network import PathNetwork

import tf_genbounds as gb
from tf_genbounds import functional
from tf_genbounds.two_phase import freeze_activation_pattern


def moved(model, seed=1):
    """The frozen model after some training: path and gate weights differ."""
    frozen = freeze_activation_pattern(model)
    generator = np.random.default_rng(seed)
    for weight in frozen.trainable_weights:
        noise = generator.normal(size=weight.shape)
        weight.assign(keras.ops.convert_to_numpy(weight) + noise / 2)
    return frozen


def random(model, seed=0):
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        value = generator.normal(size=weight.shape)
        weight.assign(np.exp(value) if "variance" in weight.path else value)
    return model


def weights(model, name):
    """`(path, gate)`: the weights of a layer in both branches."""
    path = model.get_layer(name).get_weights()
    names = [layer.name for layer in model.layers]
    gate = f"{name}_gate"
    # The gate branch ends at the last gate: behind it any weights will do.
    return path, model.get_layer(gate).get_weights() if gate in names else path


def folded(model, conv, norm):
    """Weights of a convolution with the batch norm behind it, both branches."""
    found = []
    for suffix in ("", "_gate"):
        kernel, bias = model.get_layer(conv + suffix).get_weights()
        gamma, beta, mean, variance = model.get_layer(norm + suffix).get_weights()
        scale = gamma / np.sqrt(variance + 1e-3)
        found.append([kernel * scale, (bias - mean) * scale + beta])
    return found


def convolutional():
    """Batch norm, max pooling, leaky ReLU and a linear end."""
    model = random(
        keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                layers.Conv2D(2, 2, padding="same", name="conv"),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(),
                layers.MaxPooling2D(),
                layers.Conv2D(2, 2, name="conv2"),
                layers.LeakyReLU(negative_slope=0.25),
                layers.Flatten(),
                layers.Dense(3, name="dense"),
            ]
        )
    )

    def units(frozen, x):
        found = lists.relu(
            lists.convolution(lists.start(x), *folded(frozen, "conv", "norm"))
        )
        found = lists.max_pool(found, 2, 2)
        found = lists.convolution(found, *weights(frozen, "conv2"), "valid")
        found = lists.relu(found, 0.25).reshape(-1)
        return lists.dense(found, *weights(frozen, "dense"))

    return model, units


def residual():
    """A skip, a cap, overlapping and averaging windows, products, PReLU."""
    inputs = keras.Input((4, 4, 1))
    x = layers.Rescaling(0.5)(inputs)
    x = skip = layers.Conv2D(1, 2, padding="same", name="conv")(x)
    x = layers.ReLU(max_value=0.75)(x)
    x = layers.MaxPooling2D(3, 1, padding="same")(x)
    x = layers.Add()([2.0 * x, -skip])
    x = layers.PReLU(name="prelu")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.AveragePooling2D(3, 2, padding="same")(x)
    x = layers.Flatten()(x)
    outputs = layers.Dense(2, activation="softmax", name="dense")(x)
    model = random(keras.Model(inputs, outputs))

    def units(frozen, x):
        slopes = frozen.get_layer("prelu").get_weights()[0]
        found = lists.times(lists.start(x), 0.5)
        found = skip = lists.convolution(found, *weights(frozen, "conv"))
        found = lists.max_pool(lists.relu(found, cap=0.75), 3, 1, "same")
        found = lists.add(lists.times(found, 2.0), lists.times(skip, -1.0))
        found = lists.average_pool(lists.relu(found, slopes), 3, 2, "same")
        return lists.dense(found.reshape(-1), *weights(frozen, "dense"))

    return model, units


def shared():
    """A layer used twice, an average, a constant, several inputs, global pools."""
    a, b = keras.Input((2, 2, 2), name="a"), keras.Input((2, 2, 2), name="b")
    layer = layers.Dense(2, activation="relu", name="shared")
    left, right = layer(a), layer(b)
    x = layers.Average()([left, right]) + 0.5
    pooled = layers.GlobalMaxPooling2D()(x)
    mean = layers.GlobalAveragePooling2D()(left)
    x = layers.Concatenate()([pooled, keras.ops.mean(right, axis=(1, 2)), mean])
    model = random(keras.Model({"a": a, "b": b}, layers.Dense(2, name="dense")(x)))

    def units(frozen, x):
        pair = weights(frozen, "shared")
        left, right = (
            np.stack(
                [
                    lists.relu(lists.dense(pixel, *pair))
                    for pixel in lists.start(x[name]).reshape(4, 2)
                ]
            ).reshape(2, 2, 2)
            for name in "ab"
        )
        found = lists.add(lists.times(left, 0.5), lists.times(right, 0.5))
        found = lists.add(
            found, lists.array(found.shape, lambda i: lists.constant(1, 0.5, 0.5))
        )
        parts = [
            lists.max_pool(found, 2, 2),
            lists.average_pool(right, 2, 2),
            lists.average_pool(left, 2, 2),
        ]
        found = np.concatenate([p.reshape(-1) for p in parts])
        return lists.dense(found, *weights(frozen, "dense"))

    return model, units


NETWORKS = [convolutional, residual, shared]


def data(model, count, seed=2):
    generator = np.random.default_rng(seed)

    def draw(tensor):
        return generator.normal(size=(count, *tensor.shape[1:])).astype("float32")

    if len(model.inputs) > 1:
        return {tensor.name: draw(tensor) for tensor in model.inputs}
    return draw(model.inputs[0])


def example(x, index):
    return keras.tree.map_structure(lambda a: np.float64(a[index]), x)


@pytest.mark.parametrize("network", NETWORKS)
def test_equals_the_list_of_all_paths(network):
    model, units = network()
    frozen = moved(model)
    x = data(model, 4)
    features = functional.path_feature_norms(frozen, x, batch_size=3)
    for index in range(4):
        outputs = units(frozen, example(x, index))
        # The list is right: it gives the output of the model.
        logits = keras.ops.convert_to_numpy(
            frozen(keras.tree.map_structure(lambda a: a[index : index + 1], x))
        )[0]
        expected = np.array([unit.output for unit in outputs])
        if network is residual:
            expected = np.exp(expected) / np.exp(expected).sum()
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
        norms = [np.linalg.norm(unit.features) for unit in outputs]
        np.testing.assert_allclose(norms, norms[0])
        assert features[index] == pytest.approx(norms[0], rel=1e-5)
    for order in (1, 2):
        np.testing.assert_allclose(
            functional.path_weight_norms(frozen, order=order),
            [np.linalg.norm(unit.weights, order) for unit in outputs],
            rtol=1e-5,
        )
    assert functional.path_count(frozen) == pytest.approx(
        np.log(len(outputs[0].features))
    )


@pytest.mark.parametrize("network", [convolutional, residual])
def test_gram_matrix_equals_the_list_of_all_paths(network):
    model, units = network()
    frozen = moved(model)
    x = data(model, 5)
    features = np.array([units(frozen, np.float64(e))[0].features for e in x])
    expected = features @ features.T
    size = np.max(expected)
    gram = functional.path_gram_matrix(frozen, x, batch_size=4)
    np.testing.assert_allclose(gram, expected, rtol=1e-5, atol=1e-6 * size)
    np.testing.assert_array_equal(gram, gram.T)
    other = functional.path_gram_matrix(frozen, x[:2], x[1:], unit=1)
    np.testing.assert_allclose(other, expected[:2, 1:], rtol=1e-5, atol=1e-6 * size)
    np.testing.assert_allclose(
        np.sqrt(np.diag(gram)), functional.path_feature_norms(frozen, x), rtol=1e-5
    )


def test_reference_value():
    network = PathNetwork(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, activation="relu", use_bias=False),
            layers.Dense(3, activation="relu", use_bias=False),
            layers.Dense(2, use_bias=False),
        ]
    )
    model.set_weights(network.kernels)
    frozen = freeze_activation_pattern(model)
    x = np.random.default_rng(1).normal(size=(6, 3))
    np.testing.assert_allclose(
        functional.path_feature_norms(frozen, x),
        np.linalg.norm(network.features(x), axis=1),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        functional.path_weight_norms(frozen),
        np.linalg.norm(network.weights(), axis=0),
        rtol=1e-6,
    )
    assert functional.path_count(frozen, log=False) == pytest.approx(36, rel=1e-6)
    # Cauchy-Schwarz.
    outputs = np.abs(keras.ops.convert_to_numpy(frozen(x)))
    bound = np.outer(
        functional.path_feature_norms(frozen, x),
        functional.path_weight_norms(frozen),
    )
    assert np.all(outputs <= bound * (1 + 1e-6))


def test_the_certified_norm_is_that_of_open_gates():
    # Positive inputs, kernels and biases: every unit is on.
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, activation="relu", bias_initializer="ones"),
            layers.Dense(5, activation="relu", bias_initializer="ones"),
            layers.Dense(2),
        ]
    )
    for weight in model.weights:
        weight.assign(np.abs(keras.ops.convert_to_numpy(weight)))
    x = np.array([[0.5, 1.0, 2.0]])
    assert functional.path_feature_norms(
        freeze_activation_pattern(model), x
    ) == pytest.approx(
        gb.bounds.certified_feature_norm(np.linalg.norm(x), [4, 5], bias=True)
    )


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_rescaling_of_a_unit_changes_no_norm(scale):
    model, _ = convolutional()
    x = data(model, 3)
    frozen = freeze_activation_pattern(model)
    before = functional.path_weight_norms(frozen)
    features = functional.path_feature_norms(frozen, x)
    kernel, bias = model.get_layer("conv2").get_weights()
    model.get_layer("conv2").set_weights([kernel * scale, bias * scale])
    kernel, bias = model.get_layer("dense").get_weights()
    model.get_layer("dense").set_weights([kernel / scale, bias])
    frozen = freeze_activation_pattern(model)
    after = functional.path_weight_norms(frozen)
    np.testing.assert_allclose(after, before, rtol=1e-5)
    np.testing.assert_allclose(
        functional.path_feature_norms(frozen, x), features, rtol=1e-5
    )


def test_deep_and_wide_networks_do_not_overflow():
    width, depth = 64, 100
    model = keras.Sequential([keras.Input((width,))])
    for _ in range(depth):
        model.add(layers.Dense(width, activation="relu", use_bias=False))
    model.add(layers.Dense(1, use_bias=False))
    for weight in model.weights:
        weight.assign(np.full(weight.shape, 1e3))
    frozen = freeze_activation_pattern(model)
    paths = (depth + 1) * np.log(width)
    assert functional.path_count(frozen) == pytest.approx(paths, rel=1e-9)
    weights = functional.path_weight_norms(frozen, log=True)
    assert weights == pytest.approx((depth + 1) * np.log(1e3) + paths / 2, rel=1e-6)
    assert functional.path_weight_norms(frozen) == [np.inf]
    # Units overflow, and are on all the same.
    found = functional.path_feature_norms(frozen, np.full((1, width), 1e-30), log=True)
    assert found == pytest.approx(np.log(1e-30) + paths / 2, rel=1e-6)


def test_output_of_several():
    inputs = keras.Input((3,))
    hidden = layers.Dense(4, activation="relu")(inputs)
    model = keras.Model(
        inputs, [layers.Dense(2)(hidden), layers.Dense(1, use_bias=False)(inputs)]
    )
    frozen = freeze_activation_pattern(random(model))
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert functional.path_weight_norms(frozen, output=0).shape == (2,)
    kernel = frozen.layers[-1].get_weights()[0]
    assert functional.path_weight_norms(frozen, output=1) == pytest.approx(
        np.linalg.norm(kernel)
    )
    np.testing.assert_allclose(
        functional.path_feature_norms(frozen, x, output=1),
        np.linalg.norm(x, axis=1),
        rtol=1e-6,
    )
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\).*output=2"):
        functional.path_weight_norms(frozen, output=2)


def test_the_longest_path_features_of_an_output_count():
    """One unit sees (3, 4), the other 3 alone: norms 5 and 3, mean of squares 17."""
    inputs = keras.Input((2,))
    units = [layers.Dense(1, use_bias=False)(t) for t in (inputs, inputs[:, :1])]
    model = keras.Model(inputs, layers.Concatenate()(units))
    norms = functional.path_feature_norms(model, np.array([[3.0, 4.0]]))
    np.testing.assert_allclose(norms, [5.0], rtol=1e-6)
    # Two paths to the one unit, one to the other.
    assert functional.path_count(model, log=False) == pytest.approx(2.0)


def test_mixed_precision_is_measured_in_float32():
    model, _ = convolutional()
    x = data(model, 3)
    config = model.get_config()
    for layer in config["layers"][1:]:
        layer["config"]["dtype"] = "mixed_bfloat16"
    mixed = keras.Sequential.from_config(config)
    mixed.set_weights(model.get_weights())
    found, expected = (
        functional.path_feature_norms(freeze_activation_pattern(m), x)
        for m in (mixed, model)
    )
    np.testing.assert_array_equal(found, expected)


def test_a_model_that_is_not_frozen_is_refused():
    model, _ = convolutional()
    with pytest.raises(ValueError, match="has no frozen activation pattern"):
        functional.path_weight_norms(model)
    with pytest.raises(ValueError, match="order=3"):
        functional.path_weight_norms(freeze_activation_pattern(model), order=3)


def test_examples_must_stay_apart():
    inputs = keras.Input((4, 3))
    mixed = keras.ops.reshape(inputs, (-1, 6))
    frozen = freeze_activation_pattern(keras.Model(inputs, layers.Dense(2)(mixed)))
    with pytest.raises(ValueError, match="makes 6 examples of 3"):
        functional.path_feature_norms(frozen, np.ones((3, 4, 3)))


def test_unknown_image_sizes_are_refused():
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            layers.Conv2D(2, 3),
            layers.GlobalMaxPooling2D(),
        ]
    )
    frozen = freeze_activation_pattern(model)
    with pytest.raises(ValueError, match="sizes of the input must be known"):
        functional.path_weight_norms(frozen)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 1))
    assert functional.path_feature_norms(frozen, x).shape == (2,)
