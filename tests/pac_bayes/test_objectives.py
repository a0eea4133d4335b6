"""What is minimized: against the bounds in NumPy, and their derivatives."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from tf_genbounds import backend
from tf_genbounds.bounds import klinv
from tf_genbounds.pac_bayes.bounded_crossentropy import BoundedCrossentropy
from tf_genbounds.pac_bayes.objectives import OBJECTIVES
from tf_genbounds.pac_bayes.objectives import klinv_of
from tf_genbounds.pac_bayes.objectives import log_term
from tf_genbounds.pac_bayes.objectives import objective_of

RISKS = [0.0, 1e-5, 1e-3, 0.01, 0.1, 0.5, 0.9, 1.0]
RATES = [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0]


def tensor(value):
    return ops.convert_to_tensor(np.float32(value))


def values(name, risk, rate, trade=None):
    return float(
        objective_of(name, tensor(risk), tensor(rate), trade and tensor(trade))
    )


@pytest.mark.parametrize("risk", RISKS)
def test_klinv_of_tensors(risk):
    found = [float(klinv_of(tensor(risk), tensor(rate))) for rate in RATES]
    risk = np.clip(risk, 1e-6, 1 - 2e-6)  # Where its slope is finite.
    np.testing.assert_allclose(found, [klinv(risk, r) for r in RATES], 1e-4, 3e-6)


@pytest.mark.parametrize("risk, rate", [(0.01, 0.001), (0.3, 0.05), (0.05, 1.0)])
def test_derivatives_of_klinv(risk, rate):
    one = tensor(1.0)
    by_risk = backend.vjp(lambda r: klinv_of(r, tensor(rate)), tensor(risk), one)
    by_rate = backend.vjp(lambda e: klinv_of(tensor(risk), e), tensor(rate), one)
    h = 1e-6
    expected = (klinv(risk + h, rate) - klinv(risk - h, rate)) / (2 * h)
    assert float(by_risk) == pytest.approx(expected, rel=1e-3)
    expected = (klinv(risk, rate + h) - klinv(risk, rate - h)) / (2 * h)
    assert float(by_rate) == pytest.approx(expected, rel=1e-3)


def test_formulas():
    risk, rate = 0.02, 0.01
    c = rate / 2
    assert values("classic", risk, rate) == pytest.approx(risk + np.sqrt(c))
    assert values("quadratic", risk, rate) == pytest.approx(
        (np.sqrt(risk + c) + np.sqrt(c)) ** 2
    )
    assert values("lambda", risk, rate, 0.5) == pytest.approx(
        risk / 0.75 + 2 * c / (0.5 * 0.75)
    )
    assert values("inverse_kl", risk, rate) == pytest.approx(klinv(risk, rate), 1e-4)
    assert log_term(100, 0.05) == pytest.approx(np.log(20 / 0.05))


@pytest.mark.parametrize("risk, rate", [*itertools.product([0.001, 0.1], [1e-3, 0.1])])
def test_all_are_looser_than_the_inverse_kl(risk, rate):
    # Each is a bound by the same event, so that an error in one shows here.
    tightest = klinv(risk, rate) * (1 - 1e-5)
    assert values("classic", risk, rate) >= tightest
    assert values("quadratic", risk, rate) >= tightest
    trades = np.linspace(0.02, 1.98, 197)
    best = min(values("lambda", risk, rate, trade) for trade in trades)
    # The quadratic form is the best of the lambda forms, or nearly.
    assert tightest <= best
    assert best == pytest.approx(values("quadratic", risk, rate), rel=0.01)


def test_unknown_objective():
    with pytest.raises(ValueError, match="Did you mean 'quadratic'"):
        objective_of("quadratc", tensor(0.1), tensor(0.1))
    assert set(OBJECTIVES) == {"classic", "quadratic", "lambda", "inverse_kl"}


def by_hand(probabilities, labels, p_min):
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(own, p_min)) / np.log(1 / p_min)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("form", ["sparse", "column", "one_hot"])
def test_bounded_crossentropy(from_logits, form):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(50, 3)).astype("float32") * 8
    labels = generator.integers(0, 3, 50)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    y = {
        "sparse": labels,
        "column": labels[:, None],
        "one_hot": np.eye(3, dtype="float32")[labels],
    }[form]
    loss = BoundedCrossentropy(from_logits, p_min=1e-3, reduction=None)
    found = ops.convert_to_numpy(loss(y, logits if from_logits else probabilities))
    np.testing.assert_allclose(found, by_hand(probabilities, labels, 1e-3), 1e-4, 1e-6)
    assert found.min() >= 0 and found.max() == pytest.approx(1)


@pytest.mark.parametrize("from_logits", [False, True])
def test_bounded_crossentropy_of_one_output(from_logits):
    logits = np.float32([[-9.0], [-1.0], [0.5], [12.0]])
    labels = np.array([1, 0, 1, 0])
    ones = 1 / (1 + np.exp(-logits.astype("float64")))
    loss = BoundedCrossentropy(from_logits, p_min=1e-3, reduction=None)
    found = loss(labels[:, None], logits if from_logits else np.float32(ones))
    expected = by_hand(np.hstack([1 - ones, ones]), labels, 1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, 1e-4, 1e-6)


def test_bounded_crossentropy_has_finite_derivatives():
    probabilities = np.float32([[1.0, 0.0], [0.0, 1.0]])
    loss = BoundedCrossentropy()
    found = backend.vjp(
        lambda p: loss(np.array([1, 1]), p),
        ops.convert_to_tensor(probabilities),
        tensor(1.0),
    )
    assert np.isfinite(ops.convert_to_numpy(found)).all()


def test_bounded_crossentropy_config():
    loss = BoundedCrossentropy(True, p_min=0.01, name="own")
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config
    assert (again.p_min, again.from_logits, again.name) == (0.01, True, "own")
    with pytest.raises(ValueError, match="p_min=1"):
        BoundedCrossentropy(p_min=1)
