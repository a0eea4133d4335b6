"""`Bound`: a statement about unseen data, with every constant in it."""

import dataclasses
import decimal
import math
import numbers

from tf_genbounds.bounds.complexity import Result
from tf_genbounds.plain import from_plain


@dataclasses.dataclass(frozen=True)
class Bound(Result):
    """A statement about unseen data, with every constant in it.

    With probability at least `1 - delta` over the sample, `quantity` is at most
    `value = empirical + sum(slack.values())`, provided that the assumptions
    hold.

    Attributes:
        name: Name of the theorem.
        value: The bound, as the formula gives it: it may exceed `trivial`.
        empirical: The part of it that was seen on the sample.
        slack: The other parts, by name.
        delta: Failure probability, in (0, 1).
        num_samples: Size of the sample.
        assumptions: Tuple of `Assumption`.
        reference: Where the theorem is proved.
        quantity: What is bounded.
        trivial: The largest value that `quantity` can take.

    Example:

    >>> from tf_genbounds.bounds import Assumption
    >>> bound = Bound(
    ...     name="Hoeffding's bound", value=0.15, empirical=0.1,
    ...     slack={"deviation": 0.05}, delta=0.05, num_samples=600,
    ...     assumptions=(Assumption("the model was fixed in advance"),),
    ...     reference="Hoeffding, 1963",
    ... )
    >>> print(bound)
    Hoeffding's bound: with probability at least 1 - 0.05 over the draw of 600
    samples, the 0-1 risk is at most 0.15 (0.1 seen, 0.05 slack), provided that
    the model was fixed in advance.
    >>> bound.vacuous
    False
    """

    name: str
    value: float
    empirical: float
    slack: dict
    delta: float
    num_samples: int
    assumptions: tuple
    reference: str
    quantity: str = "the 0-1 risk"
    trivial: float = 1.0

    def __post_init__(self):
        check_delta(self.delta)
        check_num_samples(self.num_samples)

    @property
    def vacuous(self):
        """Whether it says no more than `quantity <= trivial`; true of NaN.

        To four digits, as it is printed: 0.99999 is vacuous.
        """
        return not float(_round_up(self.value)) < self.trivial

    def statement(self):
        """Returns the bound as one sentence, rounded up, capped at `trivial`."""
        shown = self.trivial if self.vacuous else self.value
        slack = math.fsum(self.slack.values())
        parts = f"{_round_up(self.empirical)} seen, {_round_up(slack)} slack"
        if self.vacuous:
            parts += ": vacuous"
        sentence = (
            f"{self.name}: with probability at least 1 - {_round_up(self.delta, 6)} "
            f"over the draw of {self.num_samples:,} samples, {self.quantity} is at "
            f"most {_round_up(shown)} ({parts})"
        )
        open_ = [a.text for a in self.assumptions if a.status == "unchecked"]
        if open_:
            sentence += ", provided that " + "; ".join(open_)
        if self.failed:
            failed = "; ".join(a.text for a in self.failed)
            sentence = f"NOT A GUARANTEE, since it fails that {failed}: {sentence}"
        return sentence.removesuffix(".") + "."

    @staticmethod
    def _numbers(fields):
        slack = {k: from_plain(v) for k, v in fields["slack"].items()}
        found = {k: from_plain(fields[k]) for k in ("value", "empirical", "trivial")}
        return {**fields, **found, "slack": slack}


def check_delta(delta):
    """Refuses a failure probability that is not in (0, 1)."""
    if not 0 < delta < 1:  # Also catches NaN.
        raise ValueError(
            "`delta` must lie strictly between 0 and 1. "
            f"Received: delta={delta}"
        )


def check_num_samples(num_samples):
    """Refuses a sample size that is not a positive integer."""
    if not isinstance(num_samples, numbers.Integral) or num_samples < 1:
        raise ValueError(
            "`num_samples` must be a positive integer. "
            f"Received: num_samples={num_samples}"
        )


def _round_up(value, digits=4):
    # Up, or the printed statement would claim more than the theorem.
    context = decimal.Context(prec=digits, rounding=decimal.ROUND_CEILING)
    return f"{float(context.create_decimal(repr(float(value)))):g}"
