"""The sample compression bound: printed values, exact twins, coverage, bad input."""

import json
import math
import pathlib
from fractions import Fraction

import numpy as np
import pytest
from scipy import special
from scipy import stats

from tf_genbounds.bounds import sample_compression_bound

FIXTURES = json.loads(
    (
        pathlib.Path(__file__).parents[1] / "fixtures" / "sample_compression.json"
    ).read_text()
)["sample_compression_bound"]


def log_sum(k, m, eps):
    """`ln((1 / m) sum_{j=k}^{m-1} C(j, k) / C(m, k) (1 - eps)**(j - m))`."""

    def log_choose(n):
        return special.gammaln(n + 1) - special.gammaln(n - k + 1)

    j = np.arange(k, m)
    terms = log_choose(j) - log_choose(m) - (m - j) * math.log1p(-eps)
    return special.logsumexp(terms) - math.log(m)


def twin(k, m, delta):
    """The root of the closed-form sum."""
    low, high = 0.0, np.nextafter(1.0, 0.0)
    for _ in range(100):
        middle = (low + high) / 2
        if log_sum(k, m, middle) >= math.log(1 / delta):
            high = middle
        else:
            low = middle
    return high


def exact_sum(k, m, eps):
    """The same sum in exact arithmetic."""
    return sum(
        Fraction(math.comb(j, k), math.comb(m, k)) / (1 - eps) ** (m - j)
        for j in range(k, m)
    ) / Fraction(m)


@pytest.mark.parametrize("case", FIXTURES)
def test_printed_values(case):
    k, value = case["num_compressed"], case["value"]
    options = dict(num_samples=case["num_samples"], delta=case["delta"])
    bound = sample_compression_bound(k, **options)
    # Computed with 40 digits; never below, by what rounding is allowed for.
    assert value - 1e-15 <= bound.value <= value + 2e-12
    assert bound.value == pytest.approx(twin(k, *options.values()), rel=1e-9)
    assert bound.empirical + sum(bound.slack.values()) == pytest.approx(bound.value)
    # A union is paid for.
    options["delta"] *= 10
    shared = sample_compression_bound(k, **options, num_choices=10)
    assert shared.value == pytest.approx(bound.value, rel=1e-12)


@pytest.mark.parametrize("m", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("delta", [0.99, 0.5, 0.05, 1e-9])
def test_never_below_the_root_of_exact_arithmetic(m, delta):
    for k in range(m):
        value = sample_compression_bound(k, num_samples=m, delta=delta).value
        limit = 1 / Fraction(delta)
        assert k / m <= value <= 1
        if value < 1:
            assert exact_sum(k, m, Fraction(value)) >= limit
        # Above it by what rounding is allowed for, which is most at the flat end.
        below = Fraction(value) * (1 - Fraction(1, 10**9))
        assert exact_sum(k, m, below) < limit
    assert sample_compression_bound(m, num_samples=m, delta=delta).value == 1.0


def test_known_roots():
    # One term of the sum is left for `k = m - 1`.
    value = sample_compression_bound(9, num_samples=10, delta=0.1).value
    assert value == pytest.approx(1 - 0.1 / 100, rel=1e-12)
    values = [
        sample_compression_bound(k, num_samples=500).value for k in range(0, 501, 10)
    ]
    assert np.all(np.diff(values) > 0)


def test_weaker_than_the_hold_out_by_little():
    m = 24000
    held_out = 1 - 0.01 ** (1 / m)
    value = sample_compression_bound(0, num_samples=m, delta=0.01).value
    assert held_out < value < 1.5 * held_out


@pytest.mark.parametrize("delta", [0.3, 0.05, 0.01])
def test_coverage_of_the_largest_value(delta):
    # `S` uniform on [0, 1], the model is its largest value, of risk `1 - max`.
    draws, m = 10_000, 50
    generator = np.random.default_rng(0)
    risks = 1 - generator.random((draws, m)).max(axis=1)
    value = sample_compression_bound(1, num_samples=m, delta=delta).value
    failures = np.sum(risks > value)
    assert (1 - value) ** m <= delta
    assert failures <= stats.binom.isf(1e-8, draws, delta)


def pick_threshold(x, y, picks):
    """Pick-to-learn of `x >= t` by its definition, one pick at a time.

    The threshold is the least `x` of class 1 among the picks; the loss is how far an
    example is on the wrong side.
    """
    picked = np.zeros(len(x), bool)
    for _ in range(picks):
        ones = x[picked & (y == 1)]
        threshold = ones.min() if len(ones) else 1.0
        loss = np.where(y == 1, threshold - x, x - threshold)
        loss[picked] = -np.inf
        wrong = ((x >= threshold) != (y == 1)) & ~picked
        if not wrong.any():
            break
        # What is wrong ranks before what is right.
        picked[np.lexsort((loss, wrong))[-1]] = True
    ones = x[picked & (y == 1)]
    threshold = ones.min() if len(ones) else 1.0
    wrong = ((x >= threshold) != (y == 1)) & ~picked
    return threshold, int(picked.sum() + wrong.sum())


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_coverage_of_a_threshold_with_label_noise(noise):
    draws, m, delta = 10_000, 30, 0.1
    values = [
        sample_compression_bound(k, num_samples=m, delta=delta).value
        for k in range(m + 1)
    ]
    generator = np.random.default_rng(1)
    failures = 0
    for _ in range(draws):
        x = generator.random(m)
        flipped = generator.random(m) < noise
        threshold, k = pick_threshold(x, (x >= 0.5) ^ flipped, picks=3)
        risk = noise + (1 - 2 * noise) * abs(threshold - 0.5)
        failures += risk > values[k]
    assert failures <= stats.binom.isf(1e-8, draws, delta)


@pytest.mark.parametrize(
    "k, options",
    [
        (-1, {}),
        (101, {}),
        (1.5, {}),
        (float("nan"), {}),
        (True, {}),
        (1, {"delta": 0.0}),
        (1, {"delta": float("nan")}),
        (1, {"num_choices": 0}),
        (1, {"num_choices": float("nan")}),
        (0, {"num_samples": 0}),
    ],
)
def test_bad_input(k, options):
    with pytest.raises(ValueError, match="Received"):
        sample_compression_bound(k, **{"num_samples": 100, **options})
