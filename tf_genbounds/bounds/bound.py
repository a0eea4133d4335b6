"""What a theorem gives: a `Bound`, or only a `Complexity`."""

import dataclasses
import decimal
import json
import math
import numbers

from tf_genbounds.measurements import check_choice
from tf_genbounds.measurements import from_plain
from tf_genbounds.measurements import to_plain

STATUSES = ("checked", "unchecked", "failed")


@dataclasses.dataclass(frozen=True)
class Assumption:
    """A condition of a theorem, and what is known about it here.

    Attributes:
        text: The condition, as a claim.
        status: `"checked"` if the numbers at hand confirm it, `"failed"` if
            they refute it, `"unchecked"` if it is up to the reader.
    """

    text: str
    status: str = "unchecked"

    def __post_init__(self):
        check_choice("status", self.status, STATUSES)

    @classmethod
    def of(cls, text, holds):
        """Returns a checked or failed assumption; unchecked for `None`."""
        status = {None: "unchecked", True: "checked", False: "failed"}
        return cls(text, status[None if holds is None else bool(holds)])


class _Result:
    """JSON, and the state of the assumptions, of both kinds of result."""

    @property
    def failed(self):
        """The assumptions that the numbers refute."""
        return tuple(a for a in self.assumptions if a.status == "failed")

    def to_json(self, path=None):
        """Serializes the result; writes it to `path` if one is given.

        Infinities and NaN are written as the strings `"inf"`, `"-inf"` and
        `"nan"`, because JSON has no such numbers.

        Args:
            path: File to write, or `None`.

        Returns:
            The JSON text.
        """
        text = json.dumps(
            to_plain(dataclasses.asdict(self)), indent=1, allow_nan=False
        )
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return text

    @classmethod
    def from_json(cls, text):
        """Rebuilds a result from the text that `to_json` returned."""
        fields = json.loads(text)
        fields["assumptions"] = tuple(
            Assumption(**assumption) for assumption in fields["assumptions"]
        )
        return cls(**cls._numbers(fields))

    def __str__(self):
        return self.statement()


@dataclasses.dataclass(frozen=True)
class Bound(_Result):
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
        """Whether it says no more than `quantity <= trivial`; true of NaN."""
        return not self.value < self.trivial

    def statement(self):
        """Returns the bound as one sentence, rounded up, capped at `trivial`."""
        shown = self.trivial if self.vacuous else self.value
        slack = math.fsum(self.slack.values())
        parts = f"{_round_up(self.empirical)} seen, {_round_up(slack)} slack"
        if self.vacuous:
            parts += ": vacuous"
        sentence = (
            f"{self.name}: with probability at least 1 - {self.delta:g} over the "
            f"draw of {self.num_samples:,} samples, {self.quantity} is at most "
            f"{_round_up(shown)} ({parts})"
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


@dataclasses.dataclass(frozen=True)
class LayerComplexity:
    """The share of one layer in a `Complexity`.

    Attributes:
        name: Name of the layer.
        value: Its share.
        num_parameters: Number of its parameters, or `None`.
    """

    name: str
    value: float
    num_parameters: int | None = None

    @property
    def percent(self):
        """`100 * value / num_parameters`; above 100 is no compression."""
        if not self.num_parameters:
            return None
        return 100 * self.value / self.num_parameters


@dataclasses.dataclass(frozen=True)
class Complexity(_Result):
    """A number that a theorem has inside an `O(.)`: never a guarantee.

    It ranks models, and can be plotted against their test errors.

    Attributes:
        name: Name of the complexity.
        value: Its value; smaller is simpler.
        assumptions: Tuple of `Assumption`, those of the theorem around it.
        reference: Where it comes from.
        layers: Tuple of `LayerComplexity`, where it is made of such.
        terms: The factors of its formula, by name.

    Example:

    >>> complexity = Complexity(
    ...     name="Effective parameters", value=22735.09, assumptions=(),
    ...     reference="", layers=(LayerComplexity("conv", 22735.09, 2359296),),
    ... )
    >>> print(complexity)
    Effective parameters: 2.274e+04, a complexity measure, not a bound.
    >>> print(complexity.to_table())
    layer      value  parameters      %
    conv    22735.09     2359296  0.964
    """

    name: str
    value: float
    assumptions: tuple
    reference: str
    layers: tuple = ()
    terms: dict = dataclasses.field(default_factory=dict)

    def statement(self):
        """Returns the complexity, and what it is not, as one sentence."""
        sentence = (
            f"{self.name}: {self.value:.4g}, a complexity measure, not a bound"
        )
        if self.failed:
            failed = "; ".join(a.text for a in self.failed)
            sentence += f", and outside its theorem, since it fails that {failed}"
        return sentence + "."

    def to_table(self):
        """Returns one line a layer: its share, parameters, and percentage."""
        rows = [("layer", "value", "parameters", "%")]
        for layer in self.layers:
            percent = layer.percent
            rows.append(
                (
                    layer.name,
                    f"{layer.value:.2f}",
                    "-" if layer.num_parameters is None else f"{layer.num_parameters}",
                    "-" if percent is None else f"{percent:.3f}",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )

    @staticmethod
    def _numbers(fields):
        layers = tuple(
            LayerComplexity(**{**layer, "value": from_plain(layer["value"])})
            for layer in fields["layers"]
        )
        terms = {k: from_plain(v) for k, v in fields["terms"].items()}
        value = from_plain(fields["value"])
        return {**fields, "value": value, "layers": layers, "terms": terms}


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
