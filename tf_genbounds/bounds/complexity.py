"""`Complexity`: a number that a theorem has inside an `O(.)`, no guarantee."""

import dataclasses
import json

from tf_genbounds.checks import check_choice
from tf_genbounds.plain import from_plain
from tf_genbounds.plain import to_plain

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


class Result:
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
class LayerComplexity:
    """The part of one layer.

    Attributes:
        name: Name of the layer.
        value: Its number, in the unit of the whole.
        num_parameters: Number of weights of the layer, or `None`.
    """

    name: str
    value: float
    num_parameters: int | None = None

    @property
    def percent(self):
        """`value` in percent of `num_parameters`; over 100: no compression."""
        if not self.num_parameters:
            return None
        return 100 * self.value / self.num_parameters


@dataclasses.dataclass(frozen=True)
class Complexity(Result):
    """A number that grows with what a theorem bounds, up to constants.

    It can be compared between networks and layers. It is never a guarantee:
    the constant in front of it is a convention, or it depends on the sample in
    a way that the theorem does not pay for.

    Attributes:
        name: What it is.
        value: The number.
        unit: What it counts.
        formula: How it was computed.
        reference: Where it comes from.
        layers: `LayerComplexity`s, if it is a sum over layers.
        assumptions: `Assumption`s.
        terms: The factors or summands of the formula, by name.
    """

    name: str
    value: float
    unit: str
    formula: str
    reference: str
    layers: tuple = ()
    assumptions: tuple = ()
    terms: dict = dataclasses.field(default_factory=dict)

    def statement(self):
        """Returns the complexity, and what it is not, as one sentence."""
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name}: {self.value:.4g}{unit}, a complexity measure, not a "
            "bound."
        )

    def rows(self):
        """Returns the layers and their total as tuples of strings.

        Each is a layer, its value, its parameters and the percentage, in the
        format of table 1 of the compression paper.
        """
        counts = [layer.num_parameters for layer in self.layers]
        total = LayerComplexity(
            "total",
            sum(layer.value for layer in self.layers),
            None if None in counts else sum(counts),
        )
        return tuple(
            (
                layer.name,
                f"{layer.value:.2f}",
                "-" if layer.num_parameters is None else str(layer.num_parameters),
                "-" if layer.percent is None else f"{layer.percent:.3f}",
            )
            for layer in (*self.layers, total)
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
