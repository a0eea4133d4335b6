"""Concentration: printed values, edges, and coverage in simulations."""

import decimal
import math

import numpy as np
import pytest
from scipy import optimize
from scipy import stats
from simulation import most_failures

from tf_genbounds.bounds import bernstein_slack
from tf_genbounds.bounds import finite_class_bound
from tf_genbounds.bounds import hoeffding_slack
from tf_genbounds.bounds import klinv
from tf_genbounds.bounds import matrix_bernstein_slack
from tf_genbounds.bounds import occam_bound

inf, nan = float("inf"), float("nan")


@pytest.mark.parametrize(
    "empirical, divergence, expected",
    [
        (0, 0.1, 0.09516258),
        (0.1, 0.1, 0.28237914),
        (0.05, 0.02, 0.10574994),
        (0.5, 0.5, 0.89753005),
        (0.1, math.log(200) / 1000, 0.13367938),
    ],
)
def test_klinv_vectors(empirical, divergence, expected):
    assert klinv(empirical, divergence) == pytest.approx(expected, abs=5e-9)


@pytest.mark.parametrize("empirical", [0.0, 1e-300, 1e-9, 0.3, 1 - 1e-12, 1.0])
def test_klinv_edges(empirical):
    assert klinv(empirical, 0) == empirical
    assert klinv(empirical, inf) == 1
    assert klinv(empirical, 50) <= 1
    assert klinv(1, 0.5) == 1
    assert klinv(0, 0.3) == pytest.approx(-math.expm1(-0.3), rel=1e-14)


@pytest.mark.parametrize("empirical", [0.0, 1e-30, 1e-3, 0.2, 0.5, 0.999])
@pytest.mark.parametrize("divergence", [1e-20, 1e-9, 1e-3, 0.3, 5.0])
def test_klinv_is_between_the_mean_and_pinsker(empirical, divergence):
    value = klinv(empirical, divergence)
    assert empirical <= value <= empirical + math.sqrt(divergence / 2) + 1e-15
    assert value <= klinv(empirical, 2 * divergence)


@pytest.mark.parametrize("empirical", [0.1, 0.5])
def test_klinv_does_not_drown_in_rounding(empirical):
    # kl = gap**2 / (2 q (1 - q)) for small gaps: of a divergence far below the
    # rounding of its two logarithms, the root is still right.
    gap = klinv(empirical, 1e-20) - empirical
    expected = math.sqrt(2 * empirical * (1 - empirical) * 1e-20)
    assert gap == pytest.approx(expected, rel=1e-5)


def test_klinv_returns_the_upper_end():
    # Between two floats, the one that is not too small.
    assert klinv(0.5, 1e-300) > 0.5


def test_klinv_is_never_below_the_root():
    # Against 50 digits: bisection of a rounded divergence ends some 1e-16 below
    # the root, one time out of ten.
    generator = np.random.default_rng(0)
    with decimal.localcontext(prec=50):
        for divergence in 10 ** generator.uniform(-12, 0.5, 300):
            q = decimal.Decimal(int(generator.integers(0, 1000))) / 1000
            q = decimal.Decimal(float(q))
            p = decimal.Decimal(klinv(float(q), float(divergence)))
            if p == 1:
                continue
            exact = (1 - q) * ((1 - q) / (1 - p)).ln()
            exact += q * (q / p).ln() if q else 0
            assert exact >= decimal.Decimal(float(divergence))


@pytest.mark.parametrize("empirical", [0.02, 0.4])
@pytest.mark.parametrize("divergence", [0.01, 0.5])
def test_klinv_solves_the_textbook_equation(empirical, divergence):
    def excess(p):
        return stats.entropy([empirical, 1 - empirical], [p, 1 - p]) - divergence

    root = optimize.brentq(excess, empirical, 1 - 1e-12, xtol=1e-14)
    assert klinv(empirical, divergence) == pytest.approx(root, rel=1e-10)


def test_klinv_refutes_nothing_that_is_likely():
    # Exact: the chance of a sample that refutes the true mean.
    m, delta = 40, 0.1
    for p in np.linspace(0.01, 0.99, 25):
        counts = np.arange(m + 1)
        refuted = [klinv(k / m, math.log(1 / delta) / m) < p for k in counts]
        assert stats.binom.pmf(counts, m, p)[refuted].sum() <= delta


@pytest.mark.parametrize("empirical", [-0.1, 1.1, nan])
def test_klinv_refuses_bad_means(empirical):
    with pytest.raises(ValueError, match=r"\[0, 1\]. Received: empirical"):
        klinv(empirical, 0.1)


@pytest.mark.parametrize("divergence", [-1e-9, nan])
def test_klinv_refuses_bad_divergences(divergence):
    with pytest.raises(ValueError, match="Received: divergence"):
        klinv(0.1, divergence)


def test_slack_vectors():
    options = dict(num_samples=10000, delta=0.1, log_count=math.log(1e9))
    bernstein = dict(options, variance=1.0, largest=1.0)
    assert hoeffding_slack(**options) == pytest.approx(0.03393070, abs=5e-9)
    assert bernstein_slack(**bernstein, form="standard") == pytest.approx(
        0.06939646097281381, rel=1e-12
    )
    assert bernstein_slack(**bernstein) == pytest.approx(0.06863327, abs=5e-9)
    small = dict(bernstein, variance=0.05)
    assert bernstein_slack(**small, form="standard") == pytest.approx(
        0.01670933, abs=5e-9
    )


