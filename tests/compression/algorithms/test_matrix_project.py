"""Algorithm 1: its slow twin, its exact moments, its guarantee."""

import importlib

import keras
import numpy as np
import pytest

from tf_genbounds.compression import Projection
from tf_genbounds.compression import matrix_project
from tf_genbounds.compression import num_matrices
from tf_genbounds.compression import project
from tf_genbounds.functional.random import normals
from tf_genbounds.functional.random import signs

module = importlib.import_module("tf_genbounds.compression.algorithms.matrix_project")
DRAW = {"rademacher": signs, "gaussian": normals}


def matrices(count, shape, seed, layer, distribution):
    """All matrices at once, which the algorithm never has."""
    size = int(np.prod(shape))
    rows = [
        keras.ops.convert_to_numpy(DRAW[distribution]([seed, layer, i], size))
        for i in range(count)
    ]
    return np.float64(rows)


@pytest.mark.parametrize("distribution", DRAW)
@pytest.mark.parametrize("block", [1, 40, 10**6])
def test_equals_all_matrices_at_once(distribution, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    kernel = np.random.default_rng(0).normal(size=(3, 2, 2))
    found = project(kernel, 7, seed=5, layer=2, distribution=distribution)
    explicit = matrices(7, kernel.shape, 5, 2, distribution)
    numbers = explicit @ kernel.ravel()
    np.testing.assert_allclose(found.numbers, numbers, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found.kernel().ravel(), numbers @ explicit / 7, rtol=1e-5, atol=1e-5
    )


def samples(kernel, count, draws, distribution):
    """Independent `Ahat`, a row each."""
    return np.array(
        [
            project(kernel, count, seed=1, layer=i, distribution=distribution)
            .kernel()
            .ravel()
            for i in range(draws)
        ]
    )


@pytest.mark.parametrize("distribution", DRAW)
def test_exact_moments(distribution):
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(3, 4))
    flat, size, count = kernel.ravel(), kernel.size, 5
    found = samples(kernel, count, 1500, distribution)
    error = found - flat

    def check(values, expected):
        standard_error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - expected) <= 4 * standard_error

    square = flat @ flat
    sign = -1 if distribution == "rademacher" else 1
    check(np.sum(error**2, axis=1), (size + sign) * square / count)
    direction = generator.normal(size=size)
    check(error @ direction, 0.0)
    variance = square * (direction @ direction) + (flat @ direction) ** 2
    if distribution == "rademacher":
        variance -= 2 * np.sum(flat**2 * direction**2)
    check((error @ direction) ** 2, variance / count)


@pytest.mark.parametrize("aligned", [False, True])
def test_safe_constant_keeps_its_promise_and_the_papers_does_not(aligned):
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(20, 20))
    u, v = generator.normal(size=(2, 20))
    if aligned:  # `u v^T` parallel to the kernel.
        kernel = np.outer(u, v)
    epsilon, eta, runs = 0.3, 0.1, 300
    bound = epsilon * np.linalg.norm(kernel) * np.linalg.norm(u) * np.linalg.norm(v)
    failures = {}
    for constant in ("safe", "paper"):
        count = num_matrices(epsilon, eta, constant)
        errors = [
            u @ (project(kernel, count, seed=2, layer=i).kernel() - kernel) @ v
            for i in range(runs)
        ]
        failures[constant] = np.mean(np.abs(errors) >= bound)
    assert failures["safe"] <= 0.02
    if aligned:  # 0.27 in a large simulation.
        assert failures["paper"] > 1.5 * eta


def test_reference_counts():
    assert num_matrices(0.3, 0.1, "paper") == 26
    assert num_matrices(0.3, 0.1) == 205
    assert num_matrices(0.3, 0.01, "paper") == 52
    assert num_matrices(0.3, 0.01) == 333
    assert num_matrices(0.9, 0.9) == 19
    assert num_matrices(5.0, 0.1) == num_matrices(0.99, 0.1)
    assert len(matrix_project(np.ones((30, 30)), 0.3, 0.1, seed=0).numbers) == 205


def test_the_same_seed_gives_the_same_kernel_and_others_others():
    kernel = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    first = project(kernel, 9, seed=3)
    np.testing.assert_array_equal(first.kernel(), project(kernel, 9, seed=3).kernel())
    for other in ({"seed": 4}, {"seed": 3, "layer": 1}):
        assert np.abs(project(kernel, 9, **other).kernel() - first.kernel()).max() > 0.1
    # What is stored is enough.
    again = Projection(first.numbers, (6, 5), 3)
    np.testing.assert_array_equal(again.kernel(), first.kernel())
    # More numbers are more of the same.
    np.testing.assert_allclose(
        project(kernel, 5, seed=3).numbers, first.numbers[:5], rtol=1e-5
    )
    np.testing.assert_array_equal(
        project(4 * kernel, 9, seed=3).kernel(), 4 * first.kernel()
    )
    assert not project(np.zeros((2, 2)), 3, seed=0).kernel().any()


def test_the_random_numbers_are_the_same_on_every_backend():
    """These were computed on TensorFlow."""
    numbers = project(np.arange(6.0).reshape(2, 3), 4, seed=7).numbers
    np.testing.assert_array_equal(numbers, EXPECTED)


EXPECTED = [-5.0, 7.0, -3.0, 11.0]


def test_bad_input():
    with pytest.raises(ValueError, match="`kernel` must be finite"):
        matrix_project(np.array([[np.nan]]), 0.3, 0.1, seed=0)
    for epsilon, eta in ((0, 0.1), (-1, 0.1), (0.3, 0), (0.3, 1), (np.nan, 0.1)):
        with pytest.raises(ValueError, match=f"epsilon={epsilon}, eta={eta}"):
            num_matrices(epsilon, eta)
    with pytest.raises(ValueError, match="constant='printed'"):
        num_matrices(0.3, 0.1, "printed")
    with pytest.raises(ValueError, match="distribution='uniform'"):
        project(np.ones(3), 2, seed=0, distribution="uniform")
    with pytest.raises(ValueError, match="count=0"):
        project(np.ones(3), 0, seed=0)
    with pytest.warns(UserWarning, match="no compression of a kernel of 4"):
        matrix_project(np.ones((2, 2)), 0.3, 0.1, seed=0)
