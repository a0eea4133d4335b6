"""The bounds of a report: never mixed with what is only measured."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import tf_genbounds as gb
from tf_genbounds import bounds
from tf_genbounds.report import Report
from tf_genbounds.report import report
from tf_genbounds.report.guarantees import guarantees
from tf_genbounds.report.guarantees import statement
from tf_genbounds.report.guarantees import verdict
from tf_genbounds.report.tables import notes
from tf_genbounds.report.tables import tables
from tf_genbounds.report.wording import STATEMENT


@pytest.fixture
def found():
    good = bounds.validation_bound(0.02, num_samples=1000)
    vacuous = bounds.data_independent_bound(
        np.ones(100),
        margin=0.5,
        weight_norm=10.0,
        num_classes=10,
        feature_norms=np.ones(100),
    )
    failing = dataclasses.replace(
        good, assumptions=(bounds.Assumption("the gates did not move", "failed"),)
    )
    return {"on the test set": good, "in two phases": vacuous, "broken": failing}


@pytest.fixture
def made(compared, found):
    return dataclasses.replace(compared, bounds=found)


def test_each_bound_has_its_verdict(made, found):
    table = guarantees(made)
    rows = {row[0]: dict(zip(table.headings, row, strict=True)) for row in table.rows}
    assert list(rows) == list(found)
    assert rows["on the test set"]["Verdict"] == "a guarantee"
    assert rows["in two phases"]["Verdict"] == "vacuous: it is at most 1 anyway"
    assert rows["broken"]["Verdict"] == "no guarantee: an assumption fails"
    row = rows["on the test set"]
    assert row["Seen"] == "0.02000" and row["Samples"] == "1,000"
    assert row["Probability"] == "0.9500"
    value = found["on the test set"].value
    assert float(row["At most"]) == pytest.approx(value, rel=1e-3)
    assert float(row["Slack"]) == pytest.approx(value - 0.02, rel=1e-3)
    assert verdict(found["broken"]).startswith("no guarantee")


def test_the_statement_says_which_numbers_are_guarantees(made, compared):
    assert statement(compared) == STATEMENT
    assert not guarantees(compared).rows
    assert "Guarantees" not in [table.title for table in tables(compared)]
    assert statement(made).startswith("Only what stands under Guarantees")
    assert "Guarantees" in [table.title for table in tables(made)]
    for output in (made.to_text(width=200), made.to_markdown()):
        assert STATEMENT not in output
        assert "Only what stands under Guarantees" in output
    # Each with all its assumptions.
    assert [note for note in notes(made) if note.startswith("on the test set: ")] == [
        f"on the test set: {made.bounds['on the test set'].statement()}"
    ]
    assert any("NOT A GUARANTEE" in note for note in notes(made))


def test_bounds_are_in_the_json(made, found):
    again = Report.from_json(made.to_json())
    assert again.bounds == found
    assert json.loads(made.to_json())["bounds"]["broken"]["delta"] == 0.05
    assert again.to_json() == made.to_json()


def test_bounds_are_in_the_page(made, tmp_path):
    made.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Guarantees" in page and "vacuous: it is at most 1 anyway" in page


def test_a_complexity_is_refused(single):
    complexity = single.stability.effective_parameters()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(TypeError, match="Received: Complexity for 'mine'"):
        report(model, np.ones((3, 2)), bounds={"mine": complexity}, verbose=0)
    bound = bounds.validation_bound(0.5, num_samples=10)
    made = report(
        model,
        np.ones((3, 2)),
        bounds={"mine": bound},
        interlayer_samples=0,
        history={"loss": [1.0], "phase": ["freeze"]},
        verbose=0,
    )
    # The name of a phase is no curve.
    assert made.bounds == {"mine": bound} and made.history == {"loss": [1.0]}


def test_the_table_claims_no_more_than_is_proved(compared):
    slack = {"a": 0.000004, "b": 0.11111}
    bound = bounds.Bound(
        name="Test",
        value=0.123414,
        empirical=0.012301,
        slack=slack,
        delta=1e-5,
        num_samples=10,
        assumptions=(),
        reference="",
    )
    table = guarantees(dataclasses.replace(compared, bounds={"it": bound}))
    row = dict(zip(table.headings, table.rows[0], strict=True))
    # Each is 0.4 units of its last digit below what stands here, or less.
    assert (row["At most"], row["Seen"]) == ("0.1235", "0.01231")
    assert row["Slack"] == "0.1112"  # 0.111114.
    assert row["Probability"] == "0.9999"


def test_a_certificate_is_shown_by_its_bound():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    data = x, (x[:, 0] > 0).astype(int)
    certificate = gb.certify(model, data)
    made = report(model, data, bounds={"this model": certificate}, interlayer_samples=0)
    assert made.bounds == {"this model": certificate.bound}
    assert "Held-out certificate" in str(made.bounds["this model"])
    assert Report.from_json(made.to_json()).bounds == made.bounds
