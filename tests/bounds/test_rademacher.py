"""Rademacher complexities and bounds: enumeration, printed values, coverage."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from simulation import most_failures

from tf_genbounds import bounds

inf, nan = float("inf"), float("nan")


def slow_complexity(outputs):
    found = []
    for signs in itertools.product((-1, 1), repeat=len(outputs[0])):
        found.append(
            max(sum(map(float.__mul__, map(float, signs), f)) for f in outputs)
        )
    return sum(found) / len(found) / len(outputs[0])


def test_finite_classes_by_enumeration():
    outputs = np.random.default_rng(0).normal(size=(5, 8))
    expected = slow_complexity(outputs.tolist())
    assert bounds.rademacher_complexity(outputs) == pytest.approx(expected, rel=1e-12)


def test_all_patterns_of_signs_interpolate():
    patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=6)))
    assert bounds.rademacher_complexity(patterns) == 1.0
    massart = bounds.massart_complexity(64, norm=6**0.5, num_samples=6)
    assert massart == pytest.approx(math.sqrt(2 * math.log(2)))


def test_massart_is_above_by_its_printed_value():
    signs = np.random.default_rng(1).choice((-1.0, 1.0), size=(8, 20))
    massart = bounds.massart_complexity(8, norm=20**0.5, num_samples=20)
    assert massart == pytest.approx(0.4560, abs=5e-5)
    drawn = bounds.rademacher_complexity(signs, num_draws=4000)
    assert 0.25 < drawn < massart


def test_linear_functions_of_orthogonal_and_other_samples():
    x = 3 * np.eye(5)
    expected = 2 * math.sqrt(5 * 9) / 5
    found = bounds.linear_rademacher_complexity(x, radius=2.0)
    assert found == pytest.approx(expected)
    x = np.random.default_rng(2).normal(size=(6, 2, 2))
    signs = itertools.product((-1, 1), repeat=6)
    # The largest over the ball is the norm of the sum.
    exact = np.mean([np.linalg.norm(np.tensordot(s, x, 1)) for s in signs]) / 6
    found = bounds.linear_rademacher_complexity(x, radius=1.0)
    assert exact < found < 1.3 * exact


def test_draws_are_certified_and_their_mean_is_not():
    """Of one draw, so that what is added matters."""
    outputs = np.eye(20)[:2]
    truth = bounds.rademacher_complexity(outputs, num_draws=50_000)
    options = dict(num_draws=1)
    means = [
        bounds.rademacher_complexity(outputs, seed=s, **options) for s in range(400)
    ]
    above = [
        bounds.rademacher_complexity(outputs, seed=s, delta=0.1, **options)
        for s in range(400)
    ]
    assert np.sum(np.less(means, truth)) > 80
    assert np.sum(np.less(above, truth)) <= most_failures(400, 0.1)
    added = math.sqrt(2 * math.log(10) / 20)
    np.testing.assert_allclose(np.subtract(above, means), added)


@pytest.mark.parametrize(
    "form, expected",
    [
        ("expected", 0.1 + 2 * 0.03 + math.sqrt(math.log(20) / 2000)),
        ("empirical", 0.1 + 2 * 0.03 + 3 * math.sqrt(math.log(40) / 2000)),
        ("notes", 0.1 + 2 * 0.03 + 3 * math.sqrt(math.log(20) / 1000)),
    ],
)
def test_three_forms(form, expected):
    options = dict(complexity=0.03, num_samples=1000, delta=0.05, form=form)
    bound = bounds.rademacher_bound(0.1, **options)
    assert bound.value == pytest.approx(expected, rel=1e-12)
    halved = bounds.rademacher_bound(0.1, of="classifiers", **options)
    assert halved.value == pytest.approx(expected - 0.03, rel=1e-12)
    joined = bounds.rademacher_bound(0.1, complexity_delta=0.01, **options)
    assert joined.delta == pytest.approx(0.06) and joined.value == bound.value


def test_a_class_that_memorizes_is_covered():
    """All functions on 2,000 points, labels by coins: what is not seen costs 1/2."""
    generator = np.random.default_rng(3)
    size, draws, failures, without = 2000, 60, 0, 0
    for _ in range(draws):
        x = generator.integers(size, size=size)
        # The labels are part of the distribution: one for each point.
        risk = (size - len(set(x.tolist()))) * 0 + 0.5 * (1 - len(set(x)) / size)
        sums = [
            np.abs(np.bincount(x, generator.choice((-1, 1), size), size)).sum()
            for _ in range(50)
        ]
        drawn = np.mean(sums) / size + math.sqrt(2 * math.log(100) / (50 * size))
        bound = bounds.rademacher_bound(
            0.0,
            complexity=drawn,
            num_samples=size,
            delta=0.04,
            of="classifiers",
            complexity_delta=0.01,
        )
        failures += bound.value < risk
        without += bound.slack["confidence"] < risk
    assert without == draws and failures <= most_failures(draws, 0.05)


def test_a_margin_with_coins_for_labels_is_covered():
    """A linear model with more dimensions than samples fits any labels."""
    generator = np.random.default_rng(4)
    without = 0
    for _ in range(20):
        x = generator.normal(size=(500, 1000))
        y = generator.choice((-1.0, 1.0), 500)
        w = x.T @ np.linalg.solve(x @ x.T, y)
        radius = 2.0 ** math.ceil(math.log2(np.linalg.norm(w)))
        bound = bounds.margin_bound(
            y * (x @ w),
            complexity=bounds.linear_rademacher_complexity(x, radius=radius),
            margin=0.9,
            num_classes=1,
        )
        assert bound.empirical == 0 and bound.value > 0.5
        without += bound.slack["confidence"] < 0.5
    assert without == 20


def test_the_margin_is_on_the_grid_and_paid_for():
    margins = np.linspace(-1, 3, 1000)
    options = dict(complexity=0.05, num_classes=3, delta=0.1)
    paid = bounds.margin_bound(margins, margin=1.7, **options)
    free = bounds.margin_bound(
        margins, margin=1.0, chosen_after_training=False, **options
    )
    assert paid.empirical == free.empirical == pytest.approx(0.5, abs=1e-3)
    assert paid.slack["complexity"] == free.slack["complexity"] == pytest.approx(0.6)
    share = 0.1 * 3 / math.pi**2
    expected = 3 * math.sqrt(math.log(2 / share) / 2000)
    assert paid.slack["confidence"] == pytest.approx(expected)
    assert paid.delta == 0.1
    sup = bounds.margin_bound(
        margins, margin=1.0, form="expected", chosen_after_training=False, **options
    )
    assert sup.slack["confidence"] == pytest.approx(math.sqrt(math.log(10) / 2000))


@pytest.mark.parametrize(
    "classes, constant, factor",
    [(1, "4k", 2), (1, "paper", 2), (2, "paper", 8), (7, "4k", 28), (7, "paper", 98)],
)
def test_what_the_classes_cost(classes, constant, factor):
    bound = bounds.margin_bound(
        np.ones(10), complexity=0.25, margin=0.5, num_classes=classes, constant=constant
    )
    assert bound.slack["complexity"] == pytest.approx(factor / 2)


def test_what_is_not_a_number_is_an_error_or_vacuous():
    options = dict(complexity=0.0, num_classes=2, chosen_after_training=False)
    bound = bounds.margin_bound([nan, 2.0], margin=1.0, **options)
    assert bound.empirical == 0.5
    bound = bounds.margin_bound([2.0], margin=0.0, **options)
    assert bound.value == inf and bound.failed
    assert "NOT A GUARANTEE" in bound.statement()
    options["complexity"] = inf
    bound = bounds.margin_bound([2.0], margin=1.0, **options)
    assert bound.value == inf and bound.vacuous
    bound = bounds.rademacher_bound(0.1, complexity=inf, num_samples=10)
    assert bound.value == inf and bound.vacuous


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bounds.rademacher_complexity([[1.0, nan]]), "finite numbers"),
        (lambda: bounds.rademacher_complexity([1.0]), "two axes"),
        (lambda: bounds.rademacher_complexity([[1.0]], delta=0.0), "delta"),
        (lambda: bounds.linear_rademacher_complexity([[1.0]], radius=nan), "radius"),
        (lambda: bounds.linear_rademacher_complexity(3.0, radius=1.0), "two axes"),
        (
            lambda: bounds.massart_complexity(0, norm=1.0, num_samples=1),
            "num_functions=0",
        ),
        (
            lambda: bounds.rademacher_bound(nan, complexity=0.1, num_samples=9),
            r"empirical.*\[0, 1\]",
        ),
        (
            lambda: bounds.rademacher_bound(0.1, complexity=nan, num_samples=9),
            "complexity=nan",
        ),
        (
            lambda: bounds.rademacher_bound(0.1, complexity=0.1, num_samples=0),
            "num_samples=0",
        ),
        (
            lambda: bounds.rademacher_bound(
                0.1, complexity=0.1, num_samples=9, form="notes", delta=0.6
            ),
            "at most 1/2",
        ),
        (
            lambda: bounds.rademacher_bound(
                0.1, complexity=0.1, num_samples=9, complexity_delta=0.96
            ),
            "complexity_delta=0.96",
        ),
        (
            lambda: bounds.margin_bound(
                [[1.0]], complexity=0.1, margin=1.0, num_classes=2
            ),
            r"shape \(samples,\)",
        ),
        (
            lambda: bounds.margin_bound(
                [1.0], complexity=0.1, margin=nan, num_classes=2
            ),
            "margin=nan",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_least_of_two_costs_its_share():
    """Unshared, the least of two exact bounds fails nearly twice as often."""
    generator = np.random.default_rng(5)
    size, risk, delta, draws = 60, 0.3, 0.1, 1500
    counts = generator.binomial(size, risk, size=(draws, 2))

    def held_out(count):
        return lambda share: bounds.validation_bound(
            count / size, num_samples=size, delta=share, form="binomial"
        )

    shared = {
        pair: bounds.combine(
            {"a": held_out(pair[0]), "b": held_out(pair[1])}, delta=0.1
        )
        for pair in set(map(tuple, counts.tolist()))
    }
    failures = sum(shared[tuple(pair)].value < risk for pair in counts.tolist())
    limit = stats.binom.isf(1e-8, draws, delta)
    free = sum(
        min(held_out(a)(delta).value, held_out(b)(delta).value) < risk
        for a, b in counts.tolist()
    )
    assert failures <= limit < free


def of(value, **change):
    def make(delta):
        options = dict(num_samples=50, delta=delta, form="hoeffding", **change)
        return bounds.validation_bound(value, **options)

    return make


def test_combine_says_what_it_did():
    found = bounds.combine({"a": of(0.3), "b": of(0.1)}, shares={"a": 0.1, "b": 0.9})
    alone = of(0.1)(0.05 * 0.9)
    assert (found.value, found.empirical) == (alone.value, alone.empirical)
    assert found.delta == 0.05
    assert "'b'" in found.name and "shared by 2 bounds" in found.assumptions[-1].text
    # Once, though both assume it.
    texts = [a.text for a in found.assumptions]
    assert len(texts) == len(set(texts))


def test_what_fails_takes_no_part():
    def broken(delta):
        return bounds.stability_bound(
            0.0, stability=0.0, num_samples=10**6, delta=delta, estimated=True
        )

    found = bounds.combine({"broken": broken, "held out": of(0.2)})
    assert found.empirical == 0.2 and not found.failed
    assert "'broken' plays no part" in found.assumptions[-1].text
    alone = bounds.combine({"broken": broken})
    assert alone.statement().startswith("NOT A GUARANTEE")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bounds.combine({}), "at least one bound"),
        (lambda: bounds.combine({"a": of(0.1)}, delta=1.0), "delta=1.0"),
        (lambda: bounds.combine({"a": of(0.1)}, shares={"b": 1.0}), "shares="),
        (lambda: bounds.combine({"a": of(0.1)}, shares={"a": 1.5}), "shares="),
        (lambda: bounds.combine({"a": of(0.1)}, shares={"a": nan}), "shares="),
        (
            lambda: bounds.combine({"a": lambda delta: of(0.1)(0.01)}),
            "the `delta` that it is given",
        ),
        (
            lambda: bounds.combine(
                {
                    "a": of(0.1),
                    "b": lambda d: bounds.gibbs_bound(0.1, num_draws=9, delta=d),
                }
            ),
            "one quantity",
        ),
    ],
)
def test_combine_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
