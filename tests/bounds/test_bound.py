"""A bound says all it needs; a complexity says that it is none."""

import dataclasses
import inspect
import pathlib
import re

import pytest

from tf_genbounds import bounds
from tf_genbounds.bounds import Assumption
from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds import LayerComplexity

inf, nan = float("inf"), float("nan")


def a_bound(**fields):
    return Bound(
        **{
            "name": "Test",
            "value": 0.15,
            "empirical": 0.1,
            "slack": {"deviation": 0.05},
            "delta": 0.05,
            "num_samples": 12000,
            "assumptions": (
                Assumption("fixed", "checked"),
                Assumption("the sample is i.i.d."),
            ),
            "reference": "somewhere",
            **fields,
        }
    )


@pytest.mark.parametrize("value", [0.15, 1.5, inf])
def test_bound_round_trips_through_json(value, tmp_path):
    first = a_bound(value=value, slack={"a": value, "b": 0.0})
    second = Bound.from_json(first.to_json(tmp_path / "bound.json"))
    assert second == first
    assert (tmp_path / "bound.json").read_text() == first.to_json()


@pytest.mark.parametrize("value", [2.5, inf])
def test_complexity_round_trips_through_json(value):
    first = Complexity(
        name="Test",
        value=value,
        unit="parameters",
        formula="x",
        reference="somewhere",
        assumptions=(Assumption("fixed", "failed"),),
        layers=(LayerComplexity("inf", value, 3), LayerComplexity("b", 0.5)),
        terms={"sum": value},
    )
    assert Complexity.from_json(first.to_json()) == first


def test_nan_survives_json():
    second = Bound.from_json(a_bound(value=nan).to_json())
    assert second.value != second.value


def test_results_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_bound().value = 0.0


def test_what_is_printed_as_trivial_is_vacuous():
    assert a_bound(value=0.9999994, empirical=0.9, slack={"rest": 0.0999994}).vacuous
    assert not a_bound(value=0.9998, empirical=0.9, slack={"rest": 0.0998}).vacuous


@pytest.mark.parametrize("value", [1.0, 1.7, inf, nan])
def test_vacuous_values_are_capped_in_the_statement_only(value):
    bound = a_bound(value=value)
    assert bound.vacuous
    assert "is at most 1 (" in str(bound) and "vacuous" in str(bound)
    assert bound.value is value


def test_what_can_be_large_is_not_capped():
    bound = a_bound(value=17.0, trivial=inf, quantity="the squared loss")
    assert not bound.vacuous
    assert "the squared loss is at most 17 (" in str(bound)


def test_statement_rounds_up():
    # Half a unit in the last digit would claim more than was proved.
    assert "at most 0.1235 (" in str(a_bound(value=0.12341))
    assert "at most 0.1234 (" in str(a_bound(value=0.1234))


def test_every_number_of_a_statement_is_rounded_up():
    bound = a_bound(
        value=0.223454, empirical=0.100012, slack={"a": 0.12, "b": 0.003442},
        delta=0.012345641,
    )  # fmt: skip
    text = str(bound)
    assert "is at most 0.2235 (0.1001 seen, 0.1235 slack)" in text
    assert "at least 1 - 0.01235 over" in text


def test_statement_is_one_sentence_with_the_open_assumptions():
    text = a_bound().statement()
    assert text == str(a_bound())
    assert "at least 1 - 0.05 over the draw of 12,000 samples" in text
    assert text.endswith(", provided that the sample is i.i.d.")
    assert "fixed" not in text


def test_a_failed_assumption_comes_first():
    bound = a_bound(assumptions=(Assumption("it is fixed", "failed"),))
    assert str(bound).startswith("NOT A GUARANTEE, since it fails that it is fixed")
    assert [a.text for a in bound.failed] == ["it is fixed"]


def test_complexity_never_calls_itself_a_bound():
    complexity = Complexity("N", 3.0, "parameters", "x", "")
    assert str(complexity) == "N: 3 parameters, a complexity measure, not a bound."
    assert not hasattr(complexity, "delta")


@pytest.mark.parametrize("holds, status", [(None, "unchecked"), (True, "checked")])
def test_assumption_of(holds, status):
    assert Assumption.of("p", holds).status == status
    assert Assumption.of("p", False).status == "failed"


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, nan])
def test_refuses_bad_delta(delta):
    with pytest.raises(ValueError, match=f"between 0 and 1. Received: delta={delta}"):
        a_bound(delta=delta)


@pytest.mark.parametrize("num_samples", [0, -1, 2.5])
def test_refuses_bad_sample_sizes(num_samples):
    with pytest.raises(ValueError, match=f"Received: num_samples={num_samples}"):
        a_bound(num_samples=num_samples)


def test_refuses_unknown_status():
    with pytest.raises(ValueError, match="Did you mean 'checked'"):
        Assumption("p", "cheked")


def test_the_failure_probability_is_rounded_up():
    # 0.012341 as 0.01234 would promise more.
    assert "at least 1 - 0.01235 over" in str(a_bound(delta=0.012341))


def test_the_page_of_all_bounds_has_them_all():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "bounds.md").read_text()
    found = []
    for name in bounds.__all__:
        function = getattr(bounds, name)
        if not inspect.isfunction(function):
            continue
        if re.search("Bound|Complexity", str(inspect.signature(function))):
            found.append(name)
    assert len(found) > 20
    assert [name for name in found if f"`{name}`" not in page] == []
