"""Validation bounds: printed values, order of the forms, exact coverage."""

import math

import numpy as np
import pytest
from scipy import stats
from simulation import most_failures

from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import validation_bound
from tf_genbounds.bounds.validation import FORMS
from tf_genbounds.bounds.validation import OF_LOSSES

nan = float("nan")
OF_MEANS = [form for form in FORMS if form not in OF_LOSSES]
OF_ANY_MEAN = [form for form in OF_MEANS if form != "binomial"]
PRINTED = dict(num_samples=10000, num_models=1e9, delta=0.1)


@pytest.mark.parametrize(
    "options, expected, tolerance",
    [
        ({"form": "paper", "variance": 1, "largest": 1}, 0.06939646097281381, 1e-14),
        ({"form": "exact_root", "variance": 1}, 0.06863327, 5e-9),
        ({"form": "hoeffding"}, 0.03393070, 5e-9),
        ({"form": "paper", "variance": 0.05}, 0.01670933, 5e-9),
    ],
)
def test_slack_vectors(options, expected, tolerance):
    bound = validation_bound(0.0, **PRINTED, **options)
    assert bound.value == pytest.approx(expected, abs=tolerance)
    assert sum(bound.slack.values()) == pytest.approx(expected, abs=tolerance)


def test_terms_of_the_paper():
    bound = validation_bound(0.02, **PRINTED, form="paper", variance=1)
    assert bound.slack["range"] == pytest.approx(0.00153506, abs=5e-9)
    assert bound.slack["variance"] == pytest.approx(0.06786140, abs=5e-9)
    assert bound.empirical == 0.02


@pytest.mark.parametrize("error", [0.0, 0.01, 0.3, 0.5, 0.98, 1.0])
@pytest.mark.parametrize("num_samples", [5, 100, 100000])
def test_kl_is_never_larger(error, num_samples):
    values = {
        form: validation_bound(
            error, num_samples=num_samples, num_models=30, form=form
        ).value
        for form in OF_ANY_MEAN
    }
    assert all(values["kl"] <= value + 1e-12 for value in values.values())
    assert values["exact_root"] <= values["paper"]
    # The fixed point knows that the variance is at most 1/4.
    assert values["fixed_point"] <= values["paper"] + 1e-12
    assert error <= values["fixed_point"] <= 1


@pytest.mark.parametrize("error", [0.0, 0.004, 0.2, 0.7, 0.999])
@pytest.mark.parametrize("num_samples", [3, 40, 5000])
def test_fixed_point_is_the_largest_that_satisfies_its_inequality(error, num_samples):
    value = validation_bound(error, num_samples=num_samples, form="fixed_point").value
    rate = math.log(1 / 0.05) / num_samples

    def allowed(r):
        return error + 2 * rate / 3 + np.sqrt(2 * r * (1 - r) * rate) - r

    assert value == 1 or abs(allowed(value)) < 1e-12
    assert np.all(allowed(np.linspace(value, 1, 1000)[1:]) < 0) or value == 1


RATES = {
    "paper": 0.0035286,
    "exact_root": 0.0080712,
    "hoeffding": 8.416e-6,
    "kl": 0.0167895,
}


@pytest.mark.parametrize("form", OF_MEANS)
def test_exact_failure_rates(form):
    risk, m, delta = 0.1, 200, 0.1
    variance = risk * (1 - risk) if form in ("paper", "exact_root") else None
    counts = np.arange(m + 1)
    fails = [
        validation_bound(
            k / m, num_samples=m, delta=delta, form=form, variance=variance
        ).value
        < risk
        for k in counts
    ]
    rate = stats.binom.pmf(counts, m, risk)[fails].sum()
    assert rate <= delta
    if form in RATES:
        assert rate == pytest.approx(RATES[form], rel=1e-4)


@pytest.mark.parametrize("form", OF_MEANS)
@pytest.mark.parametrize("risk", [0.1, 0.35])
def test_covers_the_model_that_looked_best(form, risk):
    # Early stopping over 50 epochs whose models are equally good.
    generator = np.random.default_rng(0)
    draws, m, models, delta = 3000, 100, 50, 0.2
    best = generator.binomial(m, risk, (draws, models)).min(axis=1)

    def failures(num_models):
        values = [
            validation_bound(
                k / m,
                num_samples=m,
                num_models=num_models,
                delta=delta,
                form=form,
            ).value
            for k in range(m + 1)
        ]
        return np.sum(np.array(values)[best] < risk)

    assert failures(models) <= most_failures(draws, delta)
    if form == "kl":
        # It has teeth: who forgets 49 epochs is refuted.
        assert failures(1) > most_failures(draws, delta)


def test_statement_says_what_was_assumed():
    bound = validation_bound(
        0.1, num_samples=100, num_models=3000, form="paper", variance=0.1, largest=1
    )
    assert isinstance(bound, Bound)
    text = str(bound)
    assert "at most 3,000 models could have been compared" in text
    assert "variance of the loss is at most 0.1" in text
    assert "exceeds no loss by more than 1" in text
    assert "no model depends on the validation sample" in text


@pytest.mark.parametrize("form", OF_MEANS)
def test_grows_with_the_models_and_shrinks_with_the_sample(form):
    def value(**change):
        options = dict(num_samples=300, num_models=10, delta=0.1, form=form)
        return validation_bound(0.1, **{**options, **change}).value

    assert value() < value(num_models=11)
    assert value() > value(num_samples=310)
    assert value() < value(delta=0.09)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"num_samples": 0}, "Received: num_samples=0"),
        ({"num_models": 0.5}, "Received: num_models=0.5"),
        ({"num_models": nan}, "Received: num_models=nan"),
        ({"delta": 0}, "Received: delta=0"),
        ({"form": "bernstein"}, "`form` must be one of"),
        ({"variance": 0.1}, 'not to "kl". Received: variance=0.1'),
        ({"largest": 1.0, "form": "hoeffding"}, "Received: largest=1.0"),
        ({"adaptive": True}, "a test set that was not touched"),
    ],
)
def test_refuses_bad_arguments(change, match):
    with pytest.raises(ValueError, match=match):
        validation_bound(0.1, **{"num_samples": 10, **change})


@pytest.mark.parametrize("error", [-0.1, 5.0, nan])
def test_refuses_what_is_no_error_rate(error):
    with pytest.raises(ValueError, match="Received: validation_error"):
        validation_bound(error, num_samples=10)


def test_a_premise_is_rounded_down():
    # The bound needs a variance of at most 0.123456; 0.1235 would not do.
    bound = validation_bound(
        0.1, num_samples=100, form="paper", variance=0.123456, largest=0.98765
    )
    assert "the variance of the loss is at most 0.1234," in str(bound)
    assert "exceeds no loss by more than 0.9876" in str(bound)
