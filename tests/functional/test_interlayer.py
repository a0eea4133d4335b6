import numpy as np
import pytest

from tf_genbounds.functional import interlayer_cushion
from tf_genbounds.functional import interlayer_smoothness
from tf_genbounds.functional import jacobian_spread

inf = float("inf")


def test_cushion_vectors():
    # Section by hand: J = (1, 1) at (3, 2), and J = (1, 0) at (3, -2).
    value = interlayer_cushion([[[1.0, 1.0]], [[1.0, 0.0]]], [[3.0, 2.0], [3.0, -2.0]])
    np.testing.assert_allclose(value, [0.98058068, 0.83205029], rtol=1e-6)
    identity = interlayer_cushion([np.eye(5)], [np.arange(5.0)])
    np.testing.assert_allclose(identity, [1 / np.sqrt(5)], rtol=1e-6)


def test_cushion_of_nothing():
    value = interlayer_cushion(
        [[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]],
        [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]],
    )
    np.testing.assert_array_equal(value, [inf, inf, 0])


def test_cushion_is_invariant_and_bounded():
    generator = np.random.default_rng(0)
    jacobian = generator.normal(size=(20, 6, 12))
    x = generator.normal(size=(20, 12))
    value = np.asarray(interlayer_cushion(jacobian, x, num_pixels=4))
    np.testing.assert_allclose(
        interlayer_cushion(-3e8 * jacobian, 1e-9 * x, num_pixels=4),
        value,
        rtol=1e-5,
    )
    assert (value <= 2).all()
    slow = [
        2 * np.linalg.norm(j @ v) / np.linalg.norm(j) / np.linalg.norm(v)
        for j, v in zip(jacobian, x, strict=True)
    ]
    np.testing.assert_allclose(value, slow, rtol=1e-5)


def test_spread_vectors():
    one_pixel = np.zeros((1, 3, 8))
    one_pixel[0, :, 2:4] = 1.0
    np.testing.assert_allclose(jacobian_spread(one_pixel, num_pixels=4), [2.0])
    np.testing.assert_allclose(jacobian_spread([np.eye(8)], num_pixels=4), [1.0])
    np.testing.assert_array_equal(
        jacobian_spread(np.zeros((1, 3, 8)), num_pixels=4), [0.0]
    )


def test_spread_equals_a_slow_twin():
    jacobian = np.random.default_rng(1).normal(size=(5, 3, 12))
    slow = [
        max(2 * np.linalg.norm(j[:, 3 * p : 3 * p + 3]) for p in range(4))
        / np.linalg.norm(j)
        for j in jacobian
    ]
    value = np.asarray(jacobian_spread(jacobian, num_pixels=4))
    np.testing.assert_allclose(value, slow, rtol=1e-5)
    assert ((1 <= value) & (value <= 2)).all()


def test_spread_refuses_a_part_of_a_pixel():
    with pytest.raises(ValueError, match="multiple of `num_pixels`"):
        jacobian_spread(np.ones((1, 2, 7)), num_pixels=2)
    with pytest.raises(ValueError, match=r"\(samples, outputs, inputs\)"):
        jacobian_spread(np.ones((2, 7)), num_pixels=2)


def relu(x):
    return np.maximum(x, 0)


def test_smoothness_vector():
    x, eta = np.array([[3.0, -1.0]]), np.array([[0.0, 2.0]])
    value = interlayer_smoothness(
        eta, x, relu(x), relu(x + eta), np.array([[0.0, 0.0]])
    )
    np.testing.assert_allclose(value, [1.8973666], rtol=1e-6)


def test_smoothness_of_a_linear_map_is_infinite():
    matrix = np.random.default_rng(2).normal(size=(7, 9)).astype("float32")
    x, eta = np.random.default_rng(3).normal(size=(2, 11, 9)).astype("float32")
    value = interlayer_smoothness(
        eta, x, x @ matrix.T, (x + eta) @ matrix.T, eta @ matrix.T
    )
    np.testing.assert_array_equal(value, np.full(11, inf))


def test_smoothness_edges():
    ones = np.ones((1, 2))
    # No noise puts no constraint; an output of 0 that moves has rho = 0.
    no_noise = interlayer_smoothness(0 * ones, ones, ones, ones, 0 * ones)
    dead = interlayer_smoothness(ones, ones, 0 * ones, ones, 0 * ones)
    assert float(no_noise[0]) == inf and float(dead[0]) == 0
