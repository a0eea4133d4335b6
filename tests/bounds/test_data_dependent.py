"""Probabilistic constants: printed value, coverage, and what is no bound."""

import math

import numpy as np
import pytest
from simulation import most_failures

from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds import ConcentrationConstants
from tf_genbounds.bounds import certified_ranges
from tf_genbounds.bounds import data_dependent_bound
from tf_genbounds.bounds import probabilistic_constants

nan = float("nan")
BASE = dict(
    num_samples=10000,
    num_outputs=10,
    log_num_paths=math.log(1000),
    features=(1.0, 1.0),
    products=(2.0, 3.0),
    delta=0.1,
    form="standard",
)


def bernstein(largest, variance, log, m=10000):
    return 2 * largest * log / (3 * m) + math.sqrt(2 * variance * log / m)


def test_general_targets_split_delta_in_three():
    constants = probabilistic_constants(**BASE, targets=(4.0, 5.0))
    assert constants.beta1 == pytest.approx(0.04609421, abs=5e-9)
    log = math.log(6 * 10 * 1000 / 0.1)
    assert constants.beta2 == pytest.approx(bernstein(2, 3, log))
    assert constants.beta3 == pytest.approx(bernstein(4, 5, math.log(30)))
    assert constants.mode == "probabilistic" and constants.delta == 0.1


def test_one_hot_targets_split_delta_in_two():
    constants = probabilistic_constants(**BASE)
    assert constants.beta1 == pytest.approx(bernstein(1, 1, math.log(2e4)))
    assert constants.beta2 == pytest.approx(bernstein(2, 3, math.log(4e5)))
    assert constants.beta3 == 0
    assert any("one-hot" in a.text for a in constants.assumptions)


def test_outputs_with_features_of_their_own_are_a_union_for_beta1():
    own = probabilistic_constants(**BASE, shared_features=False)
    assert own.beta1 == pytest.approx(bernstein(1, 1, math.log(2 * 10 * 1000 / 0.1)))
    shared = probabilistic_constants(**BASE)
    assert own.beta2 == shared.beta2 and own.beta3 == shared.beta3
    text = "all outputs have the same path features"
    assert [a.status for a in shared.assumptions if a.text == text] == ["unchecked"]
    assert not any(a.text == text for a in own.assumptions)
    # One output shares with nobody.
    one = [
        probabilistic_constants(**{**BASE, "num_outputs": 1}, shared_features=same)
        for same in (True, False)
    ]
    assert one[0].beta1 == one[1].beta1 == shared.beta1


def test_exact_root_is_tighter():
    exact = probabilistic_constants(**{**BASE, "form": "exact_root"})
    standard = probabilistic_constants(**BASE)
    assert exact.beta1 < standard.beta1 and exact.beta2 < standard.beta2


@pytest.mark.parametrize("seed", range(3))
def test_certified_ranges_hold_for_any_distribution(seed):
    generator = np.random.default_rng(seed)
    # The largest magnitude is 3, where the largest entry is 1.
    z = generator.uniform(-3, 1, (40, 5))
    z[0] = -3.0
    y = np.eye(3)[generator.integers(0, 3, 40)]
    p = generator.dirichlet(np.full(40, 0.1))
    ranges = certified_ranges(3 * math.sqrt(5), 3.0)
    outer = np.einsum("ni,nj->nij", z, z)
    centred = np.einsum("n,nij->ij", p, outer) - outer
    largest, variance = ranges["features"]
    assert np.linalg.eigvalsh(centred).max() <= largest
    second = np.einsum("n,nij->ij", p, centred @ centred)
    assert np.linalg.norm(second, 2) <= variance
    products = np.einsum("nk,ni->nki", y, z)
    deviation = products - np.einsum("n,nki->ki", p, products)
    largest, variance = ranges["products"]
    assert np.abs(deviation).max() <= largest
    assert np.einsum("n,nki->ki", p, deviation**2).max() <= variance


def test_certified_variance_of_long_features():
    # 3 or 0 with equal chances: z z^T is 9 or 0, with variance 81 / 4.
    assert certified_ranges(3.0, 3.0)["features"][1] >= 81 / 4


