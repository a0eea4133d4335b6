"""The bound of frozen gates: printed values, the grid, and its coverage."""

import math

import numpy as np
import pytest
from simulation import most_failures

from tf_genbounds.bounds import certified_feature_norm
from tf_genbounds.bounds import data_independent_bound

inf, nan = float("inf"), float("nan")
PRINTED = dict(
    margin=1.0,
    num_classes=10,
    delta=0.1,
    constant="paper",
    chosen_after_training=False,
)


@pytest.mark.parametrize(
    "norm, slack, complexity",
    [(0.5, 0.24076035082679967, 0.23570226), (0.1, 0.014486180847104454, None)],
)
def test_slack_vectors(norm, slack, complexity):
    bound = data_independent_bound(
        np.full(45000, 2.0), weight_norm=norm, feature_norm_bound=norm, **PRINTED
    )
    assert bound.empirical == 0
    assert bound.value == pytest.approx(slack, rel=1e-13)
    assert sum(bound.slack.values()) == pytest.approx(slack, rel=1e-13)
    if complexity:
        assert bound.slack["complexity"] == pytest.approx(complexity, abs=5e-9)


def call(**change):
    options = dict(
        margins=np.linspace(-1, 5, 400),
        margin=1.0,
        weight_norm=1.0,
        num_classes=3,
        feature_norms=np.full(400, 0.5),
        delta=0.1,
        chosen_after_training=False,
    )
    options = {**options, **change}
    return data_independent_bound(options.pop("margins"), **options)


def test_sample_form_by_hand():
    # 4 * 3 * 1 * sqrt(400 * 0.25) / 400 = 0.3, 3 sqrt(ln 20 / 800) = 0.18358.
    bound = call()
    assert bound.slack["complexity"] == pytest.approx(0.3)
    assert bound.slack["confidence"] == pytest.approx(3 * math.sqrt(math.log(20) / 800))
    # Margins at most 1: a third of [-1, 5].
    assert bound.empirical == pytest.approx(1 / 3, abs=1 / 400)


@pytest.mark.parametrize(
    "num_classes, constant, factor",
    [(1, "4k", 2), (1, "paper", 2), (2, "4k", 8), (2, "paper", 8), (10, "4k", 40)]
    + [(10, "paper", 200)],
)
def test_factors_of_the_classes(num_classes, constant, factor):
    bound = call(num_classes=num_classes, constant=constant)
    assert bound.slack["complexity"] == pytest.approx(factor * 10 / 400)


@pytest.mark.parametrize("sup", [False, True])
def test_choices_after_training_are_rounded_and_paid(sup):
    form = dict(feature_norms=None, feature_norm_bound=0.5) if sup else {}
    free = call(margin=2.0, weight_norm=4.0, **form)
    paid = call(margin=3.9, weight_norm=2.1, chosen_after_training=True, **form)
    assert paid.empirical == free.empirical
    assert paid.slack["complexity"] == free.slack["complexity"]
    # delta_ij with i = 1, j = 2.
    share = 0.1 / 4 * 36 / (math.pi**4 * 4 * 9)
    scale = 1 if sup else 3
    expected = scale * math.sqrt(math.log((1 if sup else 2) / share) / 800)
    assert paid.slack["confidence"] == pytest.approx(expected)
    assert paid.delta == 0.1


