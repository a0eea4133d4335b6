"""The tables say what was measured, of which matrix, and what was not."""

import dataclasses

import pytest

from tf_genbounds.report.numbers import number
from tf_genbounds.report.tables import notes
from tf_genbounds.report.tables import tables
from tf_genbounds.report.wording import QUANTITIES
from tf_genbounds.report.wording import STATEMENT


def by_title(report):
    return {table.title: table for table in tables(report)}


def test_summary(single):
    assert by_title(single)["Summary"].rows == (
        ("Parameters", "12,345"),
        ("Train samples", "4"),
        ("Train error", "25.00 %"),
        ("Train margin, 10th percentile", "-1.000"),
        ("Validation samples", "2"),
        ("Validation error", "50.00 %"),
        ("Validation margin, 10th percentile", "-2.000"),
    )


def test_layers_mark_norms_that_did_not_converge(single):
    table = by_title(single)["Layers"]
    assert table.headings == (
        "Layer",
        "Kind",
        "Spectral norm (operator)",
        "Frobenius norm (kernel)",
        "Stable rank (kernel)",
        "Layer cushion (minimum)",
        "Contraction (maximum)",
    )
    assert table.rows == (
        ("conv", "Conv2D, with norm", "2.000", "3.000", "4.000", "0.002000", "1.000"),
        # From below, so the norm is at least, and the stable rank at most.
        ("logits", "Dense", ">=5.250", "6.000", "<=1.306", "-", "inf"),
    )
    assert any("did not converge at logits" in note for note in notes(single))


def test_every_shown_quantity_has_a_legend(single):
    table = by_title(single)["Layers"]
    assert [term for term, _ in table.legend] == list(table.headings[2:])
    assert all(meaning for _, meaning in table.legend)


def test_quantities_that_were_not_asked_for_have_no_column(single):
    layers = {
        name: dataclasses.replace(layer, layer_cushion=None)
        for name, layer in single.train.layers.items()
    }
    train = dataclasses.replace(single.train, layers=layers)
    table = by_title(dataclasses.replace(single, train=train))["Layers"]
    assert "Layer cushion (minimum)" not in table.headings
    assert len(table.legend) == len(QUANTITIES) - 1


def test_margins(single):
    table = by_title(single)["Margins"]
    assert table.headings == ("", "Train", "Validation")
    assert table.rows[0] == ("Minimum", "-1.000", "-2.000")
    assert table.rows[-1] == ("Maximum", "3.000", "4.000")


def test_last_epoch_leaves_the_layers_to_the_plots(single):
    table = by_title(single)["Last epoch of training"]
    assert table.rows == (("loss", "0.05000"), ("val_loss", "nan"))


def test_unsupported_layers_are_named_with_the_reason(single):
    assert by_title(single)["Not measured"].rows == (("lstm", "LSTM runs in a loop"),)


def test_baseline_stands_beside(compared):
    found = by_title(compared)
    assert found["Summary"].headings == ("", "after", "before")
    kind = "Conv2D, with norm"
    assert found["Layers"].rows[0][:4] == ("conv", kind, "after", "2.000")
    assert found["Layers"].rows[1][:4] == ("conv", kind, "before", "4.000")


def test_a_baseline_of_the_same_name_is_called_so(single):
    report = dataclasses.replace(single, baseline=single)
    assert by_title(report)["Summary"].headings == ("", "net", "net (baseline)")


def test_a_baseline_may_have_other_layers_and_no_validation(single, bare):
    conv = {"conv": single.train.layers["conv"]}
    baseline = dataclasses.replace(
        bare, train=dataclasses.replace(bare.train, layers=conv)
    )
    found = by_title(dataclasses.replace(single, baseline=baseline))
    assert found["Summary"].rows[-2:] == (
        ("Validation error", "50.00 %", "-"),
        ("Validation margin, 10th percentile", "-2.000", "-"),
    )
    assert [row[0] for row in found["Layers"].rows] == ["conv", "conv", "logits"]


def test_what_is_missing_has_no_table(bare):
    assert list(by_title(bare)) == ["Summary", "Layers"]


def test_notes_of_both_runs_are_said_once(compared, single):
    removed = "The softmax of 'logits' is removed: margins are of logits."
    assert removed in notes(compared)
    other = dataclasses.replace(single, baseline=None)
    other = dataclasses.replace(
        other, train=dataclasses.replace(other.train, notes=("Only here.",))
    )
    both = dataclasses.replace(compared, baseline=other)
    assert f"after: {removed}" in notes(both)
    assert "net: Only here." in notes(both)


def test_settings_are_in_the_notes(single):
    assert notes(single)[-1] == "Measured with model=net, bias=ignore, seed=0."


def test_the_statement_promises_nothing():
    assert "not guarantees" in STATEMENT


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "-"),
        (0.0, "0"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
        (1234567, "1,234,567"),
        (12345.6, "12346"),
        (1.5, "1.500"),
        (-0.012345, "-0.01235"),
        (1.5e-7, "1.5e-07"),
        (2.5e9, "2.5e+09"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_what_is_between_the_layers(compared):
    found = {table.title: table for table in tables(compared)}
    between = found["Between the layers (first 2 training samples)"]
    assert between.headings[3:] == (
        "Interlayer cushion (least, later layers)",
        "Interlayer cushion (minimal)",
        "Spread of the Jacobian (maximum)",
        "Interlayer smoothness (minimum)",
    )
    assert between.rows[0][:1] + between.rows[0][2:] == (
        "conv", "after", "0.1250", "0.1250", "2.000", "4.000"
    )  # fmt: skip
    assert between.rows[1][2:5] == ("before", "0.2500", "0.2500")
    # The last layer has none after it.
    assert between.rows[2][3:] == ("-", "0.5774", "1.000", "-")
    attenuation = found["Noise attenuation (0.1 of the norm)"]
    assert attenuation.rows[0] == ("conv", "after", "0.1000", "0.04000")
    assert attenuation.rows[1] == ("conv", "before", "0.2000", "0.08000")


def test_effective_parameters_have_the_format_of_the_paper(single):
    (table,) = [t for t in tables(single) if t.title.startswith("Effective")]
    # (1 * 2 / (0.5 * 0.125))^2 and (1.5 / (0.25 / sqrt(3)))^2.
    assert table.rows == (
        ("conv", "1024.00", "36", "2844.444"),
        ("logits", "108.00", "768", "14.062"),
        ("total", "1132.00", "804", "140.796"),
    )
    assert "not a bound" in dict(table.legend)["Effective parameters"]
