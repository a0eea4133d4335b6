"""What every result shares: its assumptions, and JSON that holds every float."""

import dataclasses
import json
import math

import numpy as np

from tf_genbounds.checks import check_choice


def to_plain(value):
    """Turns arrays, tuples and non-finite floats into what JSON can hold."""
    if isinstance(value, dict):
        return {k: to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_plain(value):
    """Turns `"inf"`, `"-inf"` and `"nan"` back into floats."""
    return float(value) if value in ("inf", "-inf", "nan") else value


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
        text = json.dumps(to_plain(dataclasses.asdict(self)), indent=1, allow_nan=False)
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
