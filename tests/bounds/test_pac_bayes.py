"""PAC-Bayes: printed values, a slow twin, what all forms follow from, coverage."""

import json
import math
import pathlib

import numpy as np
import pytest
from scipy import special
from scipy import stats

from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import disintegrated_bound
from tf_genbounds.bounds import gaussian_kl
from tf_genbounds.bounds import gaussian_log_ratio
from tf_genbounds.bounds import gibbs_bound
from tf_genbounds.bounds import pac_bayes_bound
from tf_genbounds.bounds.pac_bayes import FORMS

FIXTURES = json.loads(
    (pathlib.Path(__file__).parents[1] / "fixtures" / "pac_bayes.json").read_text()
)
nan = float("nan")


def twin_klinv(q, c):
    """The largest mean that is not refuted, by the plain formula."""
    if q == 1:
        return 1.0
    low, high = q, np.nextafter(1.0, 0.0)
    for _ in range(100):
        p = (low + high) / 2
        kl = special.rel_entr(q, p) + special.rel_entr(1 - q, 1 - p)
        low, high = (p, high) if kl <= c else (low, p)
    return high


def twin(empirical, kl, num_samples, delta, form):
    """The table of the forms, written down again."""
    m = num_samples
    confidence = {
        "maurer": (math.log(2 * math.sqrt(m) / delta), m),
        "maurer_pinsker": (math.log(2 * math.sqrt(m) / delta), m),
        "langford_seeger": (math.log((m + 1) / delta), m),
        "dziugaite_roy": (math.log(m / delta), m - 1),
        "textbook": (math.log(m / delta), m - 1),
        "mcallester": (math.log(1 / delta) + math.log(m) + 2, (2 * m - 1) / 2),
    }
    nats, by = confidence[form]
    rate = (kl + nats) / by
    if form in ("maurer", "langford_seeger", "dziugaite_roy"):
        return twin_klinv(empirical, rate)
    return min(empirical + math.sqrt(rate / 2), 1.0)