def test_a_weight_norm_of_zero_is_rounded_up_to_one():
    assert call(weight_norm=0.0).slack["complexity"] == 0
    paid = call(weight_norm=0.0, chosen_after_training=True)
    assert paid.slack["complexity"] == call().slack["complexity"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("margin", [0.0, -2.0, -inf])
def test_negative_margins_are_vacuous(margin, after):
    bound = call(margin=margin, chosen_after_training=after)
    assert bound.value == inf and bound.vacuous
    assert [a.text for a in bound.failed] == ["the margin is positive"]


@pytest.mark.parametrize("after", [False, True])
def test_infinite_norms_are_vacuous(after):
    zeros = np.zeros(400)
    assert (
        call(weight_norm=inf, feature_norms=zeros, chosen_after_training=after).value
        == inf
    )
    assert (
        call(feature_norms=np.full(400, inf), chosen_after_training=after).value == inf
    )


def test_nan_margins_and_margins_at_rho_are_errors():
    bound = call(margins=[nan, 1.0, 1.5, 2.0], feature_norms=np.ones(4))
    assert bound.empirical == 0.5


@pytest.mark.parametrize("scale", [0.25, 8.0])
def test_scaling_the_logits_changes_nothing_without_the_grid(scale):
    first = call()
    second = call(
        margins=scale * np.linspace(-1, 5, 400), margin=scale, weight_norm=scale
    )
    assert first.value == pytest.approx(second.value)


def features(sup, m):
    return {"feature_norm_bound": 1.0} if sup else {"feature_norms": np.ones(m)}


@pytest.mark.parametrize("sup", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_covers_a_class_that_memorizes(sup, seed):
    # The input is one of 800 units and has its own label: who learns the labels
    # by heart has no training error, and the risk of the units it never saw.
    generator = np.random.default_rng(seed)
    draws, m, units, delta = 300, 400, 800, 0.2
    failures = unpaid = 0
    for _ in range(draws):
        seen = len(np.unique(generator.integers(0, units, m)))
        risk = 1 - seen / units
        bound = data_independent_bound(
            np.ones(m),
            margin=0.9,
            weight_norm=math.sqrt(seen),
            num_classes=1,
            delta=delta,
            **features(sup, m),
        )
        failures += bound.value < risk
        unpaid += bound.value - bound.slack["complexity"] < risk
    assert failures <= most_failures(draws, delta)
    # It has teeth: without the complexity it is refuted.
    assert unpaid > most_failures(draws, delta)


@pytest.mark.parametrize("sup", [False, True])
@pytest.mark.parametrize("constant", ["4k", "paper"])
@pytest.mark.parametrize("seed", range(2))
def test_covers_a_small_class_without_being_vacuous(sup, constant, seed):
    # Two inputs; one in four labels is wrong, whatever is learned. The better
    # sign is learned: the margins are 1 and -1.
    generator = np.random.default_rng(seed)
    draws, m, risk, delta = 300, 3000, 0.25, 0.2
    wrong = generator.binomial(m, risk, draws)
    values = np.array(
        [
            data_independent_bound(
                np.repeat([-2.0, 2.0], [count, m - count]),
                margin=1.5,
                weight_norm=1.0,
                num_classes=2,
                delta=delta,
                constant=constant,
                **features(sup, m),
            ).value
            for count in wrong
        ]
    )
    assert np.sum(values < risk) <= most_failures(draws, delta)
    assert np.max(values) < 0.8
    assert np.sum(wrong / m < risk) > most_failures(draws, delta)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("hidden", [[], [4], [3, 5]])
def test_certified_feature_norm_is_reached_with_open_gates(hidden, bias):
    # The sum over the paths of their squared features: all gates open.
    x = np.array([0.3, -0.4, 1.2])
    s = x**2
    for units in (*hidden, 1):
        s = np.ones((units, len(s))) @ s + bias
    expected = math.sqrt(s[0])
    assert certified_feature_norm(1.3, hidden, bias=bias) == pytest.approx(expected)


def test_statement_has_its_conditions():
    text = str(call(feature_norms=None, feature_norm_bound=3.0))
    assert "every possible input have a norm of at most 3, by construction" in text
    assert "the gates were trained from do not depend on the sample" in text
    assert "validation data that trained the gates do not depend on" in text
    # A premise is rounded down: a norm of 3.00001 is not at most 3.
    assert "have a norm of at most 2.999," in str(
        call(feature_norms=None, feature_norm_bound=2.99999)
    )
    assert "fixed before the sample" in text
    assert "fixed before the sample" not in str(call(chosen_after_training=True))


@pytest.mark.parametrize(
    "change, match",
    [
        ({"margins": []}, "`margins` must have shape"),
        ({"margin": nan}, "margin=nan"),
        ({"margin": inf}, "margin=inf"),
        ({"weight_norm": -1.0}, "weight_norm=-1.0"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"delta": 0.0}, "delta=0.0"),
        ({"constant": "mohri"}, "`constant` must be one of"),
        ({"feature_norms": None}, "Pass either"),
        ({"feature_norm_bound": 1.0}, "Pass either"),
        ({"feature_norms": np.ones(3)}, "each of 400 margins"),
        ({"feature_norms": np.full(400, nan)}, "non-negative"),
        ({"feature_norms": None, "feature_norm_bound": nan}, "feature_norm_bound=nan"),
    ],
)
def test_refuses_bad_arguments(change, match):
    with pytest.raises(ValueError, match=match):
        call(**change)
