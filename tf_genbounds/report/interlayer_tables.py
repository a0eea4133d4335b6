"""The tables of what is between the layers."""

from tf_genbounds.report.numbers import NOTHING
from tf_genbounds.report.numbers import number
from tf_genbounds.report.table import Table
from tf_genbounds.report.table import layers_table
from tf_genbounds.report.table import tuples
from tf_genbounds.report.wording import ATTENUATION
from tf_genbounds.report.wording import EFFECTIVE
from tf_genbounds.report.wording import INTERLAYER


def between(runs):
    """Returns the tables of pairs `(label, report)`, empty ones included."""
    parts = [(label, run.stability) for label, run in runs if run.stability]
    if not parts:
        return []
    count = max(measurements.num_samples for _, measurements in parts)
    of = f"(first {count:,} training samples)"
    return [
        layers_table(f"Between the layers {of}", parts, INTERLAYER),
        effective_parameters(f"Effective parameters {of}", parts),
        _attenuation(runs),
    ]


def effective_parameters(title, parts):
    """Makes a table in the format of table 1 of the compression paper.

    Args:
        title: String.
        parts: Pairs of a label and `Measurements`.
    """
    rows = []
    for label, measurements in parts:
        try:
            complexity = measurements.effective_parameters()
        except ValueError:  # A contraction that cannot be seen, say.
            continue
        rows += [
            [row[0], *[label] * (len(parts) > 1), *row[1:]] for row in complexity.rows()
        ]
    labels = ["Layer"] + ["Model"] * (len(parts) > 1)
    return Table(
        title,
        (*labels, "Effective parameters", "Parameters", "Percent"),
        tuples(rows),
        EFFECTIVE,
        num_labels=len(labels),
    )


def _attenuation(runs):
    found = [(label, run.attenuation) for label, run in runs if run.attenuation]
    rows = []
    for source in dict.fromkeys(i for _, r in found for i in r.layers):
        for label, result in found:
            errors = [
                result.errors.get((source, target))
                for target in (source, result.layers[-1])
            ]
            rows.append(
                [source, *[label] * (len(found) > 1)]
                + [number(e[0]) if e else NOTHING for e in errors]
            )
    labels = ["Noise at"] + ["Model"] * (len(found) > 1)
    size = f"{found[0][1].relative_norm:g} of the norm" if found else ""
    return Table(
        f"Noise attenuation ({size})",
        (*labels, "Error there", "Error at the last layer"),
        tuples(rows),
        ATTENUATION,
        num_labels=len(labels),
    )
