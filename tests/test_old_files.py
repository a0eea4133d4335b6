"""Files that were saved before the modules moved still load.

`fixtures/` was written by the code of November 2026 (TensorFlow, Keras 3.15): a network
with a penalty as loss, regularizer and layer, one with a frozen pattern, compact
ones, one in training, and code words of every kind; and what they said of four
inputs.
"""

import pathlib

import keras
import numpy as np
import pytest

from tf_genbounds.compression import Compressed

FOLDER = pathlib.Path(__file__).parent / "fixtures"
OUTPUTS = np.load(FOLDER / "outputs.npz")


def check(model, name):
    outputs = model.predict(OUTPUTS["x"], verbose=0)
    np.testing.assert_allclose(outputs, OUTPUTS[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["trained", "frozen", "projected", "filters"])
def test_saved_models(name):
    check(keras.saving.load_model(FOLDER / f"{name}.keras"), name)


def test_a_saved_training():
    training = keras.saving.load_model(FOLDER / "training.keras")
    assert type(training).__name__ == "RandomSubspace"
    assert training.dimension == 6


@pytest.mark.parametrize(
    "name",
    ["quantize", "truncate_svd", "matrix_project", "filter_project", "subspace"],
)
def test_saved_codes(name):
    found = Compressed.load(FOLDER / f"{name}.code")
    assert found.certificate.num_samples == 64
    check(found.model, name)
