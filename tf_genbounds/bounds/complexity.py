"""`Complexity`: a number that a theorem has inside an `O(.)`, no guarantee."""

import dataclasses

from tf_genbounds.bounds.result import Statement
from tf_genbounds.bounds.result import from_plain


@dataclasses.dataclass(frozen=True)
class LayerComplexity:
    """The part of one layer.

    Attributes:
        name: Name of the layer.
        value: Its number, in the unit of the whole.
        num_parameters: Number of weights of the layer, or `None`.

    Example:

    >>> LayerComplexity("dense", 12.0, num_parameters=12).value
    12.0
    """

    name: str
    value: float
    num_parameters: int | None = None

    @property
    def percent(self) -> float | None:
        """`value` in percent of `num_parameters`; over 100: no compression."""
        if not self.num_parameters:
            return None
        return 100 * self.value / self.num_parameters


@dataclasses.dataclass(frozen=True)
class Complexity(Statement):
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

    Example:

    >>> Complexity("parameters", 12.0, unit="weights", formula="count", reference="").value
    12.0
    """

    name: str
    value: float
    unit: str
    formula: str
    reference: str
    layers: tuple = ()
    assumptions: tuple = ()
    terms: dict = dataclasses.field(default_factory=dict)

    def statement(self) -> str:
        """Returns the complexity, and what it is not, as one sentence."""
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"{self.name}: {self.value:.4g}{unit}, a complexity measure, not a bound."
        )

    def rows(self) -> list[tuple]:
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
