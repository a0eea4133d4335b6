"""What Keras users expect of every object, said once for all of ours."""

import inspect

import keras
import models
import numpy as np
import pytest
from keras import layers

import tf_genbounds as gb

TENSORFLOW = keras.backend.backend() == "tensorflow"
IN_COMPILE = [
    gb.metrics.DARC1Penalty,
    gb.metrics.Margin,
    *(
        # Keras hands no weights to metrics on JAX.
        [gb.metrics.StableRank, gb.metrics.SpectralNorm, gb.metrics.FrobeniusNorm]
        if TENSORFLOW
        else []
    ),
]
OBJECTS = [
    gb.losses.DARC1,
    gb.losses.DARC,
    gb.regularizers.DARC1,
    gb.regularizers.DARC,
    gb.layers.DARC1Regularization,
    gb.layers.DARCRegularization,
    *IN_COMPILE,
]
# These see the inside of a network: tests/metrics, test_callbacks, test_monitor.
INSIDE = [
    gb.metrics.ActivationContraction,
    gb.metrics.Complexities,
    gb.metrics.DistanceFromInitialization,
    gb.metrics.EffectiveParameters,
    gb.metrics.InterlayerCushion,
    gb.metrics.InterlayerSmoothness,
    gb.metrics.JacobianSpread,
    gb.metrics.LayerCushion,
]
# On JAX the regularizer says that it cannot see what made its input.
pytestmark = pytest.mark.filterwarnings("ignore:On JAX")


def make(cls):
    base = {"loss": "sparse_categorical_crossentropy"}
    seed = {"seed": 3} if "seed" in inspect.signature(cls).parameters else {}
    return cls(**(base if issubclass(cls, keras.losses.Loss) else {}), **seed)


def model_with(cls, dtype=None, **options):
    """A compiled classifier in which the object plays its part."""
    thing = make(cls)
    regularizer = isinstance(thing, keras.regularizers.Regularizer)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu", dtype=dtype),
            layers.Flatten(),
            layers.Dense(
                3,
                activity_regularizer=thing if regularizer else None,
                dtype=dtype,
            ),
            *([thing] if isinstance(thing, layers.Layer) else []),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        "adam",
        thing if isinstance(thing, keras.losses.Loss) else loss,
        metrics=[thing] if isinstance(thing, keras.metrics.Metric) else None,
        **options,
    )
    return model


def fit(model, epochs=1):
    x, y = models.images()
    history = model.fit(x, y, batch_size=8, epochs=epochs, verbose=0).history
    for key, values in history.items():
        assert np.isfinite(values).all(), key
    return history


def test_nothing_public_is_left_out():
    public = {
        getattr(module, name)
        for module in (gb.losses, gb.regularizers, gb.layers, gb.metrics)
        for name in module.__all__
    }
    # On JAX the metrics of weights are the monitor's.
    weights = {
        gb.metrics.StableRank,
        gb.metrics.SpectralNorm,
        gb.metrics.FrobeniusNorm,
    }
    assert public == {*OBJECTS, *INSIDE, *weights}


@pytest.mark.parametrize("cls", [*OBJECTS, *INSIDE])
def test_config_round_trip(cls):
    thing = make(cls)
    config = keras.saving.serialize_keras_object(thing)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is cls
    assert keras.saving.serialize_keras_object(again) == config
    assert cls.__doc__ and "Example:" in cls.__doc__


@pytest.mark.parametrize("cls", OBJECTS)
def test_save_and_load(cls, tmp_path):
    model = model_with(cls)
    fit(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x, y = models.images()
    # All in one batch, so that the random signs of DARC are the same.
    expected, result = (
        m.evaluate(x, y, batch_size=20, verbose=0, return_dict=True)
        for m in (model, again)
    )
    assert set(result) == set(expected)
    for key, value in result.items():
        # A warm power iteration is not saved: it starts again, from below.
        if not key.startswith(("stable_rank", "spectral_norm")):
            assert value == pytest.approx(expected[key], rel=1e-5), key
    fit(again)


@pytest.mark.parametrize("cls", OBJECTS)
def test_compiles_with_xla_and_fits_again(cls):
    model = model_with(cls, jit_compile=True)
    assert set(fit(model)) == set(fit(model))


@pytest.mark.parametrize("cls", OBJECTS)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(cls, policy):
    fit(model_with(cls, dtype=policy))


@pytest.mark.tensorflow
@pytest.mark.parametrize("cls", OBJECTS)
def test_mirrored_strategy(cls, strategy):
    with strategy.scope():
        model = model_with(cls)
    fit(model, epochs=2)
