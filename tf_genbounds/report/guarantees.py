"""The bounds of a report: the one table that speaks of unseen data."""

import math

from tf_genbounds.bounds import at_most
from tf_genbounds.bounds import confidence
from tf_genbounds.report.numbers import number
from tf_genbounds.report.table import Table
from tf_genbounds.report.table import tuples
from tf_genbounds.report.wording import GUARANTEE
from tf_genbounds.report.wording import STATEMENT
from tf_genbounds.report.wording import STATEMENT_WITH_BOUNDS


def statement(report):
    """Returns what the numbers of a report are, and what they are not."""
    return STATEMENT_WITH_BOUNDS if report.bounds else STATEMENT


def guarantees(report):
    """Returns the table of the bounds, with what each is worth."""
    rows = [
        [
            label,
            f"{bound.quantity}, {bound.name}",
            verdict(bound),
            _up(bound.empirical),
            _up(math.fsum(bound.slack.values())),
            _up(bound.value),
            number(float(confidence(bound.delta))),
            number(bound.num_samples),
        ]
        for label, bound in report.bounds.items()
    ]
    return Table(
        "Guarantees",
        (
            *("Of", "Bound", "Verdict", "Seen", "Slack"),
            *("At most", "Probability", "Samples"),
        ),
        tuples(rows),
        GUARANTEE,
        num_labels=3,
    )


def verdict(bound):
    """Says in a few words what a bound is worth."""
    if bound.failed:
        return "no guarantee: an assumption fails"
    if bound.vacuous:
        return f"vacuous: it is at most {at_most(bound.trivial)} anyway"
    return "a guarantee"


def _up(value):
    # To the digits of `number`, so that it rounds no further.
    return number(float(at_most(value)))
