"""A report as one HTML page that needs nothing from outside."""

import importlib.resources
import io

try:
    import jinja2
except ImportError:
    raise ImportError(
        "The HTML page needs jinja2: `pip install tf_genbounds[report]`."
    ) from None

from tf_genbounds.report import panels
from tf_genbounds.report import plots
from tf_genbounds.report.guarantees import statement
from tf_genbounds.report.tables import notes
from tf_genbounds.report.tables import tables

_PLOTS_OF = {
    "Margins": ("margins",),
    "Layers": ("layer_cushion", "stable_ranks"),
    "Between the layers": ("interlayer_cushion",),
    "Noise attenuation": ("noise_attenuation",),
    "Last epoch of training": ("training_curves",),
}


def page(report):
    """Renders a report as the text of an HTML page."""
    template = importlib.resources.files(__package__) / "template.html"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template.read_text("utf-8")).render(
        report=report,
        statement=statement(report),
        sections=[(table, _plots(report, table)) for table in tables(report)],
        notes=notes(report),
    )


def _plots(report, table):
    """Returns pairs of a panel and its SVG: the plots that go with a table."""
    return [
        (panel, _svg(panel, f"{name}-{i}-"))
        # What stands in brackets differs from report to report.
        for name in _PLOTS_OF.get(table.title.split(" (")[0], ())
        for i, panel in enumerate(panels.panels(report, name))
    ]


def _svg(panel, prefix):
    """Draws a panel as SVG to be put into a page, in the color of its text."""
    buffer = io.StringIO()
    plots.save_svg(plots.figure([panel]), buffer)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for before in ('id="', "url(#", 'href="#'):  # Unique on the page.
        svg = svg.replace(before, before + prefix)
    return svg.replace(plots.INK, "currentColor")
