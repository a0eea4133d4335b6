"""What norm-based bounds grow with: worked numbers, invariances, edges."""

import math

import numpy as np
import pytest

from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds import norm_based_complexities
from tf_genbounds.bounds import truncation_parameters

FIRST, SECOND = np.diag([2.0, 1.0]), np.array([[1.0, 1.0], [0.0, 1.0]])
CODE = {"variant": "neyshabur-code", "num_samples": 1000, "num_inputs": 2}
CODE["num_parameters"] = 8


def norms(*matrices):
    return {
        "spectral_norms": [np.linalg.norm(a, 2) for a in matrices],
        "frobenius_norms": [np.linalg.norm(a) for a in matrices],
        "l1_inf_norms": [np.abs(a).sum(axis=1).max() for a in matrices],
        "l21_norms": [np.linalg.norm(a, axis=1).sum() for a in matrices],
        "num_units": [len(a) for a in matrices],
    }


def values(*matrices, margin=1.0, **options):
    found = norm_based_complexities(**norms(*matrices), margin=margin, **options)
    return np.array([c.value for c in found.values()])


def test_worked_numbers():
    np.testing.assert_allclose(
        values(FIRST, SECOND), [16, 15, 46.8760144, 50.1803399], rtol=1e-8
    )


def test_the_code_of_an_author():
    alpha = math.sqrt(2 + math.log(2))
    spectral = np.linalg.norm(SECOND, 2)
    logarithms = math.log(1000) * math.log(8)
    sums = (1.5 ** (2 / 3) + ((1 + math.sqrt(2)) / spectral) ** (2 / 3)) ** 1.5
    expected = [
        alpha * 4,
        alpha * math.sqrt(15),
        logarithms * 2 * spectral * sums,
        2 * 2 * spectral * math.sqrt(2 * 5 / 4 + 2 * 3 / spectral**2),
    ]
    np.testing.assert_allclose(
        values(FIRST, SECOND, **CODE), np.array(expected) / math.sqrt(1000)
    )
    # Distances stand in the sums alone.
    moved = norm_based_complexities(
        **norms(FIRST, SECOND) | {"l21_norms": [0, 0]}, distances=[0, 0],
        margin=1.0, **CODE,
    )  # fmt: skip
    assert [c.value > 0 for c in moved.values()] == [True, True, False, False]


@pytest.mark.parametrize("options", [{}, CODE])
def test_invariances(options):
    expected = values(FIRST, SECOND, **options)
    # What one layer gains another loses.
    np.testing.assert_allclose(values(3 * FIRST, SECOND / 3, **options), expected)
    # The unit of the inputs, and of the outputs.
    np.testing.assert_allclose(
        values(FIRST, SECOND, margin=5.0, input_norm=5.0, **options), expected
    )
    np.testing.assert_allclose(
        values(FIRST, 7 * SECOND, margin=7.0, **options), expected
    )


def test_edges():
    assert np.isinf(values(FIRST, SECOND, margin=0.0)).all()
    assert np.isinf(values(FIRST, SECOND, margin=-1.0)).all()
    assert np.isinf(values(FIRST, SECOND, margin=math.nan)).all()
    # A layer of zeros: only its own summand could be left, and is 0.
    assert (values(FIRST, 0 * SECOND) == 0).all()
    # Forty layers of norm 1e10 do not overflow into NaN.
    deep = values(*[1e10 * FIRST] * 40)
    assert np.isinf(deep).all()


def test_what_is_not_a_guarantee_says_so():
    found = norm_based_complexities(**norms(FIRST), margin=1.0)
    for complexity in found.values():
        assert complexity.failed and "not a bound" in complexity.statement()
        assert Complexity.from_json(complexity.to_json()) == complexity


