"""Every example runs, on a tiny set."""

import pathlib
import runpy
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "examples"
OPTIONS = {"random_labels.py": ["--epochs", "2", "--samples", "128"]}


def test_every_example_is_run():
    assert {path.name for path in FOLDER.glob("*.py")} == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_example(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, *OPTIONS[name]])
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert "larger with true labels" in capsys.readouterr().out
