"""What the decoder cannot know is finalized, merged, or refused by name."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tf_genbounds.compression import (
    Compressed,
    QuantizedTraining,
    RandomSubspace,
    compress,
)

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def years(samples=60):
    """Two features far from 0, of which the first says the class."""
    x = np.random.default_rng(0).normal(size=(samples, 2)) * [5, 0.01] + [2000, 3]
    return x.astype("float32"), (x[:, 0] > 2000).astype("int64")


def normalized(x):
    """Logits `(-z, z)`, for the first feature's z-score."""
    layer = layers.Normalization()
    layer.adapt(x)
    model = keras.Sequential([keras.Input((2,)), layer, layers.Dense(2)])
    model.layers[1].set_weights([np.array([[-1.0, 1.0], [0.0, 0.0]]), np.zeros(2)])
    return model


def stored(found, path):
    """The decoded model, its code read again, and the model saved and loaded."""
    found.save(path / "model.code")
    found.model.save(path / "model.keras")
    return (
        found.model,
        Compressed.load(path / "model.code").model,
        keras.models.load_model(path / "model.keras"),
    )


def train(kind, model, x, y, *args, **options):
    training = kind(model, *args, num_samples=len(x), factor=0.0, **options)
    training.compile(keras.optimizers.Adam(0.01), LOSS)
    training.fit(x, y, epochs=2, verbose=0)
    return training


# Layers that derive a state from their weights ---------------------------------------


@pytest.mark.parametrize("way", ["search", "levels", "quantized", "subspace"])
def test_an_adapted_normalization_survives(way, tmp_path):
    x, y = years()
    model = normalized(x)
    if way == "search":
        found = compress(model, (x, y))
    elif way == "levels":
        found = compress(model, (x, y), num_levels=15)
    elif way == "quantized":
        found = train(QuantizedTraining, model, x, y, num_levels=15).compress((x, y))
    else:
        found = train(RandomSubspace, model, x, y, 3, num_levels=15).compress((x, y))
    # Without mean and variance every example has the same class.
    assert found.certificate.train_error <= 0.05
    expected = found.model.predict(x, verbose=0)
    wrong = np.mean(np.argmax(expected, axis=1) != y)
    assert found.certificate.train_error == wrong
    for each in stored(found, tmp_path):
        np.testing.assert_array_equal(each.predict(x, verbose=0), expected)
        for layer in each.layers:
            if isinstance(layer, layers.Normalization):
                np.testing.assert_allclose(
                    ops.convert_to_numpy(layer.mean)[0], x.mean(axis=0), rtol=1e-6
                )


