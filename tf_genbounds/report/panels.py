"""What the plots of a report show, one panel for each pair of axes."""

import collections
import math

import numpy as np

from tf_genbounds.report.numbers import number
from tf_genbounds.report.panel import Panel
from tf_genbounds.report.panel import bins_of
from tf_genbounds.report.panel import histogram
from tf_genbounds.report.panel import histogram_panel
from tf_genbounds.report.panel import spread
from tf_genbounds.report.plots import COLORS
from tf_genbounds.report.plots import INK
from tf_genbounds.report.plots import LEGEND_COLUMNS
from tf_genbounds.report.plots import colors
from tf_genbounds.report.plots import legend_below
from tf_genbounds.report.plots import log_ticks
from tf_genbounds.report.study_panels import attenuation_panel
from tf_genbounds.report.tables import labelled_runs
from tf_genbounds.report.tables import samples


def panels(report, name):
    """Returns the `Panel`s of a plot; none if there is nothing to draw."""
    runs = labelled_runs(report)
    return {
        "training_curves": _training_curves,
        "margins": _margins,
        "layer_cushion": _layer_cushions,
        "stable_ranks": _stable_ranks,
        "interlayer_cushion": _interlayer_cushions,
        "noise_attenuation": _noise_attenuation,
    }[name](runs)


def _training_curves(runs):
    """One panel for each logged quantity: loss, ..., stable_rank, ..."""
    groups = collections.defaultdict(list)
    for i, (label, run) in enumerate(runs):
        for key, values in run.history.items():
            validation = key.startswith("val_")
            quantity, _, layer = key.removeprefix("val_").partition("/")
            # Layers are measured on the weights or on a fixed probe set: what
            # Keras repeats under `val_` is the same number.
            if not (validation and layer):
                line = layer or ("validation" if validation else "training")
                groups[quantity].append((i, label, line, values))
    return [_curves(name, groups[name], runs[1:]) for name in groups]


def _curves(quantity, lines, baselines):
    """One color for each layer or data set, dashed for the baseline."""
    names = list(dict.fromkeys(line for _, _, line, _ in lines))
    first = {line: (i, line) for i, _, line, _ in reversed(lines)}
    color_of = dict(zip(names, colors(len(names)), strict=True))

    def draw(ax):
        for i, _, line, values in lines:
            values = np.array(values)
            ax.plot(
                np.arange(1, len(values) + 1),
                np.where(np.isfinite(values), values, np.nan),
                color=color_of[line],
                linestyle=("-", "--")[i],
                linewidth=1.6,
                marker="o" if len(values) == 1 else None,
                # A line of the baseline needs one only if it stands alone.
                label=line if (i, line) == first[line] else None,
            )
        dashed = "".join(f" (dashed: {label})" for label, _ in baselines)
        ax.set_xlabel(f"epoch{dashed}")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if spread([v for *_, values in lines for v in values]) > 20:
            ax.set_yscale("log")
            log_ticks(ax.yaxis)
        if names != ["training"]:
            legend_below(ax, len(names))

    last = "; ".join(
        f"{line}{f' ({label})' if baselines else ''}: {number(values[-1])}"
        for _, label, line, values in lines
        if values
    )
    rows = math.ceil(len(names) / LEGEND_COLUMNS)
    return Panel(
        quantity,
        f"{quantity} by epoch. Last values: {last}.",
        draw,
        height=2.7 + 0.18 * rows,
    )


def _margins(runs):
    """One panel for each run, on the same axis, train over validation."""
    found = [
        (label, [(n, m) for n, m in samples(run) if m.margins is not None])
        for label, run in runs
    ]
    found = [(label, parts) for label, parts in found if parts]
    if not found:
        return []
    bins = bins_of([m.margins for _, parts in found for _, m in parts], log=False)
    return [_margin_panel(label, parts, bins) for label, parts in found]


def _margin_panel(label, parts, bins):
    def draw(ax):
        for i, (name, measurements) in enumerate(parts):
            histogram(ax, measurements.margins, bins, i, name.lower())
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set_xlabel("margin (at most 0: an error)")
        ax.set_ylabel("fraction of samples")
        legend_below(ax, len(parts))

    alt = " ".join(
        f"{name}: {m.num_samples} samples, 10th percentile "
        f"{number(m.margin(10))}, median {number(m.margin(50))}."
        for name, m in parts
    )
    return Panel(f"Margins, {label}", f"Histogram of the margins. {alt}", draw)


def _layer_cushions(runs):
    """One panel for each layer, the runs on the same axis."""
    layers = dict.fromkeys(
        layer
        for _, run in runs
        for quantity, layer in run.train.distributions
        if quantity == "layer_cushion"
    )
    return [_cushion_panel(layer, runs) for layer in layers]


def _cushion_panel(layer, runs):
    found = [
        (i, (label, run.train.distributions["layer_cushion", layer]))
        for i, (label, run) in enumerate(runs)
        if ("layer_cushion", layer) in run.train.distributions
    ]
    return histogram_panel(
        f"Layer cushion, {layer}",
        "layer cushion",
        found,
        worst=np.min,
        legend=len(runs) > 1,
    )


def _interlayer_cushions(runs):
    """One panel for each layer that has later ones, the runs on one axis."""
    quantity = "unclipped_interlayer_cushion"
    found = [(label, run.stability) for label, run in runs]
    layers = dict.fromkeys(
        layer
        for _, measured in found
        if measured is not None
        for name, layer in measured.distributions
        if name == quantity
    )
    return [
        histogram_panel(
            f"Interlayer cushion, {layer}",
            "interlayer cushion",
            [
                (i, (label, measured.distributions[quantity, layer]))
                for i, (label, measured) in enumerate(found)
                if measured and (quantity, layer) in measured.distributions
            ],
            worst=np.min,
            legend=len(runs) > 1,
        )
        for layer in layers
    ]


def _noise_attenuation(runs):
    return [
        attenuation_panel(label, run.attenuation)
        for label, run in runs
        if run.attenuation is not None
    ]


def _stable_ranks(runs):
    """A bar for each layer and run."""
    layers = list(dict.fromkeys(n for _, run in runs for n in run.train.layers))
    found = [
        (label, {n: m.stable_rank for n, m in run.train.layers.items()})
        for label, run in runs
    ]
    if all(v is None for _, ranks in found for v in ranks.values()):
        return []

    def draw(ax):
        thickness = 0.8 / len(found)
        for i, (label, ranks) in enumerate(found):
            values = [ranks.get(layer) or 0 for layer in layers]
            at = np.arange(len(layers)) + i * thickness
            bars = ax.barh(at, values, thickness, color=COLORS[i], label=label)
            ax.bar_label(bars, [number(ranks.get(n)) for n in layers], padding=3)
        ax.set_yticks(np.arange(len(layers)) + 0.4 - thickness / 2, layers)
        ax.invert_yaxis()  # The first layer on top.
        ax.grid(axis="y", visible=False)
        ax.margins(x=0.15)
        ax.set_xlabel("stable rank of the kernel")
        if len(runs) > 1:
            legend_below(ax, len(runs))

    alt = " ".join(
        f"{label}: " + ", ".join(f"{n} {number(v)}" for n, v in ranks.items()) + "."
        for label, ranks in found
    )
    height = 1 + 0.25 * (1 + len(layers) * len(found))
    return [
        Panel("Stable rank (kernel)", f"Bars by layer. {alt}", draw, max(2.8, height))
    ]
