"""`Panel`: one pair of axes of a plot; histograms of per-sample values."""

import dataclasses
from collections.abc import Callable

import numpy as np

from tf_genbounds.report.numbers import number
from tf_genbounds.report.plots import COLORS
from tf_genbounds.report.plots import legend_below
from tf_genbounds.report.plots import log_ticks


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes of a plot.

    Attributes:
        title: What stands above it.
        alt: What it shows, for those who cannot see it.
        draw: Function that draws it on `matplotlib` axes.
        height: In inches.
    """

    title: str
    alt: str
    draw: Callable
    height: float = 2.8


def histogram_panel(title, xlabel, parts, worst=None, legend=True):
    """Draws the per-sample values of some networks on one axis.

    Args:
        title: What stands above the panel.
        xlabel: What the values are.
        parts: Pairs `(i, (label, values))`; `i` chooses the color.
        worst: Function of the values, to be marked, or `None`.
        legend: Whether there is one, if all values are finite.
    """
    log = spread([v for _, (_, values) in parts for v in values]) > 10
    bins = bins_of([values for _, (_, values) in parts], log=log)
    legend = legend or not all(np.isfinite(v).all() for _, (_, v) in parts)

    def draw(ax):
        for i, (label, values) in parts:
            histogram(ax, values, bins, i, label)
            if worst is not None and np.isfinite(worst(values)):
                ax.axvline(worst(values), color=COLORS[i], linestyle=":")
        if log:
            ax.set_xscale("log")
            log_ticks(ax.xaxis)
        mark = "" if worst is None else " (dotted: the minimum)"
        ax.set_xlabel(f"{xlabel}{mark}")
        ax.set_ylabel("fraction of samples")
        if legend:
            legend_below(ax, len(parts))

    alt = " ".join(
        f"{label}: minimum {number(float(np.min(values)))}, "
        f"median {number(float(np.median(values)))}."
        for _, (label, values) in parts
    )
    return Panel(title, f"{title}: histogram by sample. {alt}", draw)


def histogram(ax, values, bins, i, label):
    """Draws the first as an area and the second as a line, so both are seen."""
    shown = values[np.isfinite(values)]
    left_out = len(values) - len(shown)
    if left_out:
        label += f" ({left_out} not finite)"
    weights = np.full(len(shown), 1 / max(len(values), 1))
    ax.hist(
        np.clip(shown, bins[0], bins[-1]),
        bins,
        weights=weights,
        color=COLORS[i],
        alpha=0.6 if i == 0 else 1,
        histtype="stepfilled" if i == 0 else "step",
        linewidth=1.4,
        label=label,
    )


def bins_of(arrays, log):
    """Edges of 40 bins for all finite values."""
    values = np.concatenate([np.asarray(a)[np.isfinite(a)] for a in arrays])
    if log:
        values = values[values > 0]
        return np.geomspace(values.min(), values.max(), 41)
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    return np.linspace(low, high if high > low else low + 1, 41)


def spread(values):
    """Returns the ratio of the largest to the smallest; 1 if one is not > 0."""
    values = np.array(values)
    values = values[np.isfinite(values)]
    if len(values) == 0 or values.min() <= 0:
        return 1.0
    return values.max() / values.min()
