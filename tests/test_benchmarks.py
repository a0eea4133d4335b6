"""Every benchmark runs, on a tiny size; its times are nobody's business here."""

import pathlib
import runpy
import sys

import pytest

pytestmark = pytest.mark.slow

FOLDER = pathlib.Path(__file__).parents[1] / "benchmarks"
OPTIONS = {
    "architectures.py": ["MobileNet", "--quantities", "stable_rank"],
    "compression.py": ["--side", "32", "--count", "4", "--samples", "16"],
    "interlayer.py": ["--width", "2", "--samples", "1", "--probes", "1", "--rounds=1"],
    "measure.py": ["--models", "mlp", "--samples", "128", "--rounds", "1"],
    "stable_rank.py": ["--width", "0.1", "--units", "8", "--no-weightwatcher"],
    "train_step.py": ["--models", "mlp", "--modes", "graph", "--rounds", "1"],
    "two_phase.py": ["--models", "mlp", "--modes", "graph", "--rounds=1", "--steps=1"],
}


def test_every_benchmark_is_run():
    assert {path.name for path in FOLDER.glob("*.py")} == set(OPTIONS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_benchmark(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [name, *OPTIONS[name]])
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert capsys.readouterr().out.count("\n") > 1
