import numpy as np
import pytest

from tf_genbounds.functional import margin_loss
from tf_genbounds.functional import margins
from tf_genbounds.functional import ramp_loss

inf, nan = float("inf"), float("nan")


def test_theory_vectors():
    np.testing.assert_allclose(margins([[1.5, 0.0]], [0]), [1.5])
    assert float(margin_loss([1.5], 1.0)) == 0
    assert float(margin_loss([1.5], 1.5)) == 1


@pytest.mark.parametrize(
    "logits", [[[1.0, 1.0]], [[nan, 0.0]], [[0.0, nan]], [[inf, inf]], [[nan, nan]]]
)
def test_ties_and_nan_are_errors(logits):
    assert float(margin_loss(margins(logits, [0]))) == 1


def test_is_the_margin_of_values_not_of_indices():
    # The largest rival sits before, between and after the label.
    logits = [[5.0, 1.0, 2.0], [0.0, 3.0, 2.0], [0.0, 1.0, 9.0]]
    np.testing.assert_allclose(margins(logits, [1, 1, 0]), [-4, 1, -9])


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_loop_over_samples(seed):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(20, 5)).astype("float32")
    labels = generator.integers(0, 5, 20)
    expected = [
        row[y] - max(v for j, v in enumerate(row) if j != y)
        for row, y in zip(logits, labels, strict=True)
    ]
    np.testing.assert_allclose(margins(logits, labels), expected, rtol=1e-6)


def test_a_single_logit_stands_against_zero():
    np.testing.assert_allclose(margins([[2.0], [3.0]], [1, 0]), [2, -3])


def test_margin_loss_grows_with_the_margin_and_scales():
    values = np.random.default_rng(0).normal(size=50)
    losses = [float(margin_loss(values, g)) for g in np.linspace(-3, 3, 25)]
    assert losses == sorted(losses)
    np.testing.assert_allclose(
        margin_loss(3 * values, 3 * 0.4), margin_loss(values, 0.4)
    )


@pytest.mark.parametrize("margin", [0.1, 1.0, 10.0])
def test_ramp_lies_between_error_and_margin_loss(margin):
    values = np.append(np.random.default_rng(0).normal(size=50), nan)
    ramp = float(ramp_loss(values, margin))
    assert float(margin_loss(values)) <= ramp <= float(margin_loss(values, margin))


@pytest.mark.parametrize("margin", [0.0, -1.0, nan])
def test_ramp_refuses_a_margin_that_is_not_positive(margin):
    with pytest.raises(ValueError, match="`margin` must be positive. Received"):
        ramp_loss([1.0], margin)


def test_refuses_logits_that_are_no_matrix():
    with pytest.raises(ValueError, match=r"logits.shape=\(2, 3, 4\)"):
        margins(np.zeros((2, 3, 4)), [0, 0])


def test_a_label_that_is_no_class_has_no_margin():
    found = margins([[2.0, 0.0], [1.0, 3.0], [4.0, 1.0]], [-1, 2, 0])
    np.testing.assert_array_equal(found, [np.nan, np.nan, 3.0])
