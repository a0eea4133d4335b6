"""Every example runs, on a tiny set."""

import pathlib
import runpy
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "examples"
OPTIONS = {
    "certify_mnist.py": [
        *("--data", "digits", "--epochs", "1", "--exact-epochs", "1"),
        *("--samples", "256", "--width", "2"),
    ],
    "certify_network.py": [
        *("--samples", "128", "--width", "2", "--epochs", "1"),
        *("--posterior-epochs", "1", "--passes", "1", "--out", "out.json"),
    ],
    "darc1_mnist.py": [
        *("--data", "digits", "--epochs", "2", "--samples", "128"),
        *("--seeds", "2", "--width", "4"),
    ],
    "noise_stability_vgg.py": [
        *("--data", "digits", "--epochs", "1", "--samples", "128"),
        *("--measured", "4", "--probes", "2", "--width", "4", "--out", "out"),
    ],
    "pick_to_learn.py": [
        *("--samples", "128", "--width", "2", "--rounds", "3", "--every", "2"),
        *("--steps", "3", "--initial-fraction", "0.2", "--initial-rounds", "1"),
        *("--verify", "--out", "out.json"),
    ],
    "random_labels.py": ["--epochs", "2", "--samples", "128"],
    "two_phase.py": [
        *("--data", "digits", "--epochs", "1", "--samples", "128"),
        *("--seeds", "1", "--width", "4", "--alphas", "0.1", "--out", "out"),
    ],
}
# What examples import: no questions of their own.
MODULES = {"architecture_code.py"}
SAYS = {
    "certify_mnist.py": "then with probability 0.95 the network is wrong on at most",
    "certify_network.py": "with fresh weights for each of 64 blocks",
    "darc1_mnist.py": "of that without DARC1 (paper: 0.89",
    "noise_stability_vgg.py": "the effective parameters are",
    "pick_to_learn.py": "Training again on these",
    "random_labels.py": "larger with true labels",
    "two_phase.py": "With 10 % of the data for the pattern",
}


def test_every_example_is_run():
    assert {path.name for path in FOLDER.glob("*.py")} == set(OPTIONS) | MODULES


@pytest.mark.parametrize(
    "name",
    [
        # It compiles the Jacobians of three networks.
        pytest.param("noise_stability_vgg.py", marks=pytest.mark.slow),
        "certify_mnist.py",
        "certify_network.py",
        "darc1_mnist.py",
        "pick_to_learn.py",
        "random_labels.py",
        "two_phase.py",
    ],
)
def test_example(name, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *OPTIONS[name]])
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert SAYS[name] in " ".join(capsys.readouterr().out.split())


def test_certify_mnist_hands_other_methods_on(monkeypatch, capsys):
    options = ["--data", "digits", "--samples", "64", "--width", "2", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["", "--method", "hold_out", *options])
    runpy.run_path(str(FOLDER / "certify_mnist.py"), run_name="__main__")
    said = " ".join(capsys.readouterr().out.split())
    assert "over the draw of the 32 examples, the model is wrong" in said
