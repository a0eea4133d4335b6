"""Stability, robustness and counting: printed values, coverage, refusals."""

import math

import numpy as np
import pytest
from scipy import stats

from tf_genbounds import bounds

nan = float("nan")


@pytest.mark.parametrize("stability, value", [(1e-4, 0.11139367), (1e-3, 0.55378810)])
def test_printed_values(stability, value):
    options = dict(num_samples=10000, delta=0.05)
    bound = bounds.stability_bound(0.05, stability=stability, form="removal", **options)
    assert bound.value == pytest.approx(value, abs=5e-9)
    # Removal by b is replacement by 2 b.
    twice = bounds.stability_bound(0.05, stability=2 * stability, **options)
    assert twice.value == pytest.approx(bound.value, rel=1e-12)


def test_replacement_by_hand():
    bound = bounds.stability_bound(
        0.3, stability=0.01, num_samples=200, delta=0.1, largest=2.0
    )
    slack = 0.01 + (2 * 200 * 0.01 + 2) * math.sqrt(math.log(10) / 400)
    assert bound.value == pytest.approx(0.3 + slack, rel=1e-12)
    assert bound.trivial == 2.0


def test_the_mean_is_stable():
    """Squared error of the mean of coins: one replaced moves no loss by 2 / n."""
    generator = np.random.default_rng(0)
    size, chance, delta, draws = 400, 0.7, 0.2, 4000
    means = generator.binomial(size, chance, draws) / size
    empirical = means * (1 - means)
    risk = chance * (1 - means) ** 2 + (1 - chance) * means**2
    slack = bounds.stability_bound(
        0.0, stability=2 / size, num_samples=size, delta=delta
    ).value
    assert np.sum(empirical + slack < risk) <= stats.binom.isf(1e-8, draws, delta)
    # What memorizes changes a loss by all that there is, and gets no statement.
    assert bounds.stability_bound(0.0, stability=1.0, num_samples=size).vacuous


def test_measured_stability_is_no_guarantee():
    for bound in (
        bounds.stability_bound(0.1, stability=0.0, num_samples=100, estimated=True),
        bounds.robustness_bound(
            0.1, robustness=0.0, num_cells=1, num_samples=100, estimated=True
        ),
    ):
        assert bound.statement().startswith("NOT A GUARANTEE")


@pytest.mark.parametrize(
    "options, value",
    [
        (dict(smoothness=1, step_size=0.01, num_steps=5000, num_samples=1000), 0.1),
        (dict(case="strongly_convex", strong_convexity=0.1, num_samples=1000), 0.02),
        (
            dict(
                case="nonconvex",
                smoothness=1,
                step_size=1,
                num_steps=5000,
                num_samples=10000,
            ),
            0.02000200,
        ),
    ],
)
def test_sgd(options, value):
    found = bounds.sgd_stability(lipschitz=1.0, **options)
    assert found.value == pytest.approx(value, abs=5e-9)
    assert isinstance(found, bounds.Complexity)


def test_steps_of_a_quadratic_are_as_stable_as_is_said():
    """SGD on `(w - z)**2 / 2`: twins that differ in one example, by hand."""
    generator = np.random.default_rng(1)
    size, steps, step = 20, 60, 0.1
    differences = []
    for _ in range(300):
        z = generator.uniform(-1, 1, size)
        other = z.copy()
        other[0] = -np.sign(z[0])
        w = v = 0.0
        for i in generator.integers(size, size=steps):
            w, v = w - step * (w - z[i]), v - step * (v - other[i])
        differences.append(abs(w - v))
    # Gradients are at most 2 where w and z are in [-1, 1], and the loss 2-Lipschitz.
    claimed = bounds.sgd_stability(
        lipschitz=2.0, smoothness=1.0, step_size=step, num_steps=steps, num_samples=size
    ).value
    assert 0 < 2 * np.mean(differences) <= claimed


def test_majorities_of_cells_are_covered():
    """Cells by the label too: then the loss is constant within each of them."""
    generator = np.random.default_rng(2)
    cells, size, delta, draws = 40, 120, 0.1, 3000
    failures = without = 0
    slack = bounds.robustness_bound(
        0.0, robustness=0.0, num_cells=2 * cells, num_samples=size, delta=delta
    ).value
    for _ in range(draws):
        x = generator.integers(cells, size=size)
        y = generator.integers(2, size=size)
        ones, all_ = np.bincount(x, y, cells), np.bincount(x, minlength=cells)
        error = np.minimum(ones, all_ - ones).sum() / size
        failures += error + slack < 0.5
        without += error < 0.5
    assert failures <= stats.binom.isf(1e-8, draws, delta)
    assert without > 0.9 * draws  # Without the cells it would be false.


def test_robustness_by_hand():
    bound = bounds.robustness_bound(
        0.1, robustness=0.05, num_cells=3, num_samples=500, delta=0.1, largest=2.0
    )
    slack = 2 * math.sqrt((6 * math.log(2) + 2 * math.log(10)) / 500)
    assert bound.value == pytest.approx(0.15 + slack, rel=1e-12)


def test_counts_are_complexities():
    found = bounds.meta_theorem_complexity(25, num_samples=100)
    assert found.value == 0.5 and found.failed
    found = bounds.vc_complexity(100, num_samples=400, depth=2)
    assert found.value == pytest.approx(math.sqrt(200 * math.log(100) / 400))
    assert "not a bound" in found.statement()


CALLS = {
    "stability": lambda **o: bounds.stability_bound(
        **{"empirical": 0.1, "stability": 0.1, "num_samples": 9, **o}
    ),
    "robustness": lambda **o: bounds.robustness_bound(
        **{"empirical": 0.1, "robustness": 0.1, "num_cells": 2, "num_samples": 9, **o}
    ),
    "sgd": lambda **o: bounds.sgd_stability(
        **{
            "lipschitz": 1.0,
            "smoothness": 1.0,
            "step_size": 0.1,
            "num_steps": 9,
            "num_samples": 9,
            **o,
        }
    ),
    "vc": lambda **o: bounds.vc_complexity(
        **{"num_parameters": 9, "num_samples": 9, **o}
    ),
    "meta": lambda **o: bounds.meta_theorem_complexity(
        **{"num_parameters": 9, "num_samples": 9, **o}
    ),
}


@pytest.mark.parametrize(
    "name, options",
    [
        ("stability", dict(empirical=nan)),
        ("stability", dict(empirical=1.1)),
        ("stability", dict(stability=nan)),
        ("stability", dict(stability=-0.1)),
        ("stability", dict(largest=math.inf)),
        ("stability", dict(num_samples=0)),
        ("stability", dict(delta=1.0)),
        ("stability", dict(form="remove")),
        ("robustness", dict(empirical=-0.1)),
        ("robustness", dict(robustness=nan)),
        ("robustness", dict(num_cells=0)),
        ("robustness", dict(delta=0.0)),
        ("sgd", dict(lipschitz=nan)),
        ("sgd", dict(num_steps=None)),
        ("sgd", dict(num_samples=1)),
        ("sgd", dict(step_size=3.0)),
        ("sgd", dict(case="strongly_convex")),
        ("vc", dict(num_parameters=1)),
        ("vc", dict(depth=0)),
        ("meta", dict(num_parameters=nan)),
    ],
)
def test_bad_input(name, options):
    with pytest.raises(ValueError, match="Received: "):
        CALLS[name](**options)