@pytest.mark.parametrize("case", FIXTURES["pac_bayes_bound"])
def test_printed_values(case):
    options = {key: case[key] for key in case if key not in ("value", "empirical")}
    bound = pac_bayes_bound(case["empirical"], **options)
    assert bound.value == pytest.approx(case["value"], abs=5.1e-9)
    assert twin(case["empirical"], **options) == pytest.approx(bound.value, abs=1e-12)
    assert sum(bound.slack.values()) + bound.empirical == pytest.approx(bound.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("m", [2, 9, 1000, 60000])
@pytest.mark.parametrize("kl", [0.0, 0.3, 40.0, 1e5])
def test_the_twin_says_the_same(form, m, kl):
    for empirical in (0.0, 0.01, 0.5, 1.0):
        options = dict(kl=kl, num_samples=m, delta=0.03, form=form)
        value = pac_bayes_bound(empirical, **options).value
        assert value == pytest.approx(twin(empirical, **options), abs=1e-12)
        # The Maurer line is the smallest; Pinsker's root is never smaller.
        options["form"] = "maurer"
        assert pac_bayes_bound(empirical, **options).value <= value + 1e-12


@pytest.mark.parametrize("case", FIXTURES["gibbs_bound"])
def test_printed_gibbs_risks(case):
    value = gibbs_bound(
        case["empirical"], num_draws=case["num_draws"], delta=case["delta"]
    ).value
    assert value == pytest.approx(case["value"], abs=1e-10)
    rate = math.log(1 / case["delta"]) / case["num_draws"]
    assert value == pytest.approx(twin_klinv(case["empirical"], rate), abs=1e-13)


@pytest.mark.parametrize("case", FIXTURES["disintegrated_bound"])
def test_printed_disintegrated_values(case):
    options = {key: case[key] for key in case if key not in ("value", "empirical")}
    found = disintegrated_bound(case["empirical"], **options)
    assert found.value == pytest.approx(case["value"], abs=5.1e-9)


@pytest.mark.parametrize("case", FIXTURES["gaussian_kl"])
def test_printed_divergences(case):
    arguments = (
        case["mean"],
        np.sqrt(case["variance"]),
        case["prior_mean"],
        np.sqrt(case["prior_variance"]),
    )
    assert gaussian_kl(*arguments) == pytest.approx(case["value"], abs=5e-9)
    assert gaussian_kl(*arguments) >= case["value"] - 5e-9


@pytest.mark.parametrize("case", FIXTURES["dziugaite_roy_2017"])
def test_the_table_of_dziugaite_and_roy(case):
    # The grid of prior variances: c exp(-j / b) has the share 6 / (pi j)**2.
    j = 100 * (math.log(0.1) + 8)
    options = dict(
        kl=case["kl"],
        num_samples=55000,
        delta=0.025,
        form="dziugaite_roy",
        num_priors=math.pi**2 * j**2 / 6,
    )
    value = pac_bayes_bound(case["train_error"], **options).value
    assert value == pytest.approx(case["value"], abs=5.1e-5)
    draws = gibbs_bound(
        case["train_error"], num_draws=150000, delta=0.01, form="two_sided"
    )
    both = pac_bayes_bound(draws, **options)
    assert both.value == pytest.approx(case["with_draws"], abs=5.1e-5)
    assert both.delta == 0.035


def test_random_labels_are_vacuous_by_the_root():
    options = dict(kl=201131, num_samples=55000, delta=0.025, num_priors=5e5)
    assert pac_bayes_bound(0.112, **options, form="textbook").vacuous
    assert pac_bayes_bound(0.112, **options).value < 0.99


def moment(m):
    """`E exp(m kl(mean, p))` at its worst: `sum_k C(m, k) (k/m)^k (1 - k/m)^(m-k)`."""
    k = np.arange(m + 1)
    logs = (
        special.gammaln(m + 1)
        - special.gammaln(k + 1)
        - special.gammaln(m - k + 1)
        + special.xlogy(k, k / m)
        + special.xlogy(m - k, 1 - k / m)
    )
    return math.exp(special.logsumexp(logs))


def test_the_constants_are_those_of_the_moment_for_every_small_sample():
    for m in range(1, 400):
        found = moment(m)
        assert found <= 2 * math.sqrt(m) * (1 + 1e-12) <= (m + 1) * (1 + 1e-12), m
        if m > 1:
            assert m * math.log(m) >= (m - 1) * math.log(found)


def gaussian_twin(mean, std, prior_mean, prior_std):
    """By the definition, an integral for each coordinate."""
    total = 0.0
    for u, s, u0, s0 in zip(mean, std, prior_mean, prior_std, strict=True):
        x = u + s * np.linspace(-12, 12, 200001)
        own = stats.norm.logpdf(x, u, s)
        terms = np.exp(own) * (own - stats.norm.logpdf(x, u0, s0))
        total += float(np.trapezoid(terms, x))
    return total


@pytest.mark.parametrize("seed", [0, 1])
def test_divergence_is_the_integral(seed):
    generator = np.random.default_rng(seed)
    mean, prior_mean = generator.normal(size=(2, 4))
    std, prior_std = generator.uniform(0.1, 2, size=(2, 4))
    expected = gaussian_twin(mean, std, prior_mean, prior_std)
    found = gaussian_kl(mean, std, prior_mean, prior_std)
    assert found == pytest.approx(expected, rel=1e-8)
    # The mean of the log ratio over the posterior.
    draws = mean + std * generator.normal(size=(20000, 4))
    ratios = [gaussian_log_ratio(w, mean, std, prior_mean, prior_std) for w in draws]
    error = np.std(ratios) / math.sqrt(len(ratios))
    assert abs(np.mean(ratios) - found) < 5 * error


def test_log_ratio_is_that_of_the_densities():
    w, u, s, u0, s0 = np.random.default_rng(2).uniform(0.5, 2, size=(5, 7))
    expected = stats.norm.logpdf(w, u, s).sum() - stats.norm.logpdf(w, u0, s0).sum()
    assert gaussian_log_ratio(w, u, s, u0, s0) == pytest.approx(expected)


def test_divergences_of_lists_of_arrays():
    mean = [np.ones((2, 3), "float32"), np.zeros(3)]
    one, two = gaussian_kl(mean, 0.5, [0.0, 0.0], 0.5, per_array=True)
    assert (one, two) == (pytest.approx(12.0), pytest.approx(0.0, abs=1e-12))
    assert gaussian_kl(mean, 0.5, [0.0, 0.0], 0.5) == pytest.approx(12.0)
    assert two >= 0


def test_a_divergence_near_zero_is_not_lost_in_rounding():
    # Exactly the third order of ln: x**2 / 4 with x = (s / s0)**2 - 1.
    found = gaussian_kl(0.0, 1 + 1e-7, 0.0, 1.0)
    assert 1e-14 <= found < 2e-13
    large = gaussian_kl(np.zeros(10**6), 0.03, np.zeros(10**6), 0.03)
    assert 0 <= large < 1e-7


# A solvable family: 0-1 losses of the experts are independent of each other, and the
# posterior is the Gibbs one, `Q ~ P exp(-b Rhat)`, whatever the temperature.
DRAWS, DELTA = 10000, 0.1


def posteriors(risks, m, temperature, seed):
    """Empirical risks, and the posterior's risk, seen risk and divergence."""
    generator = np.random.default_rng(seed)
    seen = generator.binomial(m, risks, size=(DRAWS, len(risks))) / m
    prior = np.full(len(risks), 1 / len(risks))
    q = special.softmax(-temperature * seen, axis=1)
    kl = special.xlogy(q, q / prior).sum(1)
    return seen, q, kl


FAMILIES = {
    "all alike": np.full(50, 0.2),
    "a coin": np.full(200, 0.5),
    "one good": np.r_[0.05, np.full(20, 0.5)],
    "constant": np.array([0.3]),
    "dead": np.r_[0.0, np.ones(3), 0.2],
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0.0, 30.0, 1e4])
def test_covers_the_posterior_that_looked_best(family, temperature):
    risks, m = FAMILIES[family], 60
    seen, q, kl = posteriors(risks, m, temperature, 0)
    ehat, e = (q * seen).sum(1), q @ risks
    most = stats.binom.isf(1e-8, DRAWS, DELTA)
    nats = kl + math.log(1 / DELTA)
    # The event of each form, without an inversion: kl(ehat || e) at most the rate.
    divergence = special.rel_entr(ehat, e) + special.rel_entr(1 - ehat, 1 - e)
    divergence = np.where(e > ehat, divergence, 0)
    failed = divergence > (nats + math.log(2 * math.sqrt(m))) / m + 1e-12
    assert failed.sum() <= most
    # And by the function itself, for the draws that came nearest.
    near = np.argsort(kl / m - divergence)[:60]
    for form in FORMS:
        for i in near:
            value = pac_bayes_bound(
                min(ehat[i], 1.0),
                kl=max(kl[i], 0.0),
                num_samples=m,
                delta=DELTA,
                form=form,
            ).value
            assert value >= e[i] - 1e-12 or failed[i]