def test_bad_input():
    with pytest.raises(ValueError, match="l21_norms="):
        norm_based_complexities(**norms(FIRST) | {"l21_norms": [1, 2]}, margin=1.0)
    with pytest.raises(ValueError, match="frobenius_norms="):
        norm_based_complexities(
            **norms(FIRST) | {"frobenius_norms": [math.nan]}, margin=1.0
        )
    with pytest.raises(ValueError, match="Received: variant='code'"):
        values(FIRST, variant="code")
    with pytest.raises(ValueError, match="needs `num_samples`"):
        values(FIRST, variant="neyshabur-code")
    with pytest.raises(ValueError, match="Received: input_norm=0"):
        values(FIRST, input_norm=0.0)


def truncation(*matrices, margin=1.0, input_norm=1.0, **options):
    ranks = [(np.linalg.norm(a) / np.linalg.norm(a, 2)) ** 2 for a in matrices]
    return truncation_parameters(
        spectral_norms=[np.linalg.norm(a, 2) for a in matrices],
        stable_ranks=ranks,
        width=max(max(a.shape) for a in matrices),
        margin=margin,
        input_norm=input_norm,
        **options,
    )


def test_theorem_2_2():
    found = truncation(FIRST, SECOND)
    assert found.value == pytest.approx(3612.98447, rel=1e-8)
    assert found.value == pytest.approx(sum(c.value for c in found.layers))
    safe = truncation(FIRST, SECOND, constants="safe")
    assert safe.value / found.value == pytest.approx(4 * math.e**2 / 18)
    for other in (
        truncation(3 * FIRST, SECOND / 3),
        truncation(FIRST, SECOND, margin=0.5, input_norm=0.5),
    ):
        assert other.value == pytest.approx(found.value)


@pytest.mark.parametrize("constants, factor", [("paper", 1.0), ("safe", 2**0.5)])
def test_theorem_2_2_keeps_its_word(constants, factor):
    """Truncated at the threshold, the outputs stay, and the numbers are counted."""
    rng = np.random.default_rng(0)
    matrices = [rng.normal(size=s) for s in ((20, 10), (20, 20), (4, 20))]
    x = rng.normal(size=(10, 50))
    size = np.linalg.norm(x, axis=0).max()
    margin = 0.5 * size * np.prod([np.linalg.norm(a, 2) for a in matrices])
    found = truncation(*matrices, margin=margin, input_norm=size, constants=constants)
    kept, stored = [], 0
    for a in matrices:
        u, s, v = np.linalg.svd(a, full_matrices=False)
        large = s >= found.terms["threshold"] * s[0]
        kept.append(u[:, large] * s[large] @ v[large])
        stored += sum(a.shape) * large.sum()
    assert stored <= found.value

    def run(layers):
        y = x
        for i, a in enumerate(layers):
            y = a @ y if i == 0 else a @ np.maximum(y, 0)
        return y

    moved = np.linalg.norm(run(matrices) - run(kept), axis=0).max()
    assert 0 < factor * moved <= margin


def test_edges_of_theorem_2_2():
    assert np.isinf(truncation(FIRST, SECOND, margin=0.0).value)
    assert truncation(FIRST, 0 * SECOND + 1e-300).value >= 0
    assert (
        truncation_parameters(
            spectral_norms=[1, 0], stable_ranks=[1, 0], width=2, margin=1, input_norm=1
        ).value
        == 0
    )
    # A margin that no output can have.
    large = truncation(FIRST, margin=10.0)
    assert [a.status for a in large.assumptions] == ["failed", "failed"]
    assert [a.status for a in truncation(FIRST).assumptions] == ["failed", "checked"]
    with pytest.raises(ValueError, match="spectral norm and a stable rank"):
        truncation_parameters(
            spectral_norms=[1], stable_ranks=[1, 2], width=2, margin=1, input_norm=1
        )
    with pytest.raises(ValueError, match="Received: width=0"):
        truncation_parameters(
            spectral_norms=[1], stable_ranks=[1], width=0, margin=1, input_norm=1
        )
