"""Plots of the experiments, panel by panel."""

import numpy as np

from tf_genbounds.report.numbers import number
from tf_genbounds.report.panel import Panel
from tf_genbounds.report.panel import histogram_panel
from tf_genbounds.report.plots import COLORS
from tf_genbounds.report.plots import colors
from tf_genbounds.report.plots import legend_below
from tf_genbounds.report.plots import log_ticks

_TITLES = {
    "layer_cushion": "Layer cushion",
    "unclipped_interlayer_cushion": "Interlayer cushion, least of the later layers",
    "activation_contraction": "Activation contraction",
    "interlayer_smoothness": "Interlayer smoothness",
    "jacobian_spread": "Spread of the Jacobian",
}


def attenuation_panel(label, result):
    """Draws a `NoiseAttenuation`, a curve for each layer with noise."""
    sources = [i for i in result.layers if len(result.curve(i)[0]) > 1]
    color_of = colors(len(sources))

    def draw(ax):
        position = {name: k for k, name in enumerate(result.layers)}
        for source, color in zip(sources, color_of, strict=True):
            targets, errors = result.curve(source)
            ax.plot(
                [position[t] for t in targets],
                errors,
                color=color,
                linewidth=1.4,
                marker="o",
                markersize=3,
                label=f"at {source}",
            )
        ax.axhline(result.relative_norm, color="#8a8d91", linestyle=":")
        ax.set_yscale("log")
        log_ticks(ax.yaxis)
        ax.set_xticks(
            range(len(result.layers)),
            result.layers,
            rotation=90 if len(result.layers) > 4 else 0,
        )
        ax.set_ylabel("relative error")
        if len(sources) <= 12:
            ax.legend(loc="best")

    last = result.layers[-1]
    alt = "; ".join(
        f"noise at {source}: {number(result.errors[source, last][0])}"
        for source in sources
        if (source, last) in result.errors
    )
    return Panel(
        f"Noise attenuation{f', {label}' if label else ''}",
        f"Relative error by layer, of noise of {result.relative_norm:g} of the "
        f"norm. At {last}: {alt}.",
        draw,
        height=3.6,
    )


def stability_panels(result):
    """Draws a `NoiseStability`: a panel a quantity, a histogram a network."""
    found = []
    for quantity, title in _TITLES.items():
        parts = [
            (label, result.values(label, quantity)) for label in result.measurements
        ]
        parts = [(label, v) for label, v in parts if np.isfinite(v).any()]
        if parts:
            found.append(histogram_panel(title, title.lower(), list(enumerate(parts))))
    return found


def comparison_panels(result, history=None):
    """Draws a `BoundComparison`, and the epochs if there is a history."""
    found = [_bars(result)]
    if history is not None:
        found.append(_epochs(result, history))
    return found


def _bars(result):
    names = [c.name for c in result.complexities.values()]
    values = [c.value for c in result.complexities.values()]

    def draw(ax):
        shown = [v if np.isfinite(v) and v > 0 else np.nan for v in values]
        bars = ax.barh(range(len(names)), shown, color=COLORS[: len(names)])
        ax.bar_label(bars, [number(v) for v in values], padding=3)
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xscale("log")
        ax.grid(axis="y", visible=False)
        ax.margins(x=0.25)
        ax.set_xlabel(next(iter(result.complexities.values())).unit or "gap")

    alt = ", ".join(f"{n} {number(v)}" for n, v in zip(names, values, strict=True))
    return Panel(
        "What bounds grow with",
        f"Complexities, not bounds, at margin {number(result.margin)}: {alt}.",
        draw,
        height=3.6,
    )


def _epochs(result, history):
    curves = {
        key: next(
            (v for k, v in history.items() if k.endswith(f"complexities/{key}")), None
        )
        for key in result.complexities
    }
    curves = {key: v for key, v in curves.items() if v is not None}
    if not curves:
        raise ValueError(
            "The history has no complexities: train with "
            'GeneralizationMonitor(data, metrics=["complexities"]). '
            f"Received: history of {sorted(history)}"
        )

    def draw(ax):
        for (key, values), color in zip(curves.items(), COLORS, strict=False):
            epochs = range(1, len(values) + 1)
            label = result.complexities[key].name
            finite = np.where(np.isfinite(values), values, np.nan)
            ax.plot(epochs, finite, color=color, label=label, marker="o", markersize=3)
        ax.set_yscale("log")
        ax.set_xlabel("epoch")
        ax.set_ylabel("samples")
        legend_below(ax, len(curves))

    alt = "; ".join(
        f"{result.complexities[k].name} {number(v[0])} to {number(v[-1])}"
        for k, v in curves.items()
    )
    return Panel("During training", f"First to last epoch: {alt}.", draw, height=3.6)