def test_it_has_teeth():
    # Who forgets the divergence from the best of 3,000 coins is refuted.
    m, draws = 60, 400
    best = np.random.default_rng(0).binomial(m, 0.5, (draws, 3000)).min(1) / m

    def failures(kl):
        return sum(
            pac_bayes_bound(p, kl=kl, num_samples=m, delta=DELTA).value < 0.5
            for p in best
        )

    most = stats.binom.isf(1e-8, draws, DELTA)
    assert failures(math.log(3000)) <= most < failures(0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_disintegrated_form_covers_the_one_that_was_drawn(family):
    risks, m = FAMILIES[family], 60
    seen, q, _ = posteriors(risks, m, 30.0, 1)
    generator = np.random.default_rng(2)
    picks = (q.cumsum(1) < generator.random((DRAWS, 1))).sum(1).clip(0, len(risks) - 1)
    own = np.arange(DRAWS)
    ratios = np.log(q[own, picks] * len(risks))
    fails = sum(
        disintegrated_bound(
            seen[i, picks[i]], log_ratio=ratios[i], num_samples=m, delta=DELTA
        ).value
        < risks[picks[i]]
        for i in range(2000)
    )
    assert fails <= stats.binom.isf(1e-8, 2000, DELTA)


@pytest.mark.parametrize("passes, blocks", [(1, 1), (3, 7), (20, 2)])
def test_draws_in_blocks_cover_the_gibbs_risk(passes, blocks):
    # A sample whose blocks are not alike: block i is wrong with probability p_i / b
    # or all at once, so that its error is far from binomial.
    generator = np.random.default_rng(3)
    rates = np.linspace(0.05, 0.6, blocks)
    wrong = generator.random((4000, passes, blocks)) < rates
    means = wrong.mean((1, 2))
    fails = sum(
        gibbs_bound(p, num_draws=passes * blocks, delta=0.2).value < rates.mean()
        for p in means
    )
    assert fails <= stats.binom.isf(1e-8, 4000, 0.2)


def test_draws_of_the_weights_are_paid_for_and_named():
    draws = gibbs_bound(0.0103, num_draws=24000)
    bound = pac_bayes_bound(draws, kl=2.0, num_samples=30000, delta=0.04)
    assert isinstance(bound, Bound) and bound.delta == 0.05
    assert set(bound.slack) == {"divergence and confidence", "draws of the weights"}
    assert bound.empirical == 0.0103
    upper = twin_klinv(0.0103, math.log(100) / 24000)
    expected = twin(upper, 2.0, 30000, 0.04, "maurer")
    assert bound.value == pytest.approx(expected, abs=1e-12)
    text = str(bound)
    assert "each of the 24,000 errors is of fresh weights" in text
    assert "randomized classifier" in text
    assert "the prior does not depend on these samples" in text
    assert Bound.from_json(bound.to_json()) == bound


@pytest.mark.parametrize("form", FORMS)
def test_grows_with_what_costs_and_shrinks_with_the_sample(form):
    def value(**change):
        options = dict(kl=5.0, num_samples=500, delta=0.1, form=form)
        return pac_bayes_bound(0.1, **{**options, **change}).value

    assert value() < value(kl=5.1)
    assert value() < value(delta=0.09)
    assert value() < value(num_priors=2)
    assert value() > value(num_samples=520)
    assert value(num_priors=4) == pytest.approx(value(kl=5 + math.log(4)))


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda **k: pac_bayes_bound(nan, **k), "Received: empirical=nan"),
        (lambda **k: pac_bayes_bound(1.1, **k), "Received: empirical=1.1"),
        (lambda **k: pac_bayes_bound(0.1, **{**k, "kl": nan}), "Received: kl=nan"),
        (lambda **k: pac_bayes_bound(0.1, **{**k, "kl": -1.0}), "Received: kl=-1"),
        (lambda **k: pac_bayes_bound(0.1, **k, form="catoni"), "must be one of"),
        (lambda **k: pac_bayes_bound(0.1, **k, delta=0), "Received: delta=0"),
        (lambda **k: pac_bayes_bound(0.1, **k, num_priors=0), "num_priors=0"),
        (
            lambda **k: pac_bayes_bound(0.1, kl=1, num_samples=1, form="textbook"),
            "at least two samples",
        ),
        (
            lambda **k: pac_bayes_bound(
                gibbs_bound(0.1, num_draws=9, delta=0.6), **k, delta=0.5
            ),
            "together be below 1",
        ),
        (lambda **k: gibbs_bound(nan, num_draws=9), "Received: empirical=nan"),
        (lambda **k: gibbs_bound(0.1, num_draws=0), "Received: num_draws=0"),
        (
            lambda **k: disintegrated_bound(0.1, log_ratio=nan, num_samples=9),
            "log_ratio=nan",
        ),
        (lambda **k: gaussian_kl([0.0], [0.0], 0.0, 1.0), "positive. Received: from 0"),
        (lambda **k: gaussian_kl([0.0], 1.0, 0.0, [-1.0]), "positive"),
        (lambda **k: gaussian_kl([nan], 1.0, 0.0, 1.0), "must be finite"),
        (lambda **k: gaussian_kl(np.zeros(3), 1.0, np.zeros(2), 1.0), "shape"),
        (lambda **k: gaussian_kl([np.zeros(3)], 1.0, [], 1.0), "1 and 0 arrays"),
    ],
)
def test_refuses_by_name(call, match):
    with pytest.raises(ValueError, match=match):
        call(kl=1.0, num_samples=10)


def test_infinite_divergence_says_nothing():
    bound = pac_bayes_bound(0.1, kl=math.inf, num_samples=100)
    assert bound.value == 1.0 and bound.vacuous
    found = disintegrated_bound(0.1, log_ratio=math.inf, num_samples=100)
    assert found.value == 1.0
