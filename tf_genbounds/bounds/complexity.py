"""`Complexity`: a number that a theorem has inside an `O(.)`, no guarantee."""

import dataclasses
import json

from tf_genbounds.checks import check_choice
from tf_genbounds.plain import from_plain
from tf_genbounds.plain import to_plain

STATUSES = ("checked", "unchecked", "failed")


@dataclasses.dataclass(frozen=True)
class Assumption:
    """What must hold for a statement to mean something.

    Attributes:
        text: A sentence.
        status: `"checked"`, `"unchecked"` (it cannot be seen in the numbers)
            or `"failed"`.
    """

    text: str
    status: str = "unchecked"

    def __post_init__(self):
        check_choice("status", self.status, STATUSES)


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
class Complexity:
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
    """

    name: str
    value: float
    unit: str
    formula: str
    reference: str
    layers: tuple = ()
    assumptions: tuple = ()

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

    def to_json(self):
        """Returns the complexity as JSON text."""
        fields = dataclasses.asdict(self)
        return json.dumps(to_plain(fields), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text):
        """Rebuilds a complexity from the text that `to_json` returned."""
        fields = json.loads(text)
        return cls(
            **{
                **fields,
                "value": from_plain(fields["value"]),
                "layers": tuple(
                    LayerComplexity(
                        layer["name"],
                        from_plain(layer["value"]),
                        layer["num_parameters"],
                    )
                    for layer in fields["layers"]
                ),
                "assumptions": tuple(
                    Assumption(**assumption)
                    for assumption in fields["assumptions"]
                ),
            }
        )
