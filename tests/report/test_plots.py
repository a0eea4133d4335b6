"""The plots show the measured numbers, and leave matplotlib as it was."""

import dataclasses
import io
import os
import pathlib
import re
import subprocess
import sys

import matplotlib.pyplot  # Keras imports it as well.
import numpy as np
import pytest
from matplotlib.figure import Figure

from tf_genbounds.report import plots
from tf_genbounds.report.panels import panels
from tf_genbounds.report.report import PLOTS


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("kind", ["single", "compared"])
def test_every_plot_is_a_figure_that_can_be_saved(name, kind, request, tmp_path):
    figure = request.getfixturevalue(kind).plot(name)
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_no_global_state_is_left(compared):
    before = matplotlib.rcParams.copy()
    for name in PLOTS:
        compared.plot(name)
    assert matplotlib.rcParams.copy() == before
    assert matplotlib.pyplot.get_fignums() == []


def test_only_this_module_imports_matplotlib():
    package = pathlib.Path(plots.__file__).parents[1]
    found = [
        path.name
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import|from) matplotlib", path.read_text(), re.M)
    ]
    assert found == ["plots.py"]
    assert "pyplot" not in pathlib.Path(plots.__file__).read_text()


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_text_needs_no_extra_and_the_page_says_which(missing, single, tmp_path):
    path = tmp_path / "report.json"
    single.to_json(path)
    code = f"""
import sys
sys.modules[{missing!r}] = None
from tf_genbounds.report import Report
report = Report.from_json(open({str(path)!r}).read())
report.to_text(80), report.to_markdown()
try:
    report.to_html({str(tmp_path / "report.html")!r})
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert f"{missing}: `pip install tf_genbounds[report]`" in done.stdout
    assert os.listdir(tmp_path) == ["report.json"]


def test_curves_are_grouped_by_quantity(single):
    axes = single.plot("training_curves").axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "loss",
        "stable_rank",
        "layer_cushion",
    ]
    loss, ranks, _ = axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [2.0, 1.0, 0.05])
    # Without `val_stable_rank/conv`, which repeats the same weights.
    assert [line.get_label() for line in ranks.lines] == ["conv", "logits"]


def test_curves_of_the_baseline_are_dashed_in_the_same_color(compared):
    ranks = compared.plot("training_curves").axes[1]
    assert [line.get_linestyle() for line in ranks.lines] == ["-"] * 2 + ["--"] * 2
    assert ranks.lines[0].get_color() == ranks.lines[2].get_color()
    assert "dashed: before" in ranks.get_xlabel()


def test_a_curve_of_the_baseline_alone_has_its_name(compared):
    before = dataclasses.replace(compared.baseline, history={"lr": [0.1, 0.2]})
    after = dataclasses.replace(compared, history={}, baseline=before)
    (ax,) = after.plot("training_curves").axes
    assert [line.get_label() for line in ax.lines] == ["training"]
    assert ax.lines[0].get_linestyle() == "--"


def test_a_wide_range_gets_a_logarithmic_axis(single):
    loss, ranks, cushion = single.plot("training_curves").axes
    assert (loss.get_yscale(), ranks.get_yscale()) == ("log", "linear")
    assert cushion.get_yscale() == "log"
    assert single.plot("layer_cushion").axes[0].get_xscale() == "log"
    assert single.plot("margins").axes[0].get_xscale() == "linear"


def test_histograms_add_up_to_the_finite_fraction(single):
    ax = single.plot("layer_cushion").axes[0]
    (label,) = ax.get_legend().texts
    assert label.get_text() == "net (1 not finite)"
    # The outline has the two upper corners of each bin, then goes back.
    heights = ax.patches[0].get_xy()[1:-1:2, 1][:40]
    np.testing.assert_allclose(heights.sum(), 3 / 4)


def test_margins_of_two_runs_share_the_axis(compared):
    left, right = compared.plot("margins").axes
    assert left.get_xlim() == right.get_xlim()
    assert [t.get_text() for t in left.get_legend().texts] == ["train", "validation"]


def test_stable_ranks_have_a_bar_for_each_layer_and_run(compared):
    (ax,) = compared.plot("stable_ranks").axes
    widths = [bar.get_width() for bars in ax.containers for bar in bars]
    assert widths == [4.0, 1.306, 4.0, 1.306]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["conv", "logits"]


def test_alternative_texts_have_the_numbers(compared):
    (panel,) = panels(compared, "layer_cushion")
    assert "after: minimum 0.002000, median 0.2500." in panel.alt
    (panel,) = panels(compared, "stable_ranks")
    assert "after: conv 4.000, logits 1.306." in panel.alt


def test_many_layers_get_colors_of_their_own(single):
    history = {f"stable_rank/dense_{i}": [1.0, 2.0 + i] for i in range(20)}
    report = dataclasses.replace(single, history=history)
    (ax,) = report.plot("training_curves").axes
    assert len({tuple(np.atleast_1d(line.get_color())) for line in ax.lines}) == 20


@pytest.mark.parametrize(
    "values",
    [
        [np.inf] * 4,
        [np.nan, 1.0, 2.0, 3.0],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 1e-9, 1.0, 2.0],
        [0.5],
    ],
)
@pytest.mark.filterwarnings("error")
def test_strange_values_are_drawn_all_the_same(single, values):
    values = np.array(values, "float32")
    train = dataclasses.replace(
        single.train,
        margins=values,
        distributions={("layer_cushion", "conv"): values},
    )
    stability = dataclasses.replace(
        single.stability,
        distributions={("unclipped_interlayer_cushion", "conv"): values},
    )
    report = dataclasses.replace(
        single,
        train=train,
        stability=stability,
        history={"loss": [float(v) for v in values]},
    )
    for name in PLOTS:
        plots.save_svg(report.plot(name), io.BytesIO())


def test_dollar_signs_in_names_are_not_mathematics(single):
    report = dataclasses.replace(single, title="$\\frac$")
    plots.save_svg(report.plot("margins"), io.BytesIO())
