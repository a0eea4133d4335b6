"""What a report says, as tables of strings for every kind of output."""

from tf_genbounds.report.compression import compression_table
from tf_genbounds.report.guarantees import guarantees
from tf_genbounds.report.interlayer_tables import between
from tf_genbounds.report.numbers import NOTHING
from tf_genbounds.report.numbers import number
from tf_genbounds.report.numbers import percent
from tf_genbounds.report.table import Table
from tf_genbounds.report.table import layers_table
from tf_genbounds.report.table import tuples
from tf_genbounds.report.wording import ERROR
from tf_genbounds.report.wording import MARGIN
from tf_genbounds.report.wording import QUANTITIES


def tables(report):
    """Returns the `Table`s of a `Report`, empty ones left out."""
    runs = labelled_runs(report)
    found = [
        _summary(runs),
        guarantees(report),
        compression_table(report),
        _margins(runs),
        _layers(runs),
        *between(runs),
        _last_epoch(runs),
        _unsupported(runs),
    ]
    return [table for table in found if table.rows]


def notes(report):
    """Returns what the reader must know, one sentence each."""
    runs = labelled_runs(report)
    labels = {}
    for label, run in runs:
        for note in dict.fromkeys(
            note
            for measurements in (run.train, run.stability)
            if measurements is not None
            for note in _notes(measurements)
        ):
            labels.setdefault(note, []).append(label)
    bounds = [f"{label}: {bound}" for label, bound in report.bounds.items()]
    return bounds + [
        note if len(found) == len(runs) else f"{', '.join(found)}: {note}"
        for note, found in labels.items()
    ]


def labelled_runs(report):
    """Returns pairs of a label and a report: this one, and the baseline."""
    if report.baseline is None:
        return [(report.title, report)]
    label = report.baseline.title
    if label == report.title:
        label += " (baseline)"
    return [(report.title, report), (label, report.baseline)]


def samples(report):
    """Returns pairs of a name and `Measurements`: train and validation."""
    pairs = [("Train", report.train), ("Validation", report.validation)]
    return [pair for pair in pairs if pair[1] is not None]


def _summary(runs):
    rows = [["Parameters", *(number(run.model["num_parameters"]) for _, run in runs)]]
    for i, (name, _) in enumerate(samples(runs[0][1])):
        found = [_at(samples(run), i) for _, run in runs]
        rows += [
            [f"{name} samples", *(number(m and m.num_samples) for m in found)],
            [f"{name} error", *(_error(m) for m in found)],
            [f"{name} margin, 10th percentile", *(_margin(m, 10) for m in found)],
        ]
    return Table(
        "Summary",
        ("", *(label for label, _ in runs)),
        tuples(rows),
        (ERROR,),
    )


def _margins(runs):
    columns = [
        (f"{name}, {label}" if len(runs) > 1 else name, measurements)
        for label, run in runs
        for name, measurements in samples(run)
        if measurements.margins is not None
    ]
    if not columns:
        return Table("Margins", (), ())
    names = {0: "Minimum", 50: "Median", 100: "Maximum"}
    rows = [
        [
            names.get(percentile, f"{percentile}th percentile"),
            *(_margin(measurements, percentile) for _, measurements in columns),
        ]
        for percentile in (0, 10, 25, 50, 75, 90, 100)
    ]
    return Table(
        "Margins",
        ("", *(heading for heading, _ in columns)),
        tuples(rows),
        (MARGIN,),
    )


def _layers(runs):
    parts = [(label, run.train) for label, run in runs]
    return layers_table("Layers", parts, QUANTITIES)


def _last_epoch(runs):
    keys = dict.fromkeys(
        key for _, run in runs for key in run.history if "/" not in key
    )
    rows = [
        [key, *(number(_last(run.history.get(key))) for _, run in runs)] for key in keys
    ]
    return Table(
        "Last epoch of training",
        ("Logged", *(label for label, _ in runs)),
        tuples(rows),
        (
            (
                "Logged",
                "As Keras logged it: the values on the training data are means "
                "over the epoch, while the weights changed.",
            ),
        ),
    )


def _unsupported(runs):
    found = {}
    for _, run in runs:
        found |= run.train.unsupported
    return Table(
        "Not measured",
        ("Layer", "Reason"),
        tuple(found.items()),
        num_labels=2,
    )


def _notes(measurements):
    unconverged = [
        name for name, layer in measurements.layers.items() if layer.converged is False
    ]
    if unconverged:
        yield (
            "The power iteration did not converge at "
            f"{', '.join(unconverged)}: >= and <= mark what it bounds."
        )
    yield from measurements.notes
    if measurements.settings:
        settings = ", ".join(f"{k}={v}" for k, v in measurements.settings.items())
        yield f"Measured with {settings}."


def _error(measurements):
    return percent(measurements and measurements.train_error)


def _margin(measurements, percentile):
    if measurements is None or measurements.margins is None:
        return NOTHING
    return number(measurements.margin(percentile))


def _last(values):
    return values[-1] if values else None


def _at(pairs, i):
    return pairs[i][1] if i < len(pairs) else None
