"""The demonstration compares two runs that differ in the penalty only."""

import dataclasses
import os
import re

import keras
import numpy as np
import pytest

from tf_genbounds.certificates.fingerprints import of_weights
from tf_genbounds.cli import demo
from tf_genbounds.cli import main
from tf_genbounds.data import load
from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.measure import measure
from tf_genbounds.measure.quantities import OF_SAMPLES
from tf_genbounds.measure.quantities import OF_WEIGHTS
from tf_genbounds.report import Report

# Each is of a demonstration that was run once: they stay in one process.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


@pytest.fixture(scope="module")
def result():
    return demo.run(epochs=2, seed=1)


def test_the_network_has_what_the_demonstration_promises():
    kinds = [type(layer).__name__ for layer in demo.network().layers]
    assert {"Conv2D", "MaxPooling2D", "Dense"} <= set(kinds)
    last = demo.network().layers[-1]
    assert last.use_bias and last.activation is keras.activations.linear


def test_both_reports_have_curves_for_each_layer(result):
    for run in (result.report, result.report.baseline):
        for layer in ("conv1", "conv2", "hidden", "logits"):
            for quantity in ("stable_rank", "layer_cushion"):
                assert len(run.history[f"{quantity}/{layer}"]) == 2
        assert {"loss", "val_loss", "accuracy", "darc1"} <= set(run.history)


def test_the_report_is_about_the_returned_models(result):
    assert list(result.models) == [
        "without_darc1.keras",
        "with_darc1.keras",
        "two_phases.keras",
        "picked.keras",
    ]
    train, test = load("digits", "train"), load("digits", "test")
    with_darc1 = result.models["with_darc1.keras"]
    expected = measure(with_darc1, train, quantities=[*OF_WEIGHTS, *OF_SAMPLES])
    assert result.report.train.to_json() == expected.to_json()
    assert result.report.stability.num_samples == demo.INTERLAYER_SAMPLES
    predicted = with_darc1.predict(test[0], verbose=0).argmax(axis=1)
    error = np.mean(predicted != test[1])
    np.testing.assert_allclose(result.report.validation.train_error, error)


def test_the_penalty_is_of_the_whole_training_data(result):
    x, _ = load("digits", "train")
    for penalty, name in zip(result.penalties, ("with", "without"), strict=True):
        logits = result.models[f"{name}_darc1.keras"].predict(x, verbose=0)
        np.testing.assert_allclose(penalty, darc1_penalty(logits), rtol=1e-5)


def test_the_command_writes_and_prints_what_run_returns(result, tmp_path, capfd):
    out = tmp_path / "demo"
    status = main(["demo", "--out", str(out), "--epochs", "2", "--seed", "1"])
    assert status == 0
    assert sorted(os.listdir(out)) == [
        "compressed.code",
        "picked.keras",
        "report.html",
        "report.json",
        "report.md",
        "two_phases.keras",
        "with_darc1.keras",
        "without_darc1.keras",
    ]
    printed, noise = capfd.readouterr()
    assert "Test error" in printed and "With DARC1 the penalty is" in printed
    assert "epoch" not in noise  # The progress is for terminals.

    # The same seed gives the same run, but for the order of sums.
    written = Report.from_json((out / "report.json").read_text())
    for run, other in (
        (written, result.report),
        (written.baseline, result.report.baseline),
    ):
        np.testing.assert_allclose(run.history["loss"], other.history["loss"], 1e-4)
        np.testing.assert_allclose(run.train.margins, other.train.margins, atol=1e-2)

    # The saved model is the measured one, and `report` can read it.
    model = str(out / "with_darc1.keras")
    again = tmp_path / "again"
    main(["report", model, "--data", "digits", "--out", str(again), "--json"])
    again = Report.from_json(capfd.readouterr().out)
    assert again.train.to_json() == written.train.to_json()


def test_the_summary_has_a_row_for_each_number(result):
    table = demo.summary(result)
    assert table.headings == ("", "with DARC1", "without DARC1")
    names = [row[0] for row in table.rows]
    assert names[:3] == [
        "Train error",
        "Test error",
        "DARC1 penalty on the training data",
    ]
    assert "Layer cushion of conv1" in names and "Stable rank of logits" in names
    assert "Interlayer cushion of hidden" in names
    assert len(names) == 4 + 2 * 4 + 3  # The last layer has none after it.


@pytest.mark.parametrize(
    "margins, baseline, words",
    [
        ([1.0] * 20, [1.0] * 18 + [-1.0, 0.0], "2 right .* 0 wrong .* chance alone"),
        ([1.0] * 20, [-1.0] * 20, "20 right .* 0 wrong .* more than chance"),
        ([-1.0] * 20, [1.0] * 20, "0 right .* 20 wrong .* more than chance"),
        ([float("nan")], [1.0], "0 right .* 1 wrong .* chance alone"),
    ],
)
def test_the_conclusion_is_honest_either_way(margins, baseline, words, result):
    def with_margins(report, values, **fields):
        validation = dataclasses.replace(
            report.validation, margins=np.array(values, "float32")
        )
        return dataclasses.replace(report, validation=validation, **fields)

    before = with_margins(result.report.baseline, baseline)
    after = with_margins(result.report, margins, baseline=before)
    made = dataclasses.replace(result, report=after, penalties=(1.0, 2.0))
    text = demo.conclusion(made)
    assert re.search(words, text)
    assert "penalty is 1.000 instead of 2.000" in text


def test_two_phases_and_what_is_proved(result):
    test = load("digits", "test")
    frozen = result.models["two_phases.keras"]
    assert frozen.get_layer("hidden_gate").trainable is False
    error = np.mean(frozen.predict(test[0], verbose=0).argmax(axis=1) != test[1])
    np.testing.assert_allclose(result.two_phase_error, error)
    of_test, of_picks, of_paths, of_code = result.report.bounds.values()
    assert of_test == result.certificate.bound and of_picks == result.picked.bound
    picked = result.models["picked.keras"]
    assert result.picked.fingerprints["weights"] == of_weights(picked)
    assert "gave the same weights" in str(result.picked)
    assert of_test.empirical == result.report.validation.train_error
    assert of_test.num_samples == 360 and not of_test.vacuous
    # 30 % of 1437 samples found the pattern.
    assert of_paths.num_samples == 1437 - 431 and of_paths.vacuous
    text = demo.conclusion(result)
    assert f"a test error of {100 * error:.2f} %" in text
    assert text.startswith("With probability 0.95 over the draw of the 360 examples")
    assert str(result.picked) in text and ": vacuous)" in text
    # The compressed model, by its code.
    model = result.compressed.model
    error = np.mean(model.predict(test[0], verbose=0).argmax(axis=1) != test[1])
    assert of_code == result.compressed.certificate.bound
    assert result.report.compression.validation_error[1] == pytest.approx(error)
    assert "the compressed model: Certificate of the compressed model" in text
