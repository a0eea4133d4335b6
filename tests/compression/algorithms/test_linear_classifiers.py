"""Algorithms 2 and 3: moments, failures, and the corrections of both."""

import math

import numpy as np
import pytest

from tf_genbounds.compression import sparsify
from tf_genbounds.compression import vector_project


def unit(size, seed=0):
    vector = np.random.default_rng(seed).normal(size=size)
    return vector / np.linalg.norm(vector)


def test_reference_values_of_a_flat_vector():
    flat = np.full(100, 0.1)
    found = [sparsify(flat, 0.5, seed=seed) for seed in range(400)]
    counts = [len(s.support) for s in found]
    for sparse in found:
        np.testing.assert_allclose(sparse.vector[sparse.support], 0.3125)
        assert np.count_nonzero(sparse.vector) == len(sparse.support)
    # `E nnz = 32`, of a binomial.
    assert abs(np.mean(counts) - 32) < 4 * math.sqrt(100 * 0.32 * 0.68 / 400)


def test_unbiased_with_the_variance_of_the_formula():
    flat, u = np.full(100, 0.1), unit(100, 1)
    values = np.array(
        [sparsify(flat, 0.5, seed=seed).vector @ u for seed in range(3000)]
    )
    variance = np.sum(u**2 * flat**2 * (1 / 0.32 - 1))
    assert abs(values.mean() - flat @ u) < 4 * math.sqrt(variance / 3000)
    assert values.var() == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize("discrete", [False, True])
def test_failures_are_as_rare_as_promised(discrete):
    vector, gamma, eta = unit(200), 0.5, 0.25
    directions = [unit(200, 1), vector]
    failures = np.zeros(2)
    for seed in range(2000):
        found = sparsify(vector, gamma, eta, seed=seed, discrete=discrete).vector
        failures += [abs((found - vector) @ u) >= gamma for u in directions]
    # At most eta / 2, with four deviations of a binomial.
    limit = eta / 2 + 4 * math.sqrt(eta / 2 * (1 - eta / 2) / 2000)
    assert np.all(failures / 2000 <= limit)


def test_capped_entries_keep_their_value():
    """The notes' formula would give (0.0391, 0.0521), which is biased."""
    vector = np.array([0.8, 0.6])
    found = sparsify(vector, 0.5, 0.25, seed=0)
    np.testing.assert_array_equal(found.vector, vector)


def test_the_discrete_form_deletes_no_capped_entry():
    """Without the correction the result is the zero vector."""
    found = sparsify(np.array([0.8, 0.6]), 0.5, 0.25, seed=0, discrete=True)
    assert found.step == pytest.approx(0.176777, abs=1e-6)
    np.testing.assert_allclose(found.vector, [0.883883, 0.530330], atol=1e-6)
    np.testing.assert_array_equal(found.support, [0, 1])


def test_zeros_stay_zeros():
    vector = np.array([1.0, 0.0, 0.0])
    found = sparsify(vector, 0.5, seed=0)
    np.testing.assert_array_equal(found.vector, vector)
    np.testing.assert_array_equal(found.support, [0])


def test_vector_project():
    vector, gamma, eta = unit(50), 0.5, 0.1
    found = vector_project(vector, gamma, eta, seed=0)
    assert len(found.numbers) == 148
    step = gamma / (2 * math.sqrt(50 * 148))
    np.testing.assert_allclose(
        found.numbers / step, np.round(found.numbers / step), atol=1e-3
    )
    values, failures, runs = [], 0, 300
    for seed in range(runs):
        estimate = vector_project(vector, gamma, eta, seed=seed).kernel() @ vector
        values.append(estimate)
        failures += abs(estimate - 1) >= gamma
    # Var = (1 + 1) / k for the aligned direction.
    assert np.mean(values) == pytest.approx(1, abs=4 * math.sqrt(2 / 148 / runs))
    assert np.var(values) == pytest.approx(2 / 148, rel=0.4)
    assert failures / runs <= eta


def test_bad_input():
    for gamma, eta in ((0, 0.1), (0.5, 0), (0.5, 1)):
        for function in (sparsify, vector_project):
            with pytest.raises(ValueError, match=f"gamma={gamma}, eta={eta}"):
                function(unit(3), gamma, eta, seed=0)
    with pytest.raises(ValueError, match="norm 2"):
        sparsify(np.array([2.0, 0.0]), 0.5, seed=0)
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        vector_project(np.eye(2), 0.5, 0.1, seed=0)
