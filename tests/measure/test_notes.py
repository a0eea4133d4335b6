"""What `measure` tells a reader beside the numbers."""

import keras
import models
import numpy as np
import pytest
from keras import layers

from tf_genbounds import measure


def notes(model, x, **options):
    return " ".join(measure(model, x, num_draws=1, verbose=0, **options).notes)


def chain(use_bias=False, width=4):
    return models.randomize(
        keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(width, "relu", use_bias=use_bias, name="first"),
                layers.Dense(width, "relu", use_bias=False, name="second"),
                layers.Dense(3, use_bias=False, name="third"),
            ]
        )
    )


def data():
    return models.data(models.dense())[0]


def test_a_chain_without_biases_that_is_measured_exactly_has_no_notes():
    assert notes(chain(), data()) == ""


def test_biases_that_were_left_out_are_noted():
    text = notes(chain(use_bias=True), data(), quantities=["layer_cushion"])
    assert "without biases" in text and text.endswith("measured: first.")


@pytest.mark.parametrize("how", ["input", "kernel"])
def test_a_dead_layer_is_noted(how):
    model = chain()
    first, second, _ = model.layers
    if how == "input":
        first.set_weights([-np.abs(first.get_weights()[0])])
    else:
        second.set_weights([0 * second.get_weights()[0]])
    result = measure(model, np.abs(data()), num_draws=1, verbose=0)
    (note,) = [note for note in result.notes if "dead" in note]
    assert result.layers["first"].layer_cushion < np.inf
    # Nothing comes out of a layer of zeros, nor of one that nothing goes into.
    assert note.endswith("parameters: second, third.")
    for name in ("second", "third"):
        assert result.layers[name].layer_cushion == np.inf


def test_estimated_norms_of_jacobians_are_noted():
    model = chain(width=20)
    quantities = ["interlayer_cushion"]
    text = notes(model, data(), quantities=quantities)
    assert "1 of 3 pairs" in text and "16 random vectors" in text
    assert notes(model, data(), quantities=quantities, exact=True) == ""


def test_a_layer_in_a_spectral_normalization_is_measured_and_supported():
    inner = layers.Dense(4, use_bias=False, name="inner")
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.SpectralNormalization(inner),
            layers.ReLU(),
            layers.Dense(3, use_bias=False, name="last"),
        ]
    )
    model(data(), training=True)  # Writes the normalized kernel.
    result = measure(model, data(), num_draws=1, verbose=0)
    assert list(result.layers) == ["inner", "last"]
    assert result.unsupported == {}
    assert result.layers["inner"].spectral_norm == pytest.approx(
        np.linalg.norm(inner.kernel, 2), rel=1e-3
    )
    assert result.layers["last"].activation_contraction > 1
