import itertools

import numpy as np
import pytest
from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.functional.darc import darc_penalty
from tf_genbounds.functional.darc import rademacher_signs

# Column sums of absolute values: 6, 5, 4.5.
LOGITS = np.array([[1, -2, 0.5], [-3, 1, 0], [2, 2, -4]], dtype="float32")


def darc1_twin(logits, mask):
    """One class and one position at a time."""
    rows = [h for h, keep in zip(logits, mask, strict=True) if keep]
    sums = [sum(abs(float(h[k])) for h in rows) for k in range(len(rows[0]))]
    return max(sums) / len(rows)


def darc_twin(logits, signs, mask):
    rows = np.asarray(logits, "float64")[mask]
    draws = [max(xi[mask] @ rows) / len(rows) for xi in signs]
    return sum(draws) / len(draws)


def every_sign(positions):
    return np.array(list(itertools.product([-1.0, 1.0], repeat=positions)))


def random_case(seed, positions=24, classes=5):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(positions, classes)).astype("float32")
    signs = rng.choice([-1.0, 1.0], size=(6, positions))
    return logits, signs, rng.random(positions) < 0.6


def test_darc1_of_the_reference_matrix():
    assert float(darc1_penalty(LOGITS)) == 2.0


def test_exact_darc_of_the_reference_matrix():
    # The expectation of the maximum is 4.0, of a batch of 3.
    value = darc_penalty(LOGITS, every_sign(3))
    np.testing.assert_allclose(value, 4.0 / 3.0, rtol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", [(24,), (6, 4), (2, 3, 4)])
def test_penalties_match_their_twins(seed, shape):
    logits, signs, mask = random_case(seed)
    everything = np.ones(24, bool)
    for keep, given in ((everything, None), (mask, mask.reshape(shape))):
        shaped = logits.reshape(*shape, 5)
        np.testing.assert_allclose(
            darc1_penalty(shaped, given), darc1_twin(logits, keep), rtol=1e-5
        )
        np.testing.assert_allclose(
            darc_penalty(shaped, signs, given),
            darc_twin(logits, signs, keep),
            rtol=1e-4,
        )


def test_drawn_signs_estimate_the_exact_darc():
    logits = random_case(0, positions=8)[0]
    each = [float(darc_penalty(logits, [xi])) for xi in every_sign(8)]
    draws = 4096
    estimate = darc_penalty(logits, rademacher_signs(logits, draws, seed=0))
    # Five standard errors.
    error = abs(float(estimate) - np.mean(each))
    assert error < 5 * np.std(each) / np.sqrt(draws)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_darc_is_at_most_darc1(seed):
    logits, signs, _ = random_case(seed)
    for xi in signs:
        assert float(darc_penalty(logits, [xi])) <= float(darc1_penalty(logits))


@pytest.mark.parametrize("scale", [-3.0, 0.5])
def test_darc1_scales_with_the_logits(scale):
    np.testing.assert_allclose(darc1_penalty(scale * LOGITS), abs(scale) * 2.0)


def test_darc1_ignores_the_signs_of_rows():
    flipped = LOGITS * np.array([[-1], [1], [-1]], dtype="float32")
    assert float(darc1_penalty(flipped)) == 2.0


def gradient(function, x):
    x = ops.convert_to_tensor(x)
    one = ops.ones((), "float32")
    return np.asarray(backend.vjp(function, x, one))


def test_only_the_largest_logit_has_a_gradient():
    expected = np.zeros((3, 3))
    expected[:, 0] = np.array([1, -1, 1]) / 3
    np.testing.assert_allclose(gradient(darc1_penalty, LOGITS), expected)


def test_gradient_at_a_tie_is_split_equally():
    tie = np.array([[2.0, -2.0, 1.0]], dtype="float32")
    expected = [[0.5, -0.5, 0.0]]
    np.testing.assert_allclose(gradient(darc1_penalty, tie), expected)


def test_masked_positions_have_no_gradient_even_if_nan():
    logits = np.array([[1.0, 2.0], [np.nan, 9.0]], dtype="float32")
    mask = np.array([True, False])
    result = gradient(lambda h: darc1_penalty(h, mask), logits)
    np.testing.assert_allclose(result, [[0.0, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sums_do_not_overflow(dtype):
    # The column sum is 128,000; the largest float16 is 65,504.
    logits = ops.cast(np.full((128, 2), 1000.0), dtype)
    assert float(darc1_penalty(logits)) == 1000.0
    assert float(darc_penalty(logits, np.ones((1, 128)))) == 1000.0
    assert ops.dtype(darc1_penalty(logits)) == "float32"


def test_empty_batch_has_no_penalty():
    empty = np.zeros((0, 3), "float32")
    assert float(darc1_penalty(empty)) == 0.0
    assert float(darc_penalty(empty, np.ones((2, 0)))) == 0.0


def test_fully_masked_batch_has_no_penalty():
    mask = np.zeros(3, bool)
    assert float(darc1_penalty(LOGITS, mask)) == 0.0
    assert float(darc_penalty(LOGITS, every_sign(3), mask)) == 0.0


def test_darc_of_one_class_vanishes_in_expectation():
    value = darc_penalty(LOGITS[:, :1], every_sign(3))
    np.testing.assert_allclose(value, 0.0, atol=1e-7)


def test_signs_are_independent_fair_coins():
    signs = np.asarray(rademacher_signs(LOGITS.repeat(16, axis=0), 4096))
    assert signs.shape == (4096, 48)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    # Means and products of two positions, and then of two neighbouring draws:
    # every one is within five standard deviations of zero.
    products = signs.T @ signs / 4096 - np.eye(48)
    assert np.abs(signs.mean(axis=0)).max() < 5 / 64
    assert np.abs(products).max() < 5 / 64
    assert abs((signs[1:] * signs[:-1]).mean()) < 5 / np.sqrt(4095 * 48)


def test_signs_change_with_the_seed_and_with_any_logit():
    def signs(logits, seed):
        return np.asarray(rademacher_signs(logits, 64, seed))

    nudged = LOGITS.copy()
    nudged[1, 2] = 1e-30
    first = signs(LOGITS, 0)
    assert (first == signs(LOGITS, 0)).all()
    for other in (signs(LOGITS, 1), signs(nudged, 0)):
        # 192 coins, five standard deviations.
        assert abs((first == other).mean() - 0.5) < 5 * 0.5 / np.sqrt(192)


@pytest.mark.parametrize("xla", [False, True])
def test_compiled_functions_draw_the_same_signs(xla):
    logits = ops.convert_to_tensor(random_case(0)[0])
    compiled = backend.jit(lambda h: rademacher_signs(h, 8, seed=5), xla=xla)
    np.testing.assert_array_equal(compiled(logits), rademacher_signs(logits, 8, seed=5))


def test_logits_without_classes_are_refused():
    with pytest.raises(ValueError, match=r"Received: logits.shape=\(3,\)"):
        darc1_penalty(np.zeros(3))


def test_mask_of_another_rank_is_refused():
    with pytest.raises(ValueError, match=r"Received: mask.shape=\(3, 1\)"):
        darc1_penalty(LOGITS, mask=np.ones((3, 1), bool))
