"""Algorithm 4: its slow twin, its exact moments, its layer."""

import keras
import numpy as np
import pytest

from tf_genbounds.compression import filter_project
from tf_genbounds.compression import num_matrices
from tf_genbounds.compression.algorithms.filter_project import _SUBSPACE
from tf_genbounds.compression.algorithms.filter_project import project_filters
from tf_genbounds.functional.random import normals


def twin(kernel, k, p, locations, seed, layer):
    """The filters as the definition has them, one by one."""
    size = kernel.size
    random = [
        np.float64(keras.ops.convert_to_numpy(normals([seed, layer, t], size)))
        for t in range(k * p)
    ]
    numbers = [b @ kernel.ravel() for b in random]
    found = []
    for location in range(locations):
        keys = [seed, layer, _SUBSPACE, location]
        drawn = np.float64(keras.ops.convert_to_numpy(normals(keys, k * p * k)))
        rows, _ = np.linalg.qr(drawn.reshape(k * p, k))
        total = np.zeros(size)
        for row in rows.T:
            filter_ = sum(c * b for c, b in zip(row, random, strict=True))
            total += (kernel.ravel() @ filter_) * filter_ / k
        found.append(total.reshape(kernel.shape))
    return np.array(numbers), np.array(found)


@pytest.mark.parametrize("p", [1, 2, 4])
def test_equals_the_definition(p):
    kernel = np.random.default_rng(0).normal(size=(2, 2, 3))
    found = project_filters(kernel, 3, p, locations=5, seed=4, layer=1)
    numbers, kernels = twin(kernel, 3, p, 5, seed=4, layer=1)
    np.testing.assert_allclose(found.numbers, numbers, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.kernels(), kernels, rtol=1e-3, atol=1e-3)
    if p == 1:  # One filter for all.
        np.testing.assert_array_equal(found.kernels()[0], found.kernels()[4])


def test_exact_moments():
    """Variance as of algorithm 1, correlation of two positions `1 / p`."""
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=6)
    direction = generator.normal(size=6)
    k, p, draws = 3, 4, 250
    errors = np.array(
        [
            project_filters(kernel, k, p, locations=2, seed=1, layer=i).kernels()
            for i in range(draws)
        ]
    )
    errors = (errors - kernel) @ direction
    bracket = (kernel @ kernel) * (direction @ direction) + (kernel @ direction) ** 2

    def check(values, expected):
        assert abs(np.mean(values) - expected) <= 4 * np.std(values) / np.sqrt(draws)

    check(errors[:, 0], 0.0)
    check(errors[:, 1] ** 2, bracket / k)
    check(errors[:, 0] * errors[:, 1], bracket / (k * p))


def test_each_position_keeps_the_promise_of_algorithm_1():
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(6, 6))
    u, v = generator.normal(size=(2, 6))
    epsilon, eta = 0.6, 0.2
    count = num_matrices(epsilon, eta)
    bound = epsilon * np.linalg.norm(kernel) * np.linalg.norm(u) * np.linalg.norm(v)
    errors = np.array(
        [
            project_filters(kernel, count, 2, locations=2, seed=2, layer=i).kernels()
            - kernel
            for i in range(60)
        ]
    )
    assert np.mean(np.abs(u @ errors @ v) >= bound) <= 0.05


def test_counts_and_bad_input():
    kernel = np.ones((3, 3, 40, 40))
    found = filter_project(kernel, 0.3, 0.1, locations=2, seed=0)
    assert (found.num_filters, found.independence) == (205, 2)
    found = filter_project(
        kernel, 0.3, 0.1, locations=64, seed=0, constant="paper", independence=5
    )
    assert len(found.numbers) == 26 * 5
    with pytest.warns(UserWarning, match="no compression of a kernel of 4"):
        filter_project(np.ones((2, 2)), 0.3, 0.1, locations=9, seed=0)
    for options, message in (
        ({"locations": 0}, "locations=0"),
        ({"locations": 4, "independence": 0}, "independence=0"),
    ):
        with pytest.raises(ValueError, match=message):
            filter_project(kernel, 0.3, 0.1, seed=0, **options)
    with pytest.raises(ValueError, match="`kernel` must be finite"):
        filter_project(kernel * np.nan, 0.3, 0.1, locations=4, seed=0)
