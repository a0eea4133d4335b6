"""Norm-based bounds with constants: printed values, the grid, brute force."""

import itertools
import math

import numpy as np
import pytest

from tf_genbounds import bounds
from tf_genbounds.bounds import grid

inf, nan = float("inf"), float("nan")
GOLDEN = (1 + 5**0.5) / 2
PRODUCTS = [
    "neyshabur",
    "golowich_frobenius",
    "golowich_l1_inf",
    "golowich_l1_inf_tight",
]


def product(**change):
    options = dict(
        margins=np.full(400, 3.0),
        norms=[1.5, 2.0],
        margin=1.0,
        num_classes=1,
        input_bound=1.0,
        num_inputs=4,
        chosen_after_training=False,
    )
    options = {**options, **change}
    return bounds.norm_product_bound(options.pop("margins"), **options)


@pytest.mark.parametrize(
    "theorem, complexity",
    [
        ("neyshabur", 2 * 3 / 20),
        ("golowich_frobenius", (math.sqrt(4 * math.log(2)) + 1) * 3 / 20),
        ("golowich_l1_inf", 2 * math.sqrt(3 + math.log(4)) * 3 / 20),
        (
            "golowich_l1_inf_tight",
            math.sqrt(2 * (3 * math.log(2) + math.log(4))) * 3 / 20,
        ),
    ],
)
def test_products_by_hand(theorem, complexity):
    bound = product(theorem=theorem)
    assert bound.empirical == 0
    assert bound.slack["complexity"] == pytest.approx(2 * complexity, rel=1e-12)
    # By the sample: every input is as long as the limit.
    inputs = np.ones((400, 4)) * (0.5 if "l1" not in theorem else 1.0)
    seen = product(theorem=theorem, inputs=inputs, input_bound=None)
    assert seen.slack["complexity"] == pytest.approx(2 * complexity, rel=1e-12)
    assert seen.slack["confidence"] > bound.slack["confidence"]


