"""`Table`: rows of strings, for every kind of output."""

import dataclasses

from tf_genbounds.report.numbers import number


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        title: Its heading.
        headings: One string a column.
        rows: Tuples of as many strings.
        legend: Pairs of a term and a sentence that says what it is.
        num_labels: How many of the first columns are names, not numbers.
    """

    title: str
    headings: tuple
    rows: tuple
    legend: tuple = ()
    num_labels: int = 1


def layers_table(title, parts, quantities):
    """Makes a table with a row for each layer of each network.

    Args:
        title: String.
        parts: Pairs of a label and `Measurements`.
        quantities: `Quantity`s, shown if a layer has them.
    """
    shown = [
        quantity
        for quantity in quantities
        if any(
            getattr(layer, quantity.field) is not None
            for _, measurements in parts
            for layer in measurements.layers.values()
        )
    ]
    # Layers of the same name stand below each other.
    names = dict.fromkeys(n for _, measured in parts for n in measured.layers)
    rows = []
    for name in names:
        for label, measurements in parts:
            layer = measurements.layers.get(name)
            if layer is None:
                continue
            labels = [name, _kind(layer)] + [label] * (len(parts) > 1)
            rows.append(labels + [_cell(layer, quantity) for quantity in shown])
    labels = ["Layer", "Kind"] + ["Model"] * (len(parts) > 1)
    return Table(
        title,
        (*labels, *(quantity.term for quantity in shown)),
        tuples(rows),
        tuple((quantity.term, quantity.meaning) for quantity in shown),
        num_labels=len(labels),
    )


def tuples(rows):
    """Freezes rows."""
    return tuple(tuple(row) for row in rows)


def _kind(layer):
    if layer.batch_norm is None:
        return layer.kind
    return f"{layer.kind}, with {layer.batch_norm}"


def _cell(layer, quantity):
    mark = quantity.unconverged if layer.converged is False else ""
    return number(getattr(layer, quantity.field), mark)
