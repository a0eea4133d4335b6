"""Sums of millions of numbers, against float64."""

import keras
import numpy as np
import pytest

from tf_genbounds import backend
from tf_genbounds import functional
from tf_genbounds.functional import frobenius_norm
from tf_genbounds.functional import linear_operator
from tf_genbounds.functional.noise_stability import sample_norm

# Added one after the other in float32, 2 million squares lose 3e-4 of their norm.
LONG = 2**21


def uniform(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def norms(array):
    """Of the columns."""
    return np.sqrt(np.sum(array.astype("float64") ** 2, axis=0))


def dense(kernel):
    layer = keras.layers.Dense(kernel.shape[1])
    model = keras.Sequential([keras.Input((len(kernel),)), layer])
    layer.set_weights([kernel, np.zeros(kernel.shape[1])])
    return model


def test_frobenius_norms_of_16_million_entries():
    kernel = uniform(LONG, 8)
    operator = linear_operator(dense(kernel).layers[0])
    expected = np.linalg.norm(norms(kernel))
    for matrix in ("kernel", "operator"):
        assert float(frobenius_norm(operator, matrix)) == (
            pytest.approx(expected, rel=3e-6)
        )
    assert float(frobenius_norm(kernel)) == pytest.approx(expected, rel=3e-6)


@pytest.mark.parametrize("shape", [(2**24, 1), (4096, 4096)])
def test_frobenius_norm_in_a_step_compiled_with_xla(shape):
    # Equal entries, of which every rounding goes the same way.
    kernel = np.full(shape, 0.1, "float32")
    compiled = backend.jit(functional.operators.root_of_squares, xla=True)
    expected = np.sqrt(2.0**24) * float(np.float32(0.1))
    assert float(compiled(kernel)) == pytest.approx(expected, rel=3e-5)


@pytest.mark.parametrize("xla", [False, True])
def test_norms_of_long_samples(xla):
    x = uniform(LONG, 2)
    found = backend.jit(sample_norm, xla)(np.ascontiguousarray(x.T))
    np.testing.assert_allclose(found, norms(x), rtol=3e-6)


def test_spectral_norm_of_a_long_column():
    column = uniform(LONG, 1)
    found = functional.spectral_norm(column).value
    np.testing.assert_allclose(found, norms(column)[0], rtol=1e-5)


def test_spectral_norm_on_a_large_image_from_one_vector():
    layer = keras.layers.Conv2D(4, 1)
    layer.build((None, 1024, 1024, 4))
    kernel = 1 + uniform(4, 4) / 100
    layer.kernel.assign(kernel[None, None])
    # Nearly the vector of the largest singular value, and every number positive.
    start = np.ones((1, 1024, 1024, 4), "float32")
    found = functional.spectral_norm(linear_operator(layer), start=start).value
    np.testing.assert_allclose(found, np.linalg.norm(kernel, 2), rtol=1e-4)


@pytest.mark.parametrize("order", [1, 2])
def test_path_norms_of_long_inputs(order):
    kernel = uniform(LONG, 2)
    expected = norms(np.abs(kernel) ** (order / 2)) ** (2 / order)
    found = functional.path_weight_norms(dense(kernel), order=order)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_path_features_of_long_inputs():
    x = uniform(LONG, 1).T
    model = dense(np.zeros((LONG, 1), "float32"))
    found = functional.path_feature_norms(model, x)
    np.testing.assert_allclose(found, np.sqrt(norms(x.T) ** 2 + 1), rtol=1e-5)
