"""The compressed model of a report: before and after, side by side."""

import dataclasses

from tf_genbounds.bounds.result import from_plain
from tf_genbounds.measure.measure import measure
from tf_genbounds.report.numbers import NOTHING
from tf_genbounds.report.numbers import number
from tf_genbounds.report.numbers import percent
from tf_genbounds.report.table import Table
from tf_genbounds.report.table import tuples

_LEGEND = (
    "Compressed model",
    "The model that was decoded from the code: the guarantee is of this one, not of "
    "the original. A number of the original counts as 32 bits.",
)


@dataclasses.dataclass(frozen=True)
class Compression:
    """What a report says of a compressed model.

    Each is a pair of the original's number and that of the compressed model.

    Attributes:
        numbers: How many numbers are stored.
        bits: How many bits they take.
        train_error: Error on the sample of the certificate.
        validation_error: Error on other data, or `None`s.
    """

    numbers: tuple
    bits: tuple
    train_error: tuple
    validation_error: tuple

    @classmethod
    def of(cls, compressed, model, train, validation, data, options):
        """Measures a `Compressed` beside the model that it was made of.

        Args:
            compressed: `Compressed`.
            model: The original.
            train: `Measurements` of the original on the training data.
            validation: `Measurements` of the original on other data, or `None`.
            data: That other data.
            options: Of `measure`.
        """
        other = (None, None)
        if validation is not None:
            measured = measure(
                compressed.model, data, quantities=["margins"], **options
            )
            other = validation.train_error, measured.train_error
        size = model.count_params()
        return cls(
            numbers=(size, sum(array.numbers for array in compressed.arrays)),
            bits=(32 * size, compressed.certificate.bits),
            train_error=(train.train_error, compressed.certificate.train_error),
            validation_error=other,
        )

    @classmethod
    def from_fields(cls, fields):
        """Rebuilds it from the JSON of a report."""
        return cls(**{k: tuple(map(from_plain, pair)) for k, pair in fields.items()})


def compression_table(report):
    """Returns the table of the compressed model; without rows if there is none."""
    found = report.compression
    if found is None:
        return Table("Compression", (), ())
    rows = [
        ["Numbers", *map(number, found.numbers)],
        ["Bits", *map(number, found.bits)],
        ["Train error", *map(percent, found.train_error)],
        ["Validation error", *map(percent, found.validation_error)],
    ]
    return Table(
        "Compression",
        ("", "Original", "Compressed model"),
        tuples(row for row in rows if row[1:] != [NOTHING] * 2),
        (_LEGEND,),
    )
