"""`Bound`: a statement about unseen data, with every constant in it."""

import dataclasses
import math

from tf_genbounds.bounds.result import Statement
from tf_genbounds.bounds.result import from_plain
from tf_genbounds.bounds.rounding import at_most
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive


@dataclasses.dataclass(frozen=True)
class Bound(Statement):
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
        check_positive("num_samples", self.num_samples)

    @property
    def vacuous(self) -> bool:
        """Whether it says no more than `quantity <= trivial`; true of NaN.

        To four digits, as it is printed: 0.99999 is vacuous.
        """
        return not float(at_most(self.value)) < self.trivial

    def statement(self) -> str:
        """Returns the bound as one sentence, rounded up, capped at `trivial`.

        The failure probability is rounded up as well.
        """
        shown = self.trivial if self.vacuous else self.value
        slack = math.fsum(self.slack.values())
        parts = f"{at_most(self.empirical)} seen, {at_most(slack)} slack"
        if self.vacuous:
            parts += ": vacuous"
        sentence = (
            f"{self.name}: with probability at least 1 - {at_most(self.delta)} over "
            f"the draw of {self.num_samples:,} samples, {self.quantity} is at most "
            f"{at_most(shown)} ({parts})"
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
