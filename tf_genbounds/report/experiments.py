"""Plots of the experiments, panel by panel."""

import numpy as np

from tf_genbounds.report.panel import Panel, histogram_panel
from tf_genbounds.report.plots import colors, log_ticks
from tf_genbounds.report.quantities import number

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
            found.append(
                histogram_panel(title, title.lower(), list(enumerate(parts)))
            )
    return found
