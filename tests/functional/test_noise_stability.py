import math

import keras
import numpy as np
import pytest

from tf_genbounds.functional import activation_contraction
from tf_genbounds.functional import layer_cushion
from tf_genbounds.functional import linear_operator
from tf_genbounds.functional import stable_rank
from tf_genbounds.functional.noise_stability import sample_norm


def rng(seed=0):
    return np.random.default_rng(seed)


def cushion(matrix, vector):
    return float(layer_cushion(np.array(matrix), np.array([vector]))[0])


def test_theory_vectors():
    assert cushion([[1.0, 0], [0, 2]], [3.0, 1]) == pytest.approx(0.50990195)
    assert cushion([[1.0, 1]], [3.0, 2]) == pytest.approx(0.98058068)
    contraction = activation_contraction([[3.0, -2.0]], [[3.0, 0.0]])
    assert float(contraction[0]) == pytest.approx(1.20185043)


@pytest.mark.parametrize("seed", range(5))
def test_cushion_is_at_most_one_over_the_root_of_the_stable_rank(seed):
    matrix = rng(seed).normal(size=(4, 6))
    values = np.asarray(layer_cushion(matrix, rng(seed + 9).normal(size=(50, 6))))
    assert values.max() <= 1 / math.sqrt(float(stable_rank(matrix))) + 1e-6
    assert values.min() >= 0
    # The top singular vector attains it.
    top = np.linalg.svd(matrix)[2][0]
    assert cushion(matrix, top) == pytest.approx(
        1 / math.sqrt(float(stable_rank(matrix))), rel=1e-3
    )


def test_cushion_of_an_orthogonal_matrix():
    matrix = np.linalg.qr(rng().normal(size=(7, 7)))[0]
    values = layer_cushion(matrix, rng(1).normal(size=(10, 7)))
    np.testing.assert_allclose(values, 7**-0.5, rtol=1e-5)


def test_cushion_is_invariant_to_scale_and_rotation():
    matrix, x = rng().normal(size=(4, 6)), rng(1).normal(size=(10, 6))
    rotation = np.linalg.qr(rng(2).normal(size=(4, 4)))[0]
    expected = layer_cushion(matrix, x)
    for other in (
        layer_cushion(3 * matrix, x),
        layer_cushion(matrix, -5 * x),
        layer_cushion(rotation @ matrix, x),
    ):
        np.testing.assert_allclose(other, expected, rtol=1e-5)


def test_cushion_of_a_convolution_uses_the_kernels_norm():
    layer = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)
    x = rng().normal(size=(4, 5, 5, 2)).astype("float32")
    y = np.asarray(layer(x)).reshape(4, -1)
    expected = np.linalg.norm(y, axis=1) / (
        np.linalg.norm(np.asarray(layer.kernel))
        * np.linalg.norm(x.reshape(4, -1), axis=1)
    )
    np.testing.assert_allclose(
        layer_cushion(linear_operator(layer), x), expected, rtol=1e-5
    )


def test_no_constraint_and_no_cushion():
    eye = np.eye(2)
    assert cushion(eye, [0.0, 0]) == math.inf  # v = 0
    assert cushion(0 * eye, [1.0, 0]) == math.inf  # A = 0
    assert cushion([[1.0, 0]], [0.0, 1]) == 0  # A v = 0
    assert math.isnan(cushion(eye, [math.nan, 0]))


def test_contraction_of_dead_and_of_zero():
    values = activation_contraction(
        [[-1.0, -2.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]
    )
    assert float(values[0]) == math.inf
    assert float(values[1]) == 0


def test_contraction_of_gaussian_pre_activations_is_about_root_2():
    x = rng().normal(size=(300, 400))
    values = np.asarray(activation_contraction(x, np.maximum(x, 0)))
    assert values.mean() == pytest.approx(1.421, abs=0.01)
    assert values.min() >= 1


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_norms_neither_overflow_nor_vanish(scale):
    norm = sample_norm(np.full((1, 4), scale, "float32"))
    np.testing.assert_allclose(norm, [2 * scale], rtol=1e-5)


def test_norms_of_half_precision_are_float32():
    norm = sample_norm(np.full((1, 4096), 100, "float16"))
    np.testing.assert_allclose(norm, [6400], rtol=1e-5)
    assert keras.backend.standardize_dtype(norm.dtype) == "float32"
