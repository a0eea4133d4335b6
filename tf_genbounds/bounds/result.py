"""What every result shares: its assumptions, and JSON that holds every float."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib

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

    Example:

    >>> Assumption.of("the weights are the prior's", False).status
    'failed'
    """

    text: str
    status: str = "unchecked"

    def __post_init__(self):
        check_choice("status", self.status, STATUSES)

    @classmethod
    def of(cls, text: str, holds: bool | None) -> "Assumption":
        """Returns a checked or failed assumption; unchecked for `None`."""
        status = {None: "unchecked", True: "checked", False: "failed"}
        return cls(text, status[None if holds is None else bool(holds)])


def write_text(path, text):
    """Writes a text file; if that fails, what was there before is kept.

    Args:
        path: File to write. Its folder must exist.
        text: String.

    Raises:
        OSError: If the file cannot be written, in one line.
    """
    path = pathlib.Path(path)
    # In the same folder, since a rename is atomic only within a file system.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise OSError(
            f"The file cannot be written ({error.strerror}). "
            f"Received: path={str(path)!r}"
        ) from None


class Result:
    """What was found, which goes to JSON and comes back.

    A kind is a dataclass; `_fields` and `_of` say what else than plain fields it has.
    """

    def _fields(self):
        """Returns the fields as a dict, of whatever `to_plain` takes."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def _of(cls, fields):
        """Rebuilds a result from a dict of its own."""
        return cls(**fields)

    def to_fields(self):
        """Returns the result as a dict of what JSON can hold.

        Infinities and NaN are the strings `"inf"`, `"-inf"` and `"nan"`, because JSON
        has no such numbers.
        """
        return to_plain(self._fields())

    @classmethod
    def from_fields(cls, fields):
        """Rebuilds a result from what `to_fields` returned."""
        return cls._of(dict(fields))

    def to_json(self, path=None):
        """Serializes the result; writes it to `path` if one is given.

        The file is written whole or not at all. See `to_fields`.

        Args:
            path: File to write, or `None`.

        Returns:
            The JSON text.
        """
        text = json.dumps(self.to_fields(), indent=1, allow_nan=False)
        if path is not None:
            write_text(path, text)
        return text

    @classmethod
    def from_json(cls, text):
        """Rebuilds a result from the text that `to_json` returned."""
        return cls.from_fields(json.loads(text))


class Statement(Result):
    """A sentence under assumptions: what bounds and complexities share."""

    @property
    def failed(self):
        """The assumptions that the numbers refute."""
        return tuple(a for a in self.assumptions if a.status == "failed")

    def _fields(self):
        return dataclasses.asdict(self)

    @classmethod
    def _of(cls, fields):
        fields["assumptions"] = tuple(
            Assumption(**assumption) for assumption in fields["assumptions"]
        )
        return cls(**cls._numbers(fields))

    def __str__(self):
        return self.statement()
