"""Effective parameters: the printed numbers, and the lemma they come from."""

import math

import numpy as np
import pytest

from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds import LayerComplexity
from tf_genbounds.bounds import effective_parameters
from tf_genbounds.bounds import patch_overlap

inf, nan = float("inf"), float("nan")

LEMMA = dict(
    layer_cushions=[0.2, 0.3, 0.4],
    minimal_interlayer_cushions=[0.1, 0.1, 0.1],
    contractions=[1.0, 1.5, 1.2],
    num_samples=1000,
    width=100,
    delta=0.1,
)

# Table 1 of the paper, whose percentages are truncated.
TABLE = [
    ("1", 1644.87, 1728, "95.189", 95.18),
    ("4", 644654.14, 147456, "437.184", 437.18),
    ("6", 3457882.42, 589824, "586.257", 586.25),
    ("9", 36920.60, 1179648, "3.130", 3.129),
    ("12", 22735.09, 2359296, "0.964", 0.963),
    ("15", 26583.81, 2359296, "1.127", 1.126),
    ("18", 5052.15, 262144, "1.927", 1.927),
]


def test_prints_table_1():
    layers = tuple(LayerComplexity(*row[:3]) for row in TABLE)
    complexity = Complexity("N", 0.0, (), "", layers)
    heading, *lines = complexity.to_table().splitlines()
    assert heading.split() == ["layer", "value", "parameters", "%"]
    for line, (name, value, parameters, percent, printed) in zip(
        lines, TABLE, strict=True
    ):
        assert line.split() == [name, f"{value:.2f}", str(parameters), percent]
        digits = 10 ** len(str(printed).split(".")[1])
        assert math.floor(float(percent) * digits + 1e-9) >= printed * digits - 1e-6
        assert abs(float(percent) - printed) < 1.01 / digits


def test_table_without_parameters():
    table = effective_parameters([1.0], [0.5], [1.0]).to_table()
    assert table.splitlines()[1].split() == ["1", "4.00", "-", "-"]


def test_ignoring_constants_is_the_sum_over_the_layers():
    # 4 * 4 * 9 / (0.25 * 0.25) = 2304 and 1 * 1 * 1 / (1 * 0.04) = 25.
    complexity = effective_parameters(
        [0.5, 1.0],
        [0.5, 0.2],
        [2.0, 1.0],
        jacobian_spreads=[2.0, 1.0],
        overlaps=[9, 1],
        num_parameters=[1000, 50],
        names=["conv", "dense"],
    )
    assert [layer.name for layer in complexity.layers] == ["conv", "dense"]
    np.testing.assert_allclose([n.value for n in complexity.layers], [2304, 25])
    np.testing.assert_allclose([n.percent for n in complexity.layers], [230.4, 50])
    assert complexity.value == pytest.approx(2329)
    assert isinstance(complexity, Complexity)


def test_figure_3_is_of_order_two_in_the_norm_to_margin_ratio():
    complexity = effective_parameters(
        [0.5], [0.5], [1.0], max_output_norm=6.0, margin=2.0
    )
    assert complexity.value == 16
    assert complexity.terms["figure_3"] == pytest.approx(16 * 9)
    negative = effective_parameters(
        [0.5], [0.5], [1.0], max_output_norm=6.0, margin=-2.0
    )
    assert negative.terms["figure_3"] == inf


def test_lemma_3_vector():
    complexity = effective_parameters(
        **LEMMA, constants="explicit", relative_error=0.5
    )
    assert complexity.terms["sum"] == pytest.approx(4236.1111, rel=1e-8)
    assert complexity.value == pytest.approx(3.68453405e8, rel=1e-8)
    # The lemma's own numbers of projections, rounded up, fit in.
    eta = 0.1 / (6 * 3**2 * 100**2 * 1000)
    assert eta == pytest.approx(1.85185e-10, rel=1e-5)
    cushions = np.array([0.02, 0.03, 0.04])
    errors = 0.5 * cushions / (6 * 1.5 * 3)
    np.testing.assert_allclose(errors, [3.7037e-4, 5.5556e-4, 7.4074e-4], rtol=1e-4)
    projections = np.ceil(math.log(1 / eta) / errors**2)
    assert projections.sum() == pytest.approx(2.76815e8, rel=1e-5)
    for layer, needed in zip(complexity.layers, projections, strict=True):
        assert layer.value >= needed


