import math

import numpy as np
import pytest

from tf_genbounds.bounds import Assumption
from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds import LayerComplexity
from tf_genbounds.bounds import effective_parameters

MU, INTER = [0.2, 0.3, 0.4], [0.1, 0.1, 0.1]


def lemma(**options):
    options = {
        "constants": "explicit",
        "relative_error": 0.5,
        "num_samples": 1000,
        "width": 100,
        "delta": 0.1,
    } | options
    return effective_parameters(MU, INTER, [1.5] * 3, **options)


def test_lemma_3():
    result = lemma()
    assert sum(1 / (m * n) ** 2 for m, n in zip(MU, INTER, strict=True)) == (
        pytest.approx(4236.1111, rel=1e-7)
    )
    assert result.value == pytest.approx(3.68453405e8, rel=1e-8)
    # It covers what its own choice of eps_i and eta asks for.
    eta = 0.1 / (6 * 3**2 * 100**2 * 1000)
    needed = sum(
        math.log(1 / eta) / (0.5 * m * n / (6 * 1.5 * 3)) ** 2
        for m, n in zip(MU, INTER, strict=True)
    )
    assert needed == pytest.approx(2.76815e8, rel=1e-5)
    assert needed <= result.value


def test_safe_constants_cover_the_safe_number_of_matrices():
    eta = 0.1 / (6 * 3**2 * 100**2 * 1000)
    needed = 0
    for m, n in zip(MU, INTER, strict=True):
        eps = 0.5 * m * n / (6 * 1.5 * 3)
        needed += math.ceil(4 * math.log(4 / eta) / (eps**2 - 2 / 3 * eps**3))
    assert needed <= lemma(constants="safe").value
    assert lemma(constants="safe").value == pytest.approx(4.5 * lemma().value + 3)


def test_convolutions_enter_with_their_overlap_and_spread():
    plain = lemma()
    conv = lemma(patch_overlaps=[9, 9, 9], jacobian_spreads=[1, 2, 1])
    assert conv.value == pytest.approx(9 * 4 * plain.value)
    ignored = effective_parameters(
        MU, INTER, [1, 1.5, 2], patch_overlaps=[9, 4, 1],
        jacobian_spreads=[2, 3, 1],
    )  # fmt: skip
    by_hand = [
        9 * 4 / (0.2 * 0.1) ** 2,
        1.5**2 * 9 * 4 / (0.3 * 0.1) ** 2,
        2**2 / (0.4 * 0.1) ** 2,
    ]
    assert [layer.value for layer in ignored.layers] == pytest.approx(by_hand)
    assert ignored.value == pytest.approx(sum(by_hand))


def test_infinities():
    assert effective_parameters([0.0, 1], [1, 1], [1, 1]).value == math.inf
    assert effective_parameters([1, 1], [0, 1], [1, 1]).value == math.inf
    assert effective_parameters([1, 1], [1, 1], [1, math.inf]).value == math.inf
    assert effective_parameters([math.inf, 1], [1, 1], [1, 1]).value == 1
    # A layer that costs nothing, behind one that lets nothing through.
    dead = effective_parameters([math.inf, 1], [1, 1], [math.inf, 1])
    assert dead.value == math.inf


def test_extreme_numbers_do_not_warn():
    for constants in ("ignore", "explicit", "safe"):
        options = {} if constants == "ignore" else dict(
            relative_error=1e-200, num_samples=9, width=9
        )  # fmt: skip
        extreme = effective_parameters(
            [1e-200, 0.5], [1e-3, 0.5], [1.0, 1.0], constants=constants, **options
        )
        assert extreme.layers[0].value == math.inf


def test_assumptions_are_flagged():
    def statuses(**options):
        return [a.status for a in lemma(**options).assumptions]

    # The first says that it is no guarantee, and never holds.
    assert statuses()[:3] == ["failed", "unchecked", "checked"]
    # Draws of noise may refute that the smoothness is 3 d, and never prove it.
    for smoothness, status in [(9.0, "unchecked"), (math.inf, "unchecked")] + [
        (8.9, "failed"), (math.nan, "failed")
    ]:  # fmt: skip
        assert statuses(smoothness=smoothness)[:3] == ["failed", status, "checked"]
    # `ln(1 / eta) <= 2 ln(m d h / delta)` asks for 6 delta samples, and
    # `ln(4 / eta)` of the safe number of matrices for 24.
    for constants, least in [("explicit", 3), ("safe", 12)]:
        for num_samples, status in [(least - 1, "failed"), (least, "checked")]:
            found = statuses(constants=constants, num_samples=num_samples, delta=0.5)
            assert found[2] == status
            eta = 0.5 / (6 * 3**2 * 100**2 * num_samples)
            times = {"explicit": 1, "safe": 4}[constants]
            covers = math.log(times / eta) <= 2 * math.log(num_samples * 300 / 0.5)
            assert covers == (status == "checked")
    # Projections with a small error, of layers that may be dense.
    assert statuses()[3:] == ["checked", "unchecked"]
    assert statuses(patch_overlaps=[9, 9, 9])[4] == "failed"
    assert statuses(jacobian_spreads=[1, 2, 1])[4] == "failed"
    # eps_i = 1 * 4 / 6; and of a layer that needs no projection.
    for cushion, status in [(1.0, "checked"), (4.0, "failed"), (math.inf, "checked")]:
        coarse = effective_parameters(
            [cushion], [1], [1], constants="safe",
            relative_error=1.0, num_samples=99, width=9,
        )  # fmt: skip
        assert coarse.assumptions[3].status == status
    with pytest.raises(ValueError, match="`status` must be one of"):
        Assumption("x", "perhaps")


def test_table_1_of_the_paper():
    printed = [
        ("1", 1644.87, 1728, "95.189"),
        ("4", 644654.14, 147456, "437.184"),
        ("6", 3457882.42, 589824, "586.257"),
        ("9", 36920.60, 1179648, "3.130"),
        ("12", 22735.09, 2359296, "0.964"),
        ("15", 26583.81, 2359296, "1.127"),
        ("18", 5052.15, 262144, "1.927"),
    ]
    table = Complexity(
        name="", value=0.0, unit="", formula="", reference="",
        layers=tuple(LayerComplexity(*row[:3]) for row in printed),
    )  # fmt: skip
    *rows, total = table.rows()
    assert rows == [(n, f"{v:.2f}", str(p), text) for n, v, p, text in printed]
    assert total[0] == "total" and total[2] == str(sum(row[2] for row in printed))


def test_json_round_trip():
    result = effective_parameters(
        [0.0, 1], [1, 1], [1, 1], num_parameters=[3, 4], names=["a", "b"]
    )
    assert Complexity.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    "options, message",
    [
        ({"relative_error": None}, "`relative_error`"),
        ({"relative_error": 1.5}, "relative_error=1.5"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"width": None}, "`width`"),
        ({"delta": 1.0}, "delta=1.0"),
        ({"constants": "explict"}, "Did you mean 'explicit'"),
        ({"patch_overlaps": [1, 1]}, "patch_overlaps of shape"),
        ({"jacobian_spreads": [1, np.nan, 1]}, "`jacobian_spreads` must not be"),
    ],
)
def test_refuses_bad_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        lemma(**options)
