"""Networks that are a short vector: the projection, the code, what is learned."""

import keras
import models
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds.compression import Compressed
from tf_genbounds.compression import RandomSubspace
from tf_genbounds.compression.forms.subspace import Subspace
from tf_genbounds.functional.random import normals

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def arrays(tensors):
    return [ops.convert_to_numpy(t) for t in tensors]


def test_the_projection_is_a_kronecker_product():
    rng = np.random.default_rng(0)
    origin = [rng.normal(size=(3, 4)), np.zeros(4), rng.normal(size=(4, 2))]
    origin = [a.astype("float32") for a in origin]
    subspace = Subspace(origin, dimension=7, seed=5)
    assert subspace.shape == (2, 3)  # 24 weights: sides of 5 and 5.
    vector = rng.normal(size=(2, 3)).astype("float32")
    found = arrays(subspace.weights(ops.convert_to_tensor(vector)))
    rows = [
        arrays([normals([5, k, i], size)])[0]
        for k, size in ((0, 2), (1, 3))
        for i in range(5)
    ]
    product = np.kron(np.array(rows[:5]), np.array(rows[5:]))
    moved = product @ vector.ravel() / np.sqrt(6)
    scales = [np.sqrt(np.mean(a**2)) or 0.1 for a in origin]
    start = 0
    for a, scale, b in zip(origin, scales, found, strict=True):
        expected = a + scale * moved[start : start + a.size].reshape(a.shape)
        np.testing.assert_allclose(b, expected, rtol=1e-4, atol=1e-5)
        start += a.size
    # Nothing moved: the weights before.
    for a, b in zip(origin, subspace.weights(ops.zeros((2, 3))), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(b), a)


@pytest.fixture(scope="module", params=[models.dense, models.convolutional])
def trained(request):
    model = request.param()
    start = model.get_weights()
    x, _ = models.data(model, 60)
    y = (np.mean(x.reshape(60, -1), axis=1) > 0).astype("int64")
    # The length of the code would count more than 60 samples.
    options = {"num_levels": 15, "seed": 3, "factor": 0.0}
    found = RandomSubspace(model, 40, num_samples=60, **options)
    found.compile(keras.optimizers.Adam(0.1), LOSS, metrics=["accuracy"])
    history = found.fit(x, y, epochs=80, verbose=0).history
    return found, start, (x, y), history


def test_it_learns_what_fits_into_the_vector(trained):
    found, start, _, history = trained
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert found.frozen_fraction() == 1.0
    trainable = found.trainable_variables
    assert [tuple(v.shape) for v in trainable] == [(6, 6), ()]


def test_the_code_is_the_vector(trained, tmp_path):
    found, start, data, _ = trained
    compressed = found.compress(data)
    others = sum(w.shape[0] for w in found.model.non_trainable_weights)
    assert sum(array.numbers for array in compressed.arrays) == 36 + others
    assert compressed.certificate.bits == len(compressed.code)
    # Vector, header and 16 bits for each statistic.
    assert compressed.certificate.bits < 36 * 5 + 60 + 17 * others
    x, y = data
    expected = found.predict(x, verbose=0)
    tolerance = 2e-2 if others else 1e-5
    np.testing.assert_allclose(
        compressed.model.predict(x, verbose=0), expected, rtol=tolerance, atol=tolerance
    )
    compressed.save(tmp_path / "model.code")
    again = Compressed.load(tmp_path / "model.code")
    for a, b in zip(
        arrays(compressed.model.weights), arrays(again.model.weights), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert again.certificate == compressed.certificate


def test_save_and_load(trained, tmp_path):
    found, _, (x, _), _ = trained
    found.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again.predict(x, verbose=0), found.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    for key, value in found.get_config().items():
        assert key == "model" or again.get_config()[key] == value


@pytest.mark.tensorflow
def test_mirrored_strategy(strategy):
    with strategy.scope():
        found = RandomSubspace(models.dense(), 20, num_samples=40)
        found.compile("adam", LOSS)
    x, y = models.data(found.model, 40)
    history = found.fit(x, y, epochs=2, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_bad_input():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    for dimension in (0, 10, 2.5):
        with pytest.raises(ValueError, match=f"Received: dimension={dimension}"):
            RandomSubspace(model, dimension, num_samples=10)
