"""A threshold reaches every function that counts errors."""

import keras
import numpy as np
import pytest
from keras import layers

import tf_genbounds as gb

x = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
y = (x[:, 0] > 0).astype(int)


@pytest.fixture
def model():
    """One output, the probability of class 1, by an end that does not say so."""
    inputs = keras.Input((4,))
    softmax = layers.Dense(2, activation="softmax")(inputs)
    return keras.Model(inputs, softmax[:, 1:])


def test_of_reports(model):
    error = np.mean((model.predict(x, verbose=0)[:, 0] > 0.5) != y)
    found = gb.report(
        model, (x, y), (x, y), threshold=0.5, interlayer_samples=0, verbose=0
    )
    assert found.train.train_error == found.validation.train_error == error


def test_of_comparisons(model):
    gb.experiments.compare_bounds(
        model, (x, y), threshold=0.5, variant="neyshabur-code", margin=1.0
    )
    with pytest.raises(ValueError, match="threshold"):
        gb.experiments.compare_bounds(
            model, (x, y), variant="neyshabur-code", margin=1.0
        )


def test_of_compressed_models(model):
    compressed = gb.compress(model, (x, y), threshold=0.5)
    decided = compressed.model.predict(x, verbose=0)[:, 0] > 0.5
    assert compressed.certificate.train_error == np.mean(decided != y)