@keras.saving.register_keras_serializable(package="test_rebuilding")
class Doubled(layers.Layer):
    """Keeps twice its weight, computed where Keras loads it."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones", trainable=False)
        self.twice = 2.0

    def load_own_variables(self, store):
        super().load_own_variables(store)
        self.twice = 2.0 * float(ops.convert_to_numpy(self.scale))

    def call(self, inputs):
        return inputs * self.twice


def test_layers_of_the_users_own_are_loaded_as_keras_loads_them(tmp_path):
    layer = Doubled()
    model = keras.Sequential(
        [keras.Input((2,)), keras.Sequential([layer, layers.Dense(2, name="logits")])]
    )
    layer.scale.assign(-3.0)
    model.layers[0].layers[1].kernel.assign(np.eye(2))
    layer.twice = -6.0
    x, _ = years()
    y = np.argmax(-x, axis=1)
    found = compress(model, (x, y), num_levels=3)
    assert found.certificate.train_error == 0
    for each in stored(found, tmp_path):
        np.testing.assert_allclose(
            each.predict(x, verbose=0), -6 * x, rtol=0.05, atol=0
        )


@pytest.mark.tensorflow
@pytest.mark.parametrize("given", [True, False])
def test_a_vocabulary_is_in_the_config_or_refused(given, tmp_path):
    x = np.random.default_rng(0).choice([7, 11, 13], size=(60, 1))
    lookup = layers.IntegerLookup(vocabulary=[7, 11, 13] if given else None)
    if not given:
        lookup.adapt(x)
    embedding = layers.Embedding(4, 2, embeddings_initializer="zeros")
    model = keras.Sequential(
        [keras.Input((1,), dtype="int64"), lookup, embedding, layers.Flatten()]
    )
    embedding.embeddings.assign([[0, 0], [1, 0], [0, 1], [1, 0]])
    y = (x[:, 0] == 11).astype("int64")
    if given:
        found = compress(model, (x, y), num_levels=3)
        assert found.certificate.train_error == 0
        for each in stored(found, tmp_path):
            np.testing.assert_array_equal(
                np.argmax(each.predict(x, verbose=0), axis=1), y
            )
        return
    with pytest.raises(ValueError, match=f"{lookup.name!r} has learned its vocabulary"):
        compress(model, (x, y), num_levels=3)
    with pytest.raises(ValueError, match=f"{lookup.name!r} has learned its vocabulary"):
        QuantizedTraining(model, num_samples=60)


def test_adapted_boundaries_are_in_the_config(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 1)).astype("float32")
    layer = layers.Discretization(num_bins=4, epsilon=0.01)
    layer.adapt(x)
    embedding = layers.Embedding(4, 2)
    model = keras.Sequential([keras.Input((1,)), layer, embedding, layers.Flatten()])
    embedding.embeddings.assign([[1, 0], [1, 0], [0, 1], [0, 1]])
    y = np.argmax(model.predict(x, verbose=0), axis=1)
    assert 20 < y.sum() < 40
    found = compress(model, (x, y), num_levels=3)
    assert found.certificate.train_error == 0
    for each in stored(found, tmp_path):
        np.testing.assert_array_equal(
            np.argmax(each.predict(x, verbose=0), axis=1), y
        )


# Policies of lower and higher precision -----------------------------------------------


def mixed(policy):
    """A nested model whose layers and casts have a policy of their own."""
    inner = keras.Sequential(
        [
            keras.Input((2,), dtype="float32"),
            layers.Dense(4, activation="relu", dtype=policy),
            layers.BatchNormalization(dtype=policy),
        ]
    )
    inputs = keras.Input((2,))
    x = inner(inputs) * np.full(4, 0.5, policy.removeprefix("mixed_"))
    x = ops.cast(x, "float16")
    return keras.Model(inputs, layers.Dense(2, dtype=policy)(x))


POLICIES = ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_returned_computes_in_float32(policy, tmp_path):
    if policy == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is told to")
    x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
    # Logits of 1000 and a little: in half precision most are ties.
    y = (x[:, 0] > 0).astype("int64")
    model = mixed(policy)
    hidden, _, last = (
        model.layers[1].layers[0], model.layers[1].layers[1], model.layers[-1]
    )  # fmt: skip
    hidden.set_weights([np.array([[1.0, -1, 0, 0], [0, 0, 0, 0]]), np.zeros(4)])
    last.set_weights([np.array([[0.0, 1], [1, 0], [0, 0], [0, 0]]), np.full(2, 1000.0)])
    found = compress(model, (x, y), num_levels="float16")
    assert found.certificate.train_error == 0
    for each in stored(found, tmp_path):
        outputs = each.predict(x, verbose=0)
        assert outputs.dtype == "float32"
        np.testing.assert_array_equal(np.argmax(outputs, axis=1), y)
        assert {layer.compute_dtype for layer in each._flatten_layers()} == {"float32"}
        assert {weight.dtype for weight in each.weights} == {"float32"}


@pytest.mark.parametrize("kind", [QuantizedTraining, RandomSubspace])
def test_what_was_trained_in_half_precision_is_written_in_float32(kind):
    x, y = years()
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype("float32")
    model = mixed("mixed_bfloat16")
    args = (20,) if kind is RandomSubspace else ()
    found = train(kind, model, x, y, *args).compress((x, y))
    outputs = found.model.predict(x, verbose=0)
    assert outputs.dtype == "float32"
    wrong = outputs[np.arange(60), y] <= outputs[np.arange(60), 1 - y]
    assert found.certificate.train_error == np.mean(wrong)


@keras.saving.register_keras_serializable(package="test_rebuilding")
class Half(layers.Layer):
    """Computes in half precision, whatever it is told."""

    def __init__(self, **config):
        super().__init__(**config | {"dtype": "float16"})

    def call(self, inputs):
        return inputs


def test_a_layer_that_insists_on_half_precision_is_refused():
    model = keras.Sequential([keras.Input((2,)), Half(name="half"), layers.Dense(2)])
    with pytest.raises(ValueError, match="in float32.*'half' that computes in float16"):
        compress(model, years())
