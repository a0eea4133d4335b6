"""Every example runs, on a tiny set."""

import pathlib
import runpy
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "examples"
OPTIONS = {
    "noise_stability_vgg.py": [
        *("--data", "digits", "--epochs", "1", "--samples", "128"),
        *("--measured", "4", "--probes", "2", "--width", "4", "--out", "out"),
    ],
    "random_labels.py": ["--epochs", "2", "--samples", "128"],
}
SAYS = {
    "noise_stability_vgg.py": "the effective parameters are",
    "random_labels.py": "larger with true labels",
}


def test_every_example_is_run():
    assert {path.name for path in FOLDER.glob("*.py")} == set(OPTIONS)


@pytest.mark.parametrize(
    "name",
    [
        # It compiles the Jacobians of three networks.
        pytest.param("noise_stability_vgg.py", marks=pytest.mark.slow),
        "random_labels.py",
    ],
)
def test_example(name, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *OPTIONS[name]])
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert SAYS[name] in " ".join(capsys.readouterr().out.split())