def test_a_product_that_is_exact_is_not_rounded():
    paid = product(chosen_after_training=True, norms=[1.0, 4.0], margin=1.5)
    free = product(norms=[2.0, 2.0])
    assert paid.slack["complexity"] == free.slack["complexity"]
    above = product(chosen_after_training=True, norms=[1.0, 4.000001])
    assert above.slack["complexity"] == 2 * paid.slack["complexity"]
    share = 0.05 * (3 / math.pi**2) ** 2 / 3**2  # 2**2 for the norms, 2**0.
    expected = math.sqrt(math.log(1 / share) / 800)
    assert paid.slack["confidence"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("theorem", PRODUCTS)
def test_scales_that_no_function_sees_change_nothing(theorem):
    free = product(theorem=theorem)
    moved = product(theorem=theorem, norms=[1.5 * 8, 2.0 / 8])
    scaled = product(
        theorem=theorem, norms=[1.5, 10.0], margin=5.0, margins=np.full(400, 15.0)
    )
    for bound in (moved, scaled):
        assert bound.value == pytest.approx(free.value, rel=1e-12)


@pytest.mark.parametrize("theorem", PRODUCTS)
def test_no_network_of_the_class_beats_its_complexity(theorem):
    """All signs of 8 samples, against the best of many networks of two layers."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 3))
    first = generator.normal(size=(3000, 5, 3))
    last = generator.normal(size=(3000, 5))
    if "l1" in theorem:
        norms = np.abs(first).sum(2).max(1) * np.abs(last).sum(1)
    else:
        norms = np.linalg.norm(first, axis=(1, 2)) * np.linalg.norm(last, axis=1)
    outputs = np.maximum(first @ x.T, 0)
    outputs = np.einsum("nh,nhm->nm", last, outputs) / norms[:, None]
    outputs = np.concatenate([outputs, -outputs])
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    beaten = (signs @ outputs.T).max(1).mean() / 8
    bound = product(
        theorem=theorem,
        margins=np.ones(8),
        norms=[1.0, 1.0],
        inputs=x,
        input_bound=None,
        margin=0.5,
    )
    assert 0.02 < beaten <= bound.slack["complexity"] * 0.5 / 2


def test_coins_for_labels_are_not_learnt():
    """A linear network with more dimensions than samples, by all of the theorems."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(300, 600))
    y = generator.choice((-1.0, 1.0), 300)
    w = x.T @ np.linalg.solve(x @ x.T, y)
    margins = y * (x @ w)
    found = [
        product(
            theorem=theorem,
            margins=margins,
            norms=[np.abs(w).sum() if "l1" in theorem else np.linalg.norm(w)],
            margin=0.9,
            inputs=x,
            input_bound=None,
            chosen_after_training=True,
        )
        for theorem in PRODUCTS
    ]
    found.append(
        bounds.spectral_bound(
            margins,
            spectral_norms=[np.linalg.norm(w)],
            distances=[np.linalg.norm(w)],
            margin=0.9,
            input_norm=np.linalg.norm(x),
            width=600,
        )
    )
    for bound in found:
        assert bound.empirical == 0 and bound.value > 0.5
        assert bound.slack["confidence"] < 0.5  # Alone it would be false.


def test_spectral_complexity_as_printed():
    found = bounds.spectral_complexity([2.0, GOLDEN], [3.0, 1 + 2**0.5])
    assert found == pytest.approx(13.6931479, abs=5e-8)
    twice = bounds.spectral_complexity([2.0, GOLDEN], [3.0, 1 + 2**0.5], [3.0, 0.5])
    assert twice == pytest.approx(1.5 * found)
    moved = bounds.spectral_complexity([2.0 * 7, GOLDEN / 7], [21.0, (1 + 2**0.5) / 7])
    assert moved == pytest.approx(found)


def spectral(**change):
    options = dict(
        margins=np.full(1000, 2.0),
        spectral_norms=[2.0, GOLDEN],
        distances=[3.0, 1 + 2**0.5],
        margin=1.0,
        input_norm=1000**0.5,
        width=2,
        chosen_after_training=False,
    )
    options = {**options, **change}
    return bounds.spectral_bound(options.pop("margins"), **options)


def test_spectral_bound_as_printed():
    bound = spectral()
    assert bound.slack["discretization"] == pytest.approx(8 / 1000**1.5)
    printed = bound.slack["complexity"] + bound.slack["discretization"]
    assert printed == pytest.approx(319.2348585, abs=1e-7)
    expected = 3 * math.sqrt(math.log(40) / 2000)
    assert bound.slack["confidence"] == pytest.approx(expected)


def test_each_norm_is_on_a_grid_of_roots():
    paid = spectral(chosen_after_training=True, margin=1.9)
    rounded = [
        [2.0, 2.0],  # The golden ratio lies between 2**(1/2) and 2.
        [2.0**2, 2.0**1.5],
    ]
    free = spectral(spectral_norms=rounded[0], distances=rounded[1])
    complexity = paid.slack["complexity"]
    assert complexity == pytest.approx(free.slack["complexity"], rel=1e-12)
    exponents = (0, 2, 2, 4, 3)
    share = 0.05 * math.prod(3 / (math.pi * (j + 1)) ** 2 for j in exponents)
    expected = 3 * math.sqrt(math.log(2 / share) / 2000)
    assert paid.slack["confidence"] == pytest.approx(expected)


@pytest.mark.parametrize("root", [1, 2, 3, 7])
def test_roots_are_rounded_up_and_no_further(root):
    for value in (*np.random.default_rng(2).lognormal(0, 9, 60), 2.0, 8.0, 1e-300):
        point, exponent = grid.root_rounded_up(value, root)
        assert value <= point
        assert 2.0 ** ((exponent - 1) / root) <= value * (1 + 1e-14)
        assert point == pytest.approx(2.0 ** (exponent / root), rel=1e-14)


def test_zero_layers_and_infinite_norms():
    assert bounds.spectral_complexity([0.0, 2.0], [0.0, 3.0]) == 0
    # From a reference that is not zero, it is a distance that counts.
    found = bounds.spectral_complexity([0.0, 2.0], [5.0, 3.0])
    assert found == pytest.approx(10.0)
    assert product(norms=[0.0, 3.0]).slack["complexity"] == 0
    assert product(norms=[0.0, 3.0], chosen_after_training=True).slack["complexity"] > 0
    for bound in (
        product(norms=[inf, 0.0]),
        product(norms=[1e200, 1e200], chosen_after_training=True),
        product(margin=-1.0),
        spectral(spectral_norms=[inf, 1.0]),
        spectral(margin=0.0, chosen_after_training=True),
    ):
        assert bound.value == inf and bound.vacuous


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: product(norms=[]), "norms="),
        (lambda: product(norms=[nan]), "norms="),
        (lambda: product(norms=[-1.0]), "norms="),
        (lambda: product(inputs=np.ones((400, 4))), "either `inputs` or"),
        (lambda: product(input_bound=None), "either `inputs` or"),
        (lambda: product(input_bound=nan), "input_bound=nan"),
        (
            lambda: product(theorem="golowich_l1_inf", num_inputs=None),
            "num_inputs=None",
        ),
        (
            lambda: product(inputs=np.full((400, 4), nan), input_bound=None),
            "must be finite",
        ),
        (lambda: product(inputs=np.ones((3, 4)), input_bound=None), "400 margins"),
        (lambda: product(margin=inf), "margin=inf"),
        (lambda: product(num_classes=0), "num_classes=0"),
        (lambda: product(theorem="golowitch"), "golowich"),
        (lambda: product(delta=0.0), "delta=0.0"),
        (lambda: spectral(distances=[1.0]), "one number for each layer"),
        (lambda: spectral(spectral_norms=[nan, 1.0]), "spectral_norms="),
        (lambda: spectral(lipschitz_constants=[-1.0, 1.0]), "lipschitz_constants="),
        (lambda: spectral(input_norm=nan), "input_norm=nan"),
        (lambda: spectral(width=0), "width=0"),
        (lambda: spectral(margins=[1.0]), "at least 2 examples"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