@pytest.mark.parametrize("m", [20, 2000])
@pytest.mark.parametrize("seed", range(2))
def test_covers_the_worst_weights(m, seed):
    # z is one of 6 units, each with its own chance of class 1. The weights are
    # chosen on the sample, so as to break the bound.
    generator = np.random.default_rng(seed)
    draws, paths, delta = 400, 6, 0.2
    mean = np.array([0.05, 0.2, 0.4, 0.6, 0.8, 0.95])
    constants = probabilistic_constants(
        num_samples=m,
        num_outputs=2,
        log_num_paths=math.log(paths),
        delta=delta,
        **certified_ranges(1.0, 1.0),
    )
    failures = unpaid = 0
    for _ in range(draws):
        units = generator.integers(0, paths, m)
        labels = generator.uniform(size=m) < mean[units]
        y = np.stack([~labels, labels], axis=1).astype(float)
        z = np.eye(paths)[units]
        chance = np.stack([1 - mean, mean], axis=1)
        excess = np.ones(paths) / paths - z.mean(axis=0)
        bracket = z.T @ y / m - chance / paths
        unseen = np.zeros((paths, 2))
        unseen[np.argmax(excess), 0] = 9.0
        broken = False
        for w in (np.sign(bracket), 9 * bracket, unseen, np.zeros((paths, 2))):
            train = np.mean(np.sum((z @ w - y) ** 2, axis=1))
            # E ||w_j - y||**2 over the units j and their labels.
            risk = np.mean(np.sum(w**2 - 2 * w * chance + chance, axis=1))
            bound = data_dependent_bound(
                train,
                constants=constants,
                weights_l2=np.linalg.norm(w, axis=0),
                weights_l1=np.abs(w).sum(axis=0),
            )
            broken |= bound.value < risk - 1e-9
            unpaid += train < risk - 1e-9
        failures += broken
    assert failures <= most_failures(draws, delta)
    # It has teeth: the training loss alone is refuted.
    assert unpaid > most_failures(draws, delta)


def test_a_bound_from_probabilistic_constants():
    constants = probabilistic_constants(**BASE)
    bound = data_dependent_bound(
        0.5, constants=constants, weights_l2=[3.0, 4.0], weights_l1=[4.0, 5.0]
    )
    assert isinstance(bound, Bound)
    assert bound.slack["features"] == pytest.approx(25 * constants.beta1)
    assert bound.slack["products"] == pytest.approx(18 * constants.beta2)
    assert bound.slack["targets"] == 0
    assert bound.value == pytest.approx(0.5 + sum(bound.slack.values()))
    assert "the squared loss is at most" in str(bound)
    assert "hold for every possible input" in str(bound)
    # A squared loss may exceed 1.
    assert not data_dependent_bound(
        7.0, constants=constants, weights_l2=[1.0], weights_l1=[1.0]
    ).vacuous


def test_plug_in_constants_never_make_a_bound():
    constants = ConcentrationConstants(0.1, 0.2, 0.0, "plug-in", 10)
    result = data_dependent_bound(
        0.5, constants=constants, weights_l2=[1.0], weights_l1=[1.0]
    )
    assert isinstance(result, Complexity)
    assert result.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"train_loss": -1.0}, "train_loss=-1.0"),
        ({"train_loss": nan}, "train_loss=nan"),
        ({"weights_l1": None}, "`weights_l1` must hold"),
        ({"weights_l2": [-1.0, 1.0]}, "`weights_l2` must hold"),
        ({"weights_l1": [0.5, 1.0]}, "at least `weights_l2`"),
        ({"weights_l1": [1.0]}, "at least `weights_l2`"),
        (
            {"constants": ConcentrationConstants(0, np.ones(3), 0, "plug-in", 9)},
            "one norm for each output",
        ),
        (
            {"constants": ConcentrationConstants(0, 0, 0, "exact", 9)},
            "`constants.mode` must be one of",
        ),
    ],
)
def test_bound_refuses_bad_arguments(change, match):
    options = dict(
        train_loss=0.5,
        constants=probabilistic_constants(**BASE),
        weights_l2=[1.0, 1.0],
        weights_l1=[1.0, 1.0],
    )
    options = {**options, **change}
    with pytest.raises(ValueError, match=match):
        data_dependent_bound(options.pop("train_loss"), **options)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"delta": 1.0}, "delta=1.0"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"num_outputs": 0}, "num_outputs=0"),
        ({"log_num_paths": -1.0}, "log_count=-1.0"),
        ({"features": (1.0, -1.0)}, "variance=-1.0"),
        ({"products": (nan, 1.0)}, "largest=nan"),
    ],
)
def test_constants_refuse_bad_arguments(change, match):
    with pytest.raises(ValueError, match=match):
        probabilistic_constants(**{**BASE, **change})


def test_ranges_refuse_bad_arguments():
    with pytest.raises(ValueError, match="feature_norm=-1"):
        certified_ranges(-1, 1)
    with pytest.raises(ValueError, match="feature_maximum=nan"):
        certified_ranges(1, nan)
