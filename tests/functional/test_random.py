import numpy as np
import pytest
from keras import ops

from tf_genbounds.functional import random

BITS = [196180915, 2555851668, 1455212890]


def test_the_same_numbers_on_every_backend():
    # Pinned, so that TensorFlow and JAX, which run apart, are compared.
    assert np.asarray(random.bits([1, 2], 3)).tolist() == BITS
    signs = np.asarray(random.signs([1, 2], 40)).reshape(-1)
    words = np.asarray(random.bits([1, 2], 2))
    by_hand = [1 - 2 * (int(w) >> k & 1) for w in words for k in range(32)]
    assert signs.tolist() == by_hand[:40]


def test_keys_may_be_tensors():
    keys = ops.arange(4, dtype="int32")
    together = np.asarray(random.signs([7, keys], 33))
    for key in range(4):
        np.testing.assert_array_equal(
            together[key], np.asarray(random.signs([7, key], 33)).reshape(-1)
        )


def test_no_number_depends_on_how_many_are_drawn():
    few, many = (np.asarray(random.bits([3], n)) for n in (5, 500))
    np.testing.assert_array_equal(few, many[:5])


@pytest.mark.parametrize("axis", [0, 1])
def test_signs_are_fair_and_pairwise_independent(axis):
    rows = np.asarray(random.signs([0, ops.arange(400, dtype="int32")], 400))
    count = rows.size
    assert abs(rows.mean()) < 4 / np.sqrt(count)
    gram = (rows @ rows.T if axis == 0 else rows.T @ rows) / 400
    off = gram[~np.eye(400, dtype=bool)]
    # 400 signs: the mean product has a deviation of 1 / 20.
    assert abs(off.std() - 0.05) < 0.002
    assert abs(off).max() < 6 * 0.05


def test_normals_have_the_moments_of_a_normal():
    z = np.asarray(random.normals([5, ops.arange(100, dtype="int32")], 1001))
    assert z.shape == (100, 1001)
    assert np.isfinite(z).all()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = np.mean(z.astype("float64") ** power) - moment
        assert abs(error) < 4 * np.sqrt(variance / z.size), power
    correlation = np.corrcoef(z[:, :501].ravel(), z[:, 500:].ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(50_000)
