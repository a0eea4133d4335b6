"""How plots are drawn: the only module that imports matplotlib."""

import math

import numpy as np

try:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator
    from matplotlib.ticker import NullFormatter
except ImportError:
    raise ImportError(
        "Plots need matplotlib: `pip install tf_genbounds[report]`."
    ) from None

INK = "#3c4043"  # The page replaces it by the color of its text.
# Seen on white as on black.
COLORS = ("#2f81d6", "#e0792b", "#2a9d76", "#c65b9d", "#8f78d0", "#a3862a")
LEGEND_COLUMNS = 3
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#8a8d91",
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # A name may contain a dollar sign.
    "svg.fonttype": "none",  # Text stays text: small, and it can be read out.
    "svg.hashsalt": "tf_genbounds",  # The same report gives the same bytes.
}


def figure(panels):
    """Draws panels side by side, at most three in a row."""
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    height = rows * max(panel.height for panel in panels)
    with matplotlib.rc_context(_STYLE):
        result = Figure(figsize=(4.2 * columns, height), layout="constrained")
        for i, panel in enumerate(panels):
            ax = result.add_subplot(rows, columns, i + 1)
            ax.set_title(panel.title)
            panel.draw(ax)
    return result


def save_svg(figure, file):
    """Writes a figure as SVG without background, date and metadata."""
    with matplotlib.rc_context(_STYLE):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)


def log_ticks(axis):
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")  # The default needs math in the text.
    axis.set_minor_formatter(NullFormatter())


def legend_below(ax, count):
    """Puts the legend where no curve can be."""
    ax.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.2),
        ncols=min(LEGEND_COLUMNS, count),
        borderaxespad=0,
        columnspacing=1,
        handlelength=1.2,
    )


def colors(count):
    if count <= len(COLORS):
        return COLORS[:count]
    return matplotlib.colormaps["turbo"](np.linspace(0.1, 0.9, count))