@pytest.mark.parametrize("num_samples", [3, 1000])
@pytest.mark.parametrize("cushion", [0.01, 1.0])
@pytest.mark.parametrize("delta", [0.01, 0.11])
def test_safe_constant_covers_the_safe_number_of_projections(
    num_samples, cushion, delta
):
    depth, width, error = 2, 1, 1.0
    complexity = effective_parameters(
        [cushion] * depth,
        [1.0] * depth,
        [1.0] * depth,
        constants="safe",
        num_samples=num_samples,
        width=width,
        delta=delta,
        relative_error=error,
    )
    assert not complexity.failed
    eta = delta / (6 * depth**2 * width**2 * num_samples)
    eps = error * cushion / (6 * depth)
    needed = math.ceil(4 * math.log(4 / eta) / (eps**2 - 2 / 3 * eps**3))
    assert complexity.layers[0].value >= needed


def test_theorem_4_1_and_its_safe_constant():
    theorem = effective_parameters(
        **LEMMA, constants="explicit", max_output_norm=10.0, margin=2.0
    )
    expected = (
        144 * 1.5**2 * 9 * math.log(1000 * 3 * 100 / 0.1) * 100 / 4 * 4236.111111
    )
    assert theorem.value == pytest.approx(expected, rel=1e-8)
    safe = effective_parameters(
        **LEMMA, constants="safe", max_output_norm=10.0, margin=2.0
    )
    assert safe.value / theorem.value == pytest.approx(648 / 144)


def test_conv_factors_enter_the_explicit_form_and_are_flagged():
    dense = effective_parameters(**LEMMA, constants="safe", relative_error=0.5)
    conv = effective_parameters(
        **LEMMA,
        constants="safe",
        relative_error=0.5,
        jacobian_spreads=[1.0, 2.0, 1.0],
        overlaps=[9, 9, 9],
    )
    assert conv.value == pytest.approx(dense.value * 4 * 9)
    assert any("every layer is dense" in a.text for a in conv.failed)
    assert not dense.failed


@pytest.mark.parametrize("constants", ["ignore", "explicit", "safe"])
@pytest.mark.parametrize(
    "cushions, onward, contraction",
    [(0, 1, 1), (1, 0, 1), (1, 1, inf), (inf, 0, 1), (inf, 1, inf)],
)
def test_dead_layers_are_infinite(constants, cushions, onward, contraction):
    complexity = effective_parameters(
        [0.5, cushions],
        [0.5, onward],
        [1.0, contraction],
        constants=constants,
        num_samples=10,
        width=10,
        relative_error=None if constants == "ignore" else 0.5,
    )
    assert complexity.value == inf
    assert complexity.layers[1].value == inf


def test_a_layer_without_a_share_costs_nothing():
    # The kernel is the initial one: nothing is left to compress.
    complexity = effective_parameters(
        [inf, 0.5], [0.5, 0.5], [1.0, 1.0], constants="safe",
        num_samples=100, width=10, relative_error=0.5,
    )
    assert complexity.layers[0].value == 0
    assert complexity.layers[1].value > 0
    assert not complexity.failed


@pytest.mark.parametrize("margin", [0.0, -3.0, -inf])
def test_no_margin_no_compression(margin):
    complexity = effective_parameters(
        **LEMMA, constants="explicit", max_output_norm=10.0, margin=margin
    )
    assert complexity.value == inf
    assert complexity.failed


def test_round_trips_through_json():
    first = effective_parameters(
        **LEMMA,
        constants="safe",
        relative_error=np.float64(0.5),
        num_parameters=np.array([1, 2, 3]),
    )
    second = Complexity.from_json(first.to_json())
    assert second == first
    assert second.to_table() == first.to_table()


@pytest.mark.parametrize("constants", ["ignore", "safe"])
def test_extreme_numbers_do_not_warn(constants):
    for margin in (1e-200, 1e200, inf):
        complexity = effective_parameters(
            [1e-200, 1.0, inf],
            [1e-3, 0.0, 1e-200],
            [1.0, 1e200, 1.0],
            constants=constants,
            num_samples=100,
            width=10,
            max_output_norm=1.0,
            margin=margin,
        )
        assert complexity.value == inf


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_is_invariant_under_scaling_the_logits(factor):
    first, second = (
        effective_parameters(
            **LEMMA, constants="safe", max_output_norm=10 * f, margin=2 * f
        )
        for f in (1.0, factor)
    )
    assert first.value == pytest.approx(second.value)


