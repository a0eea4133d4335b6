"""Exact tails and bets: fixtures, slow twins, coverage, what they refuse."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from simulation import most_failures

from tf_genbounds.bounds import betting_inverse
from tf_genbounds.bounds import binomial_tail_inverse
from tf_genbounds.bounds import empirical_bernstein_slack
from tf_genbounds.bounds import klinv
from tf_genbounds.bounds import occam_bound
from tf_genbounds.bounds import validation_bound

LN2 = math.log(2)


@pytest.mark.parametrize(
    "k, m, delta, exact, kl",
    [
        (8, 360, 0.05, 0.0397382495, 0.0467644574),
        (0, 100, 0.05, 0.0295130496, 0.0295130496),
        (102, 10000, 0.05, 0.0120132457, 0.0128584693),
        (45, 12000, 0.035, 0.0049155761, 0.0053850153),
    ],
)
def test_exact_tail_of_a_validation_sample(k, m, delta, exact, kl):
    def value(form):
        return validation_bound(k / m, num_samples=m, delta=delta, form=form).value

    assert value("binomial") == pytest.approx(exact, abs=1e-10)
    assert value("kl") == pytest.approx(kl, abs=1e-10)


@pytest.mark.parametrize(
    "k, m, bits, exact, kl",
    [
        (1014, 60000, 2723, 0.0710619292, 0.0711455373),
        (1200, 60000, 4000, 0.0942270748, 0.0943082324),
        (20791, 50000, 7651, 0.6425777107, 0.6426813417),
    ],
)
def test_exact_tail_of_a_code_word(k, m, bits, exact, kl):
    def value(form):
        return occam_bound(k / m, num_bits=bits, num_samples=m, form=form).value

    # Where scipy's logcdf underflows, and gives 4.58 % for the first.
    assert value("binomial") == pytest.approx(exact, abs=1e-10)
    assert value("kl") == pytest.approx(kl, abs=1e-10)


@pytest.mark.parametrize("m", [1, 2, 7, 50])
@pytest.mark.parametrize("nats", [0.01, 1.0, 30.0, 2000.0])
def test_the_tail_is_that_of_exact_arithmetic(m, nats):
    for k in range(m):
        p = binomial_tail_inverse(k, m, nats)

        def tail(p):
            p = Fraction(p)
            return sum(
                math.comb(m, i) * p**i * (1 - p) ** (m - i) for i in range(k + 1)
            )

        if p == 1:  # No float is between the root and 1.
            assert tail(1 - 2**-53) > 0 and nats > 36 / (m - k) - 1
            continue
        limit = Fraction(math.exp(-nats)) if nats < 700 else None
        if limit is None:
            log_tail = math.log(tail(p).numerator) - math.log(tail(p).denominator)
            assert log_tail <= -nats * (1 - 1e-15)
            continue
        assert tail(p) <= limit * (1 + Fraction(1, 10**14))
        # Never below the mean, where a delta near 1 has its root.
        assert tail(p * (1 - 1e-9)) > limit or p < k / m * (1 + 1e-12)


def test_all_wrong_says_nothing_and_no_cost_says_the_mean_or_more():
    assert binomial_tail_inverse(5, 5, 1.0) == 1.0
    # The median of the Clopper and Pearson bound is above the mean.
    assert 0.02 < binomial_tail_inverse(2, 100, LN2) < 0.03


def test_a_million_samples_are_no_matter():
    p = binomial_tail_inverse(20_000, 1_000_000, math.log(20))
    exact = stats.beta.ppf(0.95, 20_001, 980_000)
    assert exact <= p <= exact * (1 + 1e-9)  # What rounding is allowed for.


def test_binomial_never_exceeds_kl():
    for m in (3, 40, 1000):
        for k in range(0, m, max(1, m // 7)):
            for nats in (0.1, 3.0, 50.0):
                exact = binomial_tail_inverse(k, m, nats)
                assert exact <= klinv(k / m, nats / m) + 1e-13


def test_empirical_bernstein_by_hand():
    losses = [0.0, 0.5, 1.0, 0.5]
    cost = math.log(2 / 0.1)
    variance = 0.5 / 3
    expected = math.sqrt(2 * variance * cost / 4) + 7 * cost / 9
    assert empirical_bernstein_slack(losses, math.log(10)) == pytest.approx(expected)


def capital(losses, u, nats):
    """The largest capital of the bets against a mean, one sample at a time."""
    total, mean_sum, square_sum, best = 0.0, 0.5, 0.25, 0.0
    for t, x in enumerate(losses, 1):
        before = square_sum / t
        rate = math.sqrt(2 * nats / (len(losses) * before))
        bet = min(rate, 0.75 / (1 - u)) if u < 1 else rate
        total += math.log(1 + bet * (u - x))
        best = max(best, total)
        mean_sum += x
        square_sum += (x - mean_sum / (t + 1)) ** 2
    return best


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bets_are_those_of_the_definition(seed):
    nats = math.log(20)
    losses = np.random.default_rng(seed).beta(1, 9, 200)
    value = betting_inverse(losses, nats, seed=seed)
    order = np.random.default_rng(seed).permutation(losses)
    assert capital(order, value + 1e-9, nats) >= nats
    assert capital(order, value - 1e-9, nats) < nats


def test_bets_see_a_small_variance():
    losses = np.random.default_rng(0).uniform(0.1, 0.2, 2000)

    def value(form):
        return validation_bound(losses, form=form).value

    assert losses.mean() < value("betting") < value("empirical_bernstein")
    assert value("empirical_bernstein") < value("kl") < 0.2
    assert betting_inverse([1.0], 0.1) == 1.0


LAWS = {
    "uniform": (lambda g, n: g.uniform(0, 0.6, n), 0.3),
    "rare": (lambda g, n: 1.0 * (g.random(n) < 0.03), 0.03),
    "coin": (lambda g, n: 1.0 * (g.random(n) < 0.5), 0.5),
    "constant": (lambda g, n: np.full(n, 0.7), 0.7),
    "always wrong": (lambda g, n: np.ones(n), 1.0),
}


@pytest.mark.parametrize("form", ["empirical_bernstein", "betting"])
@pytest.mark.parametrize("law", LAWS)
def test_forms_of_losses_cover(form, law):
    draw, mean = LAWS[law]
    generator = np.random.default_rng(1)
    draws, delta = 400, 0.2
    failures = sum(
        validation_bound(draw(generator, 100), delta=delta, form=form).value < mean
        for _ in range(draws)
    )
    assert failures <= most_failures(draws, delta)


def test_a_losses_vector_brings_its_own_number():
    losses = np.array([0.0, 1.0, 0.0, 0.0])
    bound = validation_bound(losses, form="binomial")
    assert (bound.num_samples, bound.empirical) == (4, 0.25)
    assert bound.value == pytest.approx(stats.beta.ppf(0.95, 2, 3))
    assert "each loss is 0 or 1" in str(bound)


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: validation_bound(0.1, form="betting"), "needs the loss of every"),
        (lambda: validation_bound(0.1), "Received: num_samples=None"),
        (lambda: validation_bound([0.1, 0.2], num_samples=3), "2 losses"),
        (lambda: validation_bound([0.1, 1.2], form="betting"), "to 1.2"),
        (lambda: validation_bound([0.1, np.nan], form="betting"), "from nan"),
        (lambda: validation_bound([[0.1]], form="betting"), r"shape \(1, 1\)"),
        (lambda: empirical_bernstein_slack([0.5], 1.0), "at least two losses"),
        (
            lambda: validation_bound(0.123, num_samples=10, form="binomial"),
            "for 0-1 losses",
        ),
        (
            lambda: validation_bound([0.2, 0.3], form="binomial"),
            "for 0-1 losses",
        ),
        (lambda: binomial_tail_inverse(3, 2, 1.0), "Received: num_errors=3"),
        (lambda: binomial_tail_inverse(0, 0, 1.0), "num_samples=0"),
        (lambda: binomial_tail_inverse(1, 2, math.nan), "Received: nats=nan"),
    ],
)
def test_refuses_by_name(call, match):
    with pytest.raises(ValueError, match=match):
        call()