@pytest.mark.parametrize("variance", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("largest", [0.0, 0.5, 3.0])
def test_exact_root_solves_bernsteins_equation(variance, largest):
    m, delta = 50, 0.02
    e = bernstein_slack(m, delta, variance=variance, largest=largest)
    if variance or largest:
        exponent = (e**2 * m / 2) / (variance + e * largest / 3)
        assert math.exp(-exponent) == pytest.approx(delta)
    standard = bernstein_slack(
        m, delta, variance=variance, largest=largest, form="standard"
    )
    assert e <= standard


def test_matrix_bernstein_of_one_dimension_is_bernstein():
    options = dict(variance=0.3, largest=2.0)
    assert matrix_bernstein_slack(
        80, 0.1, **options, log_dimension=0.0
    ) == bernstein_slack(80, 0.1, **options)
    assert matrix_bernstein_slack(
        10000,
        0.1 / 3,
        variance=1,
        largest=1,
        log_dimension=math.log(1000),
        form="standard",
    ) == pytest.approx(0.04609421, abs=5e-9)


@pytest.mark.parametrize("seed", range(2))
def test_matrix_bernstein_covers(seed):
    # Signs on the four diagonal units: E G = 0, lam_max(G) = 1, E G**2 = I / 4.
    generator = np.random.default_rng(seed)
    draws, m, dimension, delta = 2000, 30, 4, 0.2
    units = generator.integers(0, dimension, (draws, m))
    signs = generator.choice([-1, 1], (draws, m))
    means = np.stack(
        [np.sum(signs * (units == k), axis=1) / m for k in range(dimension)]
    )
    slack = matrix_bernstein_slack(
        m, delta, variance=1 / 4, largest=1.0, log_dimension=math.log(dimension)
    )
    failures = np.sum(means.max(axis=0) > slack)
    assert failures <= most_failures(draws, delta)
    # It has teeth: without the union over the eigenvalues it is refuted.
    narrow = bernstein_slack(m, 0.9, variance=1 / 4, largest=1.0)
    assert np.sum(means.max(axis=0) > narrow) > most_failures(draws, 0.2)


@pytest.mark.parametrize("form", ["kl", "hoeffding"])
@pytest.mark.parametrize("risk", [0.15, 0.4])
@pytest.mark.parametrize("seed", range(2))
def test_finite_class_bound_covers_the_best_of_the_class(form, risk, seed):
    # All models have the same risk; the luckiest on the sample is reported.
    generator = np.random.default_rng(seed)
    draws, m, count, delta = 2000, 60, 20, 0.1
    best = generator.binomial(m, risk, (draws, count)).min(axis=1) / m
    values = {
        error: finite_class_bound(
            error, num_hypotheses=count, num_samples=m, delta=delta, form=form
        ).value
        for error in np.unique(best)
    }
    failures = sum(values[error] < risk for error in best)
    assert failures <= most_failures(draws, delta)
    # It has teeth: who does not pay for the choice is refuted.
    unpaid = sum(klinv(error, math.log(1 / delta) / m) < risk for error in best)
    assert unpaid > most_failures(draws, delta)


@pytest.mark.parametrize("form", ["kl", "hoeffding"])
def test_occam_with_equal_lengths_is_the_finite_class(form):
    options = dict(num_samples=500, delta=0.05, form=form)
    code = occam_bound(0.1, num_bits=10, **options)
    assert code.value == pytest.approx(
        finite_class_bound(0.1, num_hypotheses=1024, **options).value
    )
    assert code.value == pytest.approx(code.empirical + sum(code.slack.values()))


@pytest.mark.parametrize("seed", range(2))
def test_occam_bound_covers_unequal_lengths(seed):
    # Lengths 1, 2, ..., 12, 12 satisfy Kraft; the lowest bound is reported.
    generator = np.random.default_rng(seed)
    draws, m, risk, delta = 1000, 50, 0.2, 0.1
    lengths = [*range(1, 13), 12]
    assert sum(2.0**-n for n in lengths) <= 1
    values = np.array(
        [
            [
                occam_bound(k / m, num_bits=bits, num_samples=m, delta=delta).value
                for k in range(m + 1)
            ]
            for bits in lengths
        ]
    )
    counts = generator.binomial(m, risk, (draws, len(lengths)))
    lowest = values[np.arange(len(lengths)), counts].min(axis=1)
    assert np.sum(lowest < risk) <= most_failures(draws, delta)


def test_classes_of_any_size_and_the_bound_itself():
    bound = finite_class_bound(
        0.25, num_hypotheses=2**5000, num_samples=100000, delta=0.05
    )
    assert 0.25 < bound.value < 1 and not bound.vacuous
    assert bound.num_samples == 100000 and bound.delta == 0.05
    assert all(a.status == "unchecked" for a in bound.assumptions)
    vacuous = finite_class_bound(
        0.25, num_hypotheses=2**5000, num_samples=10, form="hoeffding"
    )
    assert vacuous.value > 1 and vacuous.vacuous


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: hoeffding_slack(0, 0.1), "Received: num_samples=0"),
        (lambda: hoeffding_slack(9, 1.0), "Received: delta=1.0"),
        (lambda: hoeffding_slack(9, 0.1, log_count=-1), "Received: log_count=-1"),
        (lambda: bernstein_slack(9, 0.1, variance=-1, largest=1), "variance=-1"),
        (lambda: bernstein_slack(9, 0.1, variance=1, largest=nan), "largest=nan"),
        (
            lambda: bernstein_slack(9, 0.1, variance=1, largest=1, form="paper"),
            "`form` must be one of",
        ),
        (
            lambda: finite_class_bound(0.1, num_hypotheses=0, num_samples=9),
            "Received: num_hypotheses=0",
        ),
        (
            lambda: finite_class_bound(10, num_hypotheses=1, num_samples=9),
            "Received: train_error=10",
        ),
        (
            lambda: occam_bound(0.1, num_bits=-1, num_samples=9),
            "Received: num_bits=-1",
        ),
    ],
)
def test_refuses_bad_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()
