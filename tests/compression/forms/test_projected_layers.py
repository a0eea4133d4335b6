"""Layers that store a few numbers: their slow twins, and what Keras expects."""

import importlib

import keras
import numpy as np
import pytest
from keras import layers

from tf_genbounds.compression import FilterProjected
from tf_genbounds.compression import Projected
from tf_genbounds.compression import project
from tf_genbounds.compression.algorithms.filter_project import project_filters

matrix_project = importlib.import_module(
    "tf_genbounds.compression.algorithms.matrix_project"
)


@pytest.mark.parametrize("block", [2**23, 2**17])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_filters_at_each_position(block, padding, monkeypatch):
    """Against one convolution for each position."""
    monkeypatch.setattr(matrix_project, "_BLOCK", block)
    layer = layers.Conv2D(4, 3, activation="relu", padding=padding, strides=2)
    layer.build((None, 6, 5, 2))
    layer.bias.assign(np.arange(4.0))
    kernel, bias = layer.get_weights()
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 2)).astype("float32")
    plain = keras.ops.convert_to_numpy(layer(x))
    positions = plain.shape[1] * plain.shape[2]
    stored = project_filters(kernel, 3, 2, locations=positions, seed=5, layer=2)
    compact = FilterProjected(layer, 3, 2, seed=5, index=2)
    compact.build(x.shape)
    compact.set_weights([stored.numbers, bias])
    expected = np.empty_like(plain).reshape(2, positions, 4)
    for i, kernel in enumerate(stored.kernels()):
        layer.kernel.assign(kernel)
        outputs = keras.ops.convert_to_numpy(layer(x)).reshape(2, positions, 4)
        expected[:, i] = outputs[:, i]
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(compact(x)).reshape(expected.shape),
        expected,
        rtol=1e-3,
        atol=1e-3,
    )
    assert [tuple(w.shape) for w in compact.weights] == [(6,), (4,)]
    with pytest.raises(ValueError, match="positions of one input size"):
        compact(np.ones((2, 8, 8, 2)))


def test_filters_need_a_convolution_of_known_size():
    for layer, shape in (
        (layers.Conv2D(4, 3), (None, None, None, 2)),
        (layers.Conv2D(4, 3, groups=2), (None, 6, 6, 2)),
        (layers.Dense(4), (None, 6)),
    ):
        with pytest.raises(ValueError, match="channels last and an input of known"):
            FilterProjected(layer, 3, 2, seed=0).build(shape)


@pytest.mark.parametrize("block", [2**23, 72 * 7])
def test_projected_layers_store_the_numbers_alone(block, monkeypatch):
    monkeypatch.setattr(matrix_project, "_BLOCK", block)  # All at once, or seven.
    layer = layers.Conv2D(4, 3, activation="relu", padding="same")
    layer.build((None, 6, 6, 2))
    layer.bias.assign(np.arange(4.0))
    compact = Projected(layer, num_numbers=30, seed=5, index=2)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    compact.build(x.shape)
    stored = project(layer.get_weights()[0], 30, seed=5, layer=2)
    compact.set_weights([stored.numbers, layer.get_weights()[1]])
    assert [tuple(w.shape) for w in compact.weights] == [(30,), (4,)]
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(compact.kernel),
        stored.kernel(),
        rtol=1e-5,
        atol=1e-6,
    )
    layer.kernel.assign(stored.kernel())
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(compact(x)),
        keras.ops.convert_to_numpy(layer(x)),
        rtol=1e-4,
        atol=1e-5,
    )
    config = keras.saving.serialize_keras_object(compact)
    again = keras.saving.deserialize_keras_object(config)
    again.set_weights(compact.get_weights())
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(again(x)), keras.ops.convert_to_numpy(compact(x))
    )


def model_with(compact, **options):
    first = layers.Conv2D(4, 3, activation="relu", padding="same")
    if compact is Projected:
        first = Projected(first, 20, seed=0, dtype=options.pop("dtype", None))
    else:
        first = FilterProjected(first, 7, 3, seed=0, dtype=options.pop("dtype", None))
    model = keras.Sequential(
        [keras.Input((6, 6, 2)), first, layers.Flatten(), layers.Dense(3)]
    )
    first.numbers.assign(np.random.default_rng(0).normal(size=first.num_numbers))
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options
    )
    return model


DATA = np.random.default_rng(1).normal(size=(16, 6, 6, 2)), np.arange(16) % 3


@pytest.mark.parametrize("compact", [Projected, FilterProjected])
@pytest.mark.parametrize(
    "options",
    [{"jit_compile": True}, {"jit_compile": False}, {"dtype": "mixed_float16"}],
)
def test_they_are_trained_like_any_layer(compact, options):
    model = model_with(compact, **options)
    before = model.get_weights()[0]
    history = model.fit(*DATA, epochs=5, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    assert np.any(model.get_weights()[0] != before)


@pytest.mark.parametrize("compact", [Projected, FilterProjected])
def test_save_and_load(compact, tmp_path):
    model = model_with(compact)
    model.fit(*DATA, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(DATA[0], verbose=0), model.predict(DATA[0], verbose=0)
    )
    configs = [m.layers[0].get_config() for m in (model, again)]
    for key in configs[0].keys() - {"layer"}:
        assert configs[0][key] == configs[1][key]


@pytest.mark.tensorflow
@pytest.mark.parametrize("compact", [Projected, FilterProjected])
def test_mirrored_strategy(compact, strategy):
    with strategy.scope():
        model = model_with(compact)
    history = model.fit(*DATA, batch_size=8, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