@pytest.mark.parametrize(
    "change",
    [
        {"layer_cushions": [0.1, 0.3, 0.4]},
        {"contractions": [1.0, 1.6, 1.2]},
        {"width": 101},
        {"num_samples": 1001},
        {"depth": 4},
        {"delta": 0.09},
        {"relative_error": 0.4},
    ],
)
def test_grows_with_every_factor(change):
    base = dict(LEMMA, constants="explicit", relative_error=0.5)
    first, second = (
        effective_parameters(**{**base, **c}) for c in ({}, change)
    )
    assert second.value > first.value


@pytest.mark.parametrize(
    "smoothness, status", [(None, "unchecked"), (9.0, "checked"), (8.9, "failed")]
)
@pytest.mark.parametrize("constants", ["ignore", "safe"])
def test_smoothness_of_three_times_the_depth(smoothness, status, constants):
    complexity = effective_parameters(
        **LEMMA,
        constants=constants,
        relative_error=None if constants == "ignore" else 0.5,
        smoothness=smoothness,
    )
    (assumption,) = [a for a in complexity.assumptions if "smooth" in a.text]
    assert assumption.status == status and "3 d = 9" in assumption.text


def test_flags_what_the_proof_does_not_allow():
    trivial = effective_parameters(
        **LEMMA, constants="safe", max_output_norm=1.0, margin=2.0
    )
    assert any("(0, 1]" in a.text for a in trivial.failed)
    few = effective_parameters(
        [0.5], [0.5], [1.0], constants="safe", num_samples=1, width=1,
        delta=0.5, relative_error=0.5,
    )
    assert any("at least 12.5 examples" in a.text for a in few.failed)
    # eps_i = 1 * 4 * 1 / 6.
    coarse = effective_parameters(
        [4.0], [1.0], [1.0], constants="safe", num_samples=100, width=1,
        relative_error=1.0,
    )
    assert any("1/6" in a.text for a in coarse.failed)


@pytest.mark.parametrize(
    "kernel_size, strides, dilation, expected",
    [
        ((3, 3), 1, 1, 9),
        ((3, 3), 2, 1, 4),
        ((11, 11), 4, 1, 9),
        ((5, 3), (2, 1), 1, 9),
        ((3, 3), 2, 2, 9),
        ((3, 3), 2, 3, 4),
        ((1, 1), 3, 1, 1),
        ((7,), 2, 1, 4),
    ],
)
def test_patch_overlap_counts_patches(kernel_size, strides, dilation, expected):
    assert patch_overlap(kernel_size, strides, dilation) == expected
    per_axis = np.broadcast_to(strides, len(kernel_size)).tolist()
    counts = [
        max(np.bincount([o * s + t * dilation for o in range(40) for t in range(k)]))
        for k, s in zip(kernel_size, per_axis, strict=True)
    ]
    assert math.prod(counts) == expected


@pytest.mark.parametrize(
    "arguments, match",
    [
        (([0.5], [0.5, 0.5], [1.0]), "each layer, 1. Received"),
        (([], [], []), "layer_cushions"),
        (([nan], [0.5], [1.0]), "layer_cushions"),
        (([-0.5], [0.5], [1.0]), "layer_cushions"),
        (([0.5], [0.5], [None]), "contractions"),
        (([0.5], None, [1.0]), "minimal_interlayer_cushions"),
        ((0.5, [0.5], [1.0]), "layer_cushions"),
    ],
)
def test_refuses_what_would_leave_out_a_layer(arguments, match):
    with pytest.raises(ValueError, match=match):
        effective_parameters(*arguments)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"constants": "exact"}, "`constants` must be one of"),
        ({"width": None}, "Received: width=None"),
        ({"num_samples": None}, "Received: num_samples=None"),
        ({"depth": 2}, "Received: depth=2"),
        ({"delta": 1.0}, "Received: delta=1.0"),
        ({"relative_error": None}, "Pass either `relative_error`"),
        ({"relative_error": 0.0}, "Received: relative_error=0.0"),
        ({"max_output_norm": 1.0, "margin": 1.0}, "Pass either"),
        ({"jacobian_spreads": [0.5, 1, 1]}, "at least 1"),
        ({"names": ["a"]}, "`names` must be"),
        ({"num_parameters": [1]}, "`num_parameters` must be"),
    ],
)
def test_refuses_bad_arguments(change, match):
    with pytest.raises(ValueError, match=match):
        effective_parameters(
            **{**LEMMA, "constants": "safe", "relative_error": 0.5, **change}
        )
