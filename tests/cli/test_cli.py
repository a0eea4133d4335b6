"""The command line does its work, or says in one line why it cannot."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile

import keras
import pytest

import tf_genbounds as gb
from tf_genbounds import __version__
from tf_genbounds import compression
from tf_genbounds.cli import main
from tf_genbounds.compression import Compressed
from tf_genbounds.data import load
from tf_genbounds.measure import measure
from tf_genbounds.measure.measurements import Measurements
from tf_genbounds.regularizers import DARC1
from tf_genbounds.report import Report


def digits_model(classes=10, shape=(8, 8, 1)):
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.Dense(classes, name="logits", activity_regularizer=DARC1(0.1)),
        ],
        name="small",
    )


@pytest.fixture
def saved(tmp_path):
    path = str(tmp_path / "small.keras")
    digits_model().save(path)
    return path


def run_script(*arguments, code=""):
    """Runs the console script in a process of its own."""
    script = (
        "import os, sys, sysconfig\n"
        "script = os.path.join(sysconfig.get_path('scripts'), 'tf-genbounds')\n"
        "sys.argv = [script, *sys.argv[1:]]\n"
        "from tf_genbounds.cli import main\n"
        "try:\n    status = main()\n"
        "except SystemExit as exit:\n    status = exit.code\n"
        f"{code}\nsys.exit(status)"
    )
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )


def test_certify_says_one_sentence_and_verify_checks_it(saved, tmp_path, capfd):
    out = str(tmp_path / "certificate.json")
    data = ["--data", "digits"]
    options = ["--num-models", "3", "--groups", "class", "--out", out]
    assert main(["certify", saved, *data, *options]) == 0
    printed = capfd.readouterr().out
    assert printed.startswith("With probability 0.95 over the draw of the 360 examples")
    assert "chosen among 3 models" in printed and "Seen" in printed
    assert main(["verify", out, saved, *data]) == 0
    assert capfd.readouterr().out.startswith("Verified. With probability")
    assert main(["verify", out, saved, *data, "--split", "train"]) != 0
    assert "sha256 of the data" in capfd.readouterr().err
    assert main(["verify", saved, saved, *data]) != 0
    assert "cannot be read as a certificate" in capfd.readouterr().err
    assert main(["certify", saved, *data, "--top-k", "2", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["settings"]["k"] == 2 and found["kind"] == "held_out"


def test_verify_knows_certificates_of_every_kind(saved, tmp_path, capfd):
    sample = gb.data.load("digits", "train")
    made = gb.compress(keras.saving.load_model(saved), sample, num_levels=3)
    path, model = str(tmp_path / "code.json"), str(tmp_path / "code.keras")
    made.certificate.to_json(path)
    made.model.save(model)
    options = ["--data", "digits", "--split", "train"]
    assert main(["verify", path, model, *options]) == 0
    assert "Verified. Certificate of the compressed model" in capfd.readouterr().out
    assert main(["verify", path, saved, *options]) == 2
    assert "sha256 of the weights" in capfd.readouterr().err
    with open(path, "w") as file:
        json.dump({**json.loads(made.certificate.to_json()), "kind": "other"}, file)
    assert main(["verify", path, model, *options]) == 2
    assert "no certificate" in capfd.readouterr().err
    training = gb.pick_to_learn.PickToLearn(keras.saving.load_model(saved))
    training.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    x, y = sample
    training.fit((x[:80], y[:80]), rounds=1, steps_per_round=1, verbose=0)
    training.certificate().to_json(path)
    assert main(["verify", path, model, *options]) == 2
    assert "verified by training again" in capfd.readouterr().err


def test_measure_prints_what_measure_returns(saved, tmp_path, capfd):
    out = str(tmp_path / "m.json")
    options = ["--data", "digits", "--num-samples", "9", "--seed", "2"]
    assert main(["measure", saved, *options, "--out", out]) == 0
    printed = capfd.readouterr().out
    for text in ("small, 9 samples of digits", "Between the layers", "not a bound"):
        assert text in printed
    model = keras.models.load_model(saved)
    expected = measure(model, load("digits"), num_samples=9, seed=2, verbose=0)
    with open(out) as file:
        written = Measurements.from_json(file.read())
    for name, layer in expected.layers.items():
        assert written.layers[name].effective_parameters == (
            pytest.approx(layer.effective_parameters, rel=1e-4)
        )
    chosen = ["--quantities", "layer_cushion", "--json"]
    assert main(["measure", saved, *options, *chosen]) == 0
    result = Measurements.from_json(capfd.readouterr().out)
    assert result.layers["hidden"].layer_cushion == pytest.approx(
        expected.layers["hidden"].layer_cushion, rel=1e-5
    )
    assert result.pairs == {}


@pytest.mark.parametrize(
    "name", ["noise_attenuation", "noise_stability", "compare_bounds"]
)
def test_experiment_writes_numbers_and_plot(name, saved, tmp_path, capfd):
    out = tmp_path / "out"
    arguments = ["experiment", name, saved, "--data", "digits", "--num-samples", "5"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert sorted(os.listdir(out)) == [f"{name}.json", f"{name}.svg"]
    assert json.loads((out / f"{name}.json").read_text())
    assert name in capfd.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--quantities", "layer_cusion"], "Did you mean 'layer_cushion'"),
        (["--num-samples", "0"], "`num_samples` must be a positive"),
    ],
)
def test_measure_refuses_in_one_line(arguments, message, saved, capfd):
    assert main(["measure", saved, "--data", "digits", *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("tf-genbounds measure: ") and message in line


def test_an_unknown_experiment_is_refused(saved, tmp_path, capfd):
    arguments = ["experiment", "noise", saved, "--data", "digits"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "`NAME` must be one of" in capfd.readouterr().err


def test_the_console_script_is_this_main():
    scripts = importlib.metadata.entry_points(group="console_scripts")
    assert scripts["tf-genbounds"].load() is main


@pytest.mark.parametrize("command", [[], ["demo"], ["report"]])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*command, "--help"])
    assert exit.value.code == 0
    assert "example: tf-genbounds" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"tf-genbounds {__version__}\n"


def test_help_does_not_import_tensorflow():
    code = "assert not {'tensorflow', 'jax', 'keras'} & set(sys.modules)"
    done = run_script("--help", code=code)
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout and "report" in done.stdout


def test_report_writes_and_prints(saved, tmp_path, capsys):
    out = tmp_path / "out" / "here"
    status = main(
        ["report", saved, "--data", "digits", "--out", str(out)]
        + ["--num-samples", "50"]
    )
    assert status == 0
    assert sorted(os.listdir(out)) == ["report.html", "report.json", "report.md"]
    result = Report.from_json((out / "report.json").read_text())
    assert result.title == "small" and list(result.train.layers) == [
        "hidden",
        "logits",
    ]
    assert result.train.num_samples == result.validation.num_samples == 50
    printed = capsys.readouterr().out
    assert "Generalization report: small" in printed and "logits" in printed
    assert (out / "report.md").read_text() == result.to_markdown()


def test_report_prints_json(saved, tmp_path, capsys):
    out = tmp_path / "out"
    status = main(
        ["report", saved, "--data", "digits", "--out", str(out), "--json"]
        + ["--split-train", "train[:20]", "--split-validation", "none"]
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads((out / "report.json").read_text())
    result = Report.from_json(printed)
    assert result.train.num_samples == 20 and result.validation is None


def broken_files(folder):
    (folder / "noise.keras").write_bytes(b"\x00\x01\x02" * 100)
    (folder / "empty.keras").write_bytes(b"")
    with zipfile.ZipFile(folder / "zip.keras", "w") as file:
        file.writestr("readme.txt", "not a model")
    digits_model().save(folder / "whole.keras")
    whole = (folder / "whole.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])

    class Foreign(keras.layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential([keras.Input((8, 8, 1)), Foreign()])
    model.save(folder / "foreign.keras")
    digits_model(classes=3).save(folder / "three.keras")
    digits_model(shape=(5, 5)).save(folder / "shape.keras")
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]).save(
        folder / "nothing.keras"
    )


@pytest.mark.parametrize(
    "model, options, message",
    [
        ("missing.keras", {}, "cannot be loaded as a Keras model.*not found"),
        ("noise.keras", {}, "cannot be loaded as a Keras model"),
        ("empty.keras", {}, "cannot be loaded as a Keras model"),
        ("zip.keras", {}, "cannot be loaded as a Keras model"),
        ("cut.keras", {}, "cannot be loaded as a Keras model"),
        ("foreign.keras", {}, "Could not locate class 'Foreign'"),
        ("three.keras", {}, "Labels must lie in .0, 3."),
        ("shape.keras", {}, r"shape.*5, 5\).*8, 8, 1\)"),
        ("nothing.keras", {}, "no linear layer"),
        ("whole.keras", {"--data": "digitz"}, "Did you mean 'digits'"),
        ("whole.keras", {"--data": "titanic"}, "labelled images"),
        ("whole.keras", {"--split-train": "trian"}, "Unknown split 'trian'"),
        ("whole.keras", {"--split-validation": "dev"}, "Unknown split 'dev'"),
        ("whole.keras", {"--num-samples": "0"}, "Received: num_samples=0"),
        ("whole.keras", {"--num-samples": "x"}, "invalid int value: 'x'"),
        ("whole.keras", {"--out": "file"}, "cannot be written to.*File exists"),
        ("whole.keras", {"--out": "file/x"}, "cannot be written to"),
    ],
)
def test_report_refuses_bad_input(
    model, options, message, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    broken_files(tmp_path)
    (tmp_path / "file").write_text("keep")
    before = sorted(os.listdir(tmp_path))
    options = {"--data": "digits", "--out": "new/out"} | options
    capfd.readouterr()
    status = _status(["report", model, *sum(options.items(), ())])
    assert status == 2
    printed, line = capfd.readouterr()
    assert printed == ""
    assert line.startswith("tf-genbounds report: ") and line.count("\n") == 1
    assert re.search(message, line), line
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "file").read_text() == "keep"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--epochs", "0"], "epochs.*Received: epochs=0"),
        (["--epochs", "-3"], "Received: epochs=-3"),
        (["--epochs", "two"], "invalid int value: 'two'"),
        (["--seed", "-1"], "Received: seed=-1"),
        (["--out", "file"], "cannot be written to"),
    ],
)
def test_demo_refuses_bad_input(arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("keep")
    assert _status(["demo", *arguments]) == 2
    printed, line = capfd.readouterr()
    assert printed == ""
    assert line.startswith("tf-genbounds demo: ") and line.count("\n") == 1
    assert re.search(message, line), line
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "required: COMMAND"),
        (["dmeo"], "invalid choice: 'dmeo'"),
        (["demo", "--what"], "unrecognized arguments: --what"),
    ],
)
def test_an_unknown_command_or_option_is_refused(arguments, message, capsys):
    assert _status(arguments) == 2
    line = capsys.readouterr().err
    assert message in line and line.count("\n") == 1


def test_the_script_says_one_line_and_nothing_of_tensorflow(tmp_path):
    done = run_script(
        "report", "missing.keras", "--data", "digits", "--out", str(tmp_path / "out")
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("tf-genbounds report: This file cannot be loaded")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    from tf_genbounds.cli import demo

    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 130
    assert os.listdir(tmp_path) == []


def _status(arguments):
    try:
        return main(arguments)
    except SystemExit as exit:
        return exit.code


def test_compress_writes_the_code_and_says_what_it_proves(saved, tmp_path, capfd):
    out = str(tmp_path / "small.code")
    arguments = ["compress", saved, "--data", "digits", "--out", out]
    assert main([*arguments, "--method", "truncate_svd", "--keep", "0.9"]) == 0
    printed = " ".join(capfd.readouterr().out.split())
    found = Compressed.load(out)
    assert f"{found.certificate.bits:,} bits" in printed
    assert found.certificate.statement() in printed
    assert found.certificate.num_samples == 1437


def test_compress_tries_the_file_before_the_work(saved, monkeypatch, capfd):
    def work(*args, **kwargs):
        raise AssertionError("It worked for nothing.")

    monkeypatch.setattr(compression, "compress", work)
    out = ["--out", "/no/such/folder/file"]
    assert main(["compress", saved, "--data", "digits", *out]) == 2
    assert "cannot be written" in capfd.readouterr().err


def test_compress_says_as_json_what_it_proves(saved, tmp_path, capfd):
    out = str(tmp_path / "small.code")
    assert main(["compress", saved, "--data", "digits", "--out", out, "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    certificate = Compressed.load(out).certificate
    assert result["bits"] == certificate.bits
    assert result["certificate"]["value"] == certificate.value


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--method", "prune"], "`method` must be one of"),
        (["--delta", "2"], "delta=2.0"),
        (["--tolerance", "-1"], "tolerance=-1.0"),
        (["--out", "/no/such/folder/file"], "cannot be written"),
    ],
)
def test_compress_refuses_in_one_line(arguments, message, saved, tmp_path, capfd):
    out = ["--out", str(tmp_path / "small.code")]
    assert main(["compress", saved, "--data", "digits", *out, *arguments]) == 2
    printed, error = capfd.readouterr()
    assert not printed and message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "small.code").exists()
