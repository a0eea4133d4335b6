import keras
import numpy as np
import pytest
from keras import ops

from tf_genbounds.functional import layer_cushion
from tf_genbounds.functional import linear_operator
from tf_genbounds.functional import noise_sensitivity
from tf_genbounds.functional import stable_rank


def test_closed_form():
    matrix = np.diag([3.0, 4.0])
    value = noise_sensitivity(matrix, [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(value, [25 / 9, 2.0, 25 / 16], rtol=1e-6)
    # Its least value, at the top singular vector, is the stable rank.
    np.testing.assert_allclose(value[2], stable_rank(matrix), rtol=1e-4)


@pytest.mark.slow
def test_monte_carlo_is_within_its_error_of_the_closed_form():
    matrix = np.array([[3.0, 0.0], [0.0, 4.0]], "float32")
    x = np.array([[1.0, 0.0], [1.0, 1.0]], "float32")
    exact = np.asarray(noise_sensitivity(matrix, x))
    for scale in (1.0, 0.01):
        value, error = noise_sensitivity(
            lambda v: ops.matmul(v, matrix), x, scale=scale, num_draws=400
        )
        assert (np.asarray(error) < 0.2).all()
        assert (abs(np.asarray(value) - exact) < 4 * np.asarray(error)).all()


@pytest.mark.slow
def test_standard_error_is_that_of_the_mean():
    matrix = np.eye(3, dtype="float32")
    x = np.ones((1, 3), "float32")
    means, errors = zip(
        *(
            noise_sensitivity(
                lambda v: ops.matmul(v, matrix), x, num_draws=20, seed=seed
            )
            for seed in range(40)
        ),
        strict=True,
    )
    spread = np.std([float(m[0]) for m in means])
    assert 0.6 < np.mean([float(e[0]) for e in errors]) / spread < 1.6


def test_inverse_square_of_the_cushion_of_the_operator():
    layer = keras.layers.Conv2D(3, 3, padding="same", use_bias=False)
    layer.build((None, 5, 5, 2))
    operator = linear_operator(layer, (5, 5, 2))
    x = np.random.default_rng(0).normal(size=(4, 5, 5, 2)).astype("float32")
    matrix = np.asarray(operator.as_matrix())
    cushions = layer_cushion(matrix, x.reshape(4, -1))
    np.testing.assert_allclose(
        noise_sensitivity(operator, x), np.asarray(cushions) ** -2.0, rtol=1e-4
    )


def test_invariant_to_scale_and_edges():
    matrix = np.array([[1.0, 2.0], [0.0, 0.0]])
    value = noise_sensitivity(1e12 * matrix, [[1e-9, 0.0], [2.0, -1.0]])
    np.testing.assert_allclose(value, [5.0, np.inf], rtol=1e-5)
    assert np.isnan(np.asarray(noise_sensitivity(matrix, [[0.0, 0.0]]))).all()


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match="`scale` must be positive"):
        noise_sensitivity(np.eye(2), np.ones((1, 2)), scale=0)
    with pytest.raises(ValueError, match="closed form"):
        noise_sensitivity(np.eye(2), np.ones((1, 2)), num_draws=3)
    with pytest.raises(ValueError, match="at least 2"):
        noise_sensitivity(lambda x: x, np.ones((1, 2)), num_draws=1)
