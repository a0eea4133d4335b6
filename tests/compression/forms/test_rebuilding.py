"""What the decoder cannot know is finalized, merged, or refused by name."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import tf_genbounds as gb
from tf_genbounds.compression import Compressed
from tf_genbounds.compression import QuantizedTraining
from tf_genbounds.compression import RandomSubspace
from tf_genbounds.compression import compress
from tf_genbounds.compression import matrix_project
from tf_genbounds.compression import truncate_svd

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
        np.testing.assert_array_equal(np.argmax(each.predict(x, verbose=0), axis=1), y)


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


# LoRA, quantized layers, Python code, legacy models -----------------------------------


def tuned():
    """A convolution, a contraction and a Dense layer, each with LoRA."""
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 2, activation="relu", name="conv")(inputs)
    x = layers.EinsumDense("bhwc,cd->bhwd", (5, 5, 4), name="einsum")(x)
    model = keras.Model(inputs, layers.Dense(2, name="dense")(layers.Flatten()(x)))
    generator = np.random.default_rng(0)
    before = model.get_weights()
    for name in ("conv", "einsum", "dense"):
        layer = model.get_layer(name)
        layer.enable_lora(2)
        for weight in layer.weights:
            if "lora" in weight.path:
                weight.assign(generator.normal(size=weight.shape))
    return model, before


@pytest.mark.parametrize("method", ["quantize", "truncate_svd", "filter_project"])
def test_kernels_of_lora_layers_are_merged(method, tmp_path):
    model, before = tuned()
    x = np.random.default_rng(1).normal(size=(40, 6, 6, 2)).astype("float32")
    outputs = model.predict(x, verbose=0)
    y = np.argmax(outputs, axis=1)
    assert 5 < np.sum(y) < 35
    options = {} if method == "quantize" else {"keep": 1.0}
    found = compress(model, (x, y), method, num_levels="float16", **options)
    assert not any("lora" in weight.path for weight in found.model.weights)
    if method == "quantize":  # Each kernel, and for Dense its bias: 5 arrays.
        assert len(found.model.weights) == 5
        dense = model.get_layer("dense")
        merged = dense._kernel + ops.matmul(dense.lora_kernel_a, dense.lora_kernel_b)
        np.testing.assert_allclose(
            found.model.get_layer("dense").kernel, merged, rtol=1e-3
        )
        options = {"num_levels": "float16", "initial_weights": before}
        difference = compress(model, (x, y), **options)
        np.testing.assert_allclose(
            difference.model.predict(x, verbose=0), outputs, rtol=1e-2, atol=0.1
        )
        for each in stored(found, tmp_path):
            np.testing.assert_allclose(
                each.predict(x, verbose=0), outputs, rtol=1e-2, atol=0.1
            )
            assert not any(
                getattr(layer, "lora_enabled", False) for layer in each.layers
            )
    with pytest.raises(ValueError, match="'conv' has LoRA weights"):
        QuantizedTraining(model, 40)
    with pytest.raises(ValueError, match="'conv' has LoRA weights"):
        RandomSubspace(model, 3, 40)


def test_the_kernel_of_a_lora_layer_is_the_merged_one():
    layer = layers.Dense(3, use_bias=False)
    layer.build((None, 4))
    layer.enable_lora(1, lora_alpha=2)
    layer._kernel.assign(np.zeros((4, 3)))
    layer.lora_kernel_a.assign(np.arange(1.0, 5)[:, None])
    layer.lora_kernel_b.assign([[1.0, 0, 2]])
    expected = 2 * np.outer([1, 2, 3, 4], [1, 0, 2])
    np.testing.assert_allclose(truncate_svd(layer.kernel, rank=1).kernel(), expected)
    a, b = (matrix_project(k, 0.5, 0.5, seed=0) for k in (layer.kernel, expected))
    np.testing.assert_array_equal(a.numbers, b.numbers)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantized_layers_are_refused_by_name(mode):
    model = keras.Sequential(
        [keras.Input((4,)), keras.Sequential([layers.Dense(8, name="hidden")]),
         layers.Dense(2)]
    )  # fmt: skip
    model.layers[0].layers[0].quantize(mode)
    x = np.zeros((40, 4), "float32")
    for make in (
        lambda: compress(model, (x, np.zeros(40, int))),
        lambda: QuantizedTraining(model, 40),
        lambda: RandomSubspace(model, 3, 40),
    ):
        with pytest.raises(ValueError, match=rf"'hidden' is quantized \({mode}\)"):
            make()
    if mode == "int8":
        with pytest.raises(ValueError, match="kernel.dtype=int8"):
            truncate_svd(model.layers[0].layers[0]._kernel, rank=1)


@keras.saving.register_keras_serializable(package="test_rebuilding")
def doubled(x):
    return 2 * x


def unregistered(x):
    return 2 * x


@pytest.mark.parametrize("function", [lambda x: 2 * x, unregistered, doubled])
def test_python_code_is_refused_unless_it_is_registered(function, tmp_path):
    layer = layers.Lambda(function, output_shape=(2,), name="code")
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2), layer])
    x, y = years()
    if function is doubled:
        for each in stored(compress(model, (x, y), num_levels=3), tmp_path):
            assert each.predict(x, verbose=0).shape == (60, 2)
        return
    for make in (
        lambda: compress(model, (x, y)),
        lambda: QuantizedTraining(model, 60),
        lambda: RandomSubspace(model, 3, 60),
    ):
        with pytest.raises(ValueError, match="'code' is a Lambda layer of Python code"):
            make()


def test_a_legacy_model_is_refused():
    legacy = type("Sequential", (), {"__module__": "tf_keras.src.models"})()
    for make in (
        lambda: compress(legacy, years()),
        lambda: gb.measure(legacy, years()),
        lambda: QuantizedTraining(legacy, 60),
        lambda: RandomSubspace(legacy, 3, 60),
    ):
        with pytest.raises(TypeError, match="Keras 3.*a legacy model of tf_keras"):
            make()
