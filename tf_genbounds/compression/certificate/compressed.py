"""A model, the code word that it was decoded from, and what that proves."""

import dataclasses
import json
import math
import os
import pathlib

import keras

from tf_genbounds.bounds.result import to_plain
from tf_genbounds.compression.certificate import code_file
from tf_genbounds.compression.certificate.certificate import Certificate
from tf_genbounds.compression.certificate.fixed import fixed_of
from tf_genbounds.compression.codes.model_code import decode


@dataclasses.dataclass(frozen=True)
class CodedArray:
    """An array of weights in a code word.

    Attributes:
        name: Its path, and a number if that repeats.
        method: The form of its layer, `"plain"`, `"low_rank"`, `"projected"` or
            `"filter_projected"`, and the levels.
        numbers: How many numbers are stored.
        bits: Their share of the code word.
        relative_error: `||decoded - original|| / ||original||`.
    """

    name: str
    method: str
    numbers: int
    bits: float
    relative_error: float


@dataclasses.dataclass(frozen=True, eq=False)
class Compressed:
    """A compressed model and its certificate; made by `compress`.

    Attributes:
        model: The decoded Keras model: an ordinary one.
        certificate: `Certificate` of that model.
        arrays: Tuple of `CodedArray`, one for each array of weights.
        code: The code word, as a list of bits.
        architecture: JSON of what was fixed before the sample: the model's
            architecture and the seed.
        initial: List of the arrays that the code's numbers are added to, or
            `None`.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    >>> compressed = gb.compress(model, (x, (x[:, 0] > 0).astype(int)))
    >>> len(compressed.code) == compressed.certificate.bits
    True
    """

    model: keras.Model
    certificate: Certificate
    arrays: tuple
    code: list
    architecture: str
    initial: list | None = None

    def save(self, path: str | os.PathLike) -> None:
        """Writes one file: what was fixed before, and the code word.

        Args:
            path: File to write. Only the code word is counted in the
                certificate, `certificate.bits` bits of the file.
        """
        facts = {
            "architecture": self.architecture,
            "certificate": to_plain(dataclasses.asdict(self.certificate)),
            "layers": to_plain([dataclasses.asdict(a) for a in self.arrays]),
        }
        packed = code_file.pack(json.dumps(facts), self.initial, self.code)
        pathlib.Path(path).write_bytes(packed)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Compressed":
        """Rebuilds the very same model from a file.

        The certificate is that of the code in the file: what of it can be computed
        from the code is.

        Raises:
            ValueError: If the file is of another kind, cut off or altered, or its
                certificate is not of its code.
        """
        facts, initial, code = code_file.unpack(path)
        try:
            facts = json.loads(facts)
            architecture = facts["architecture"]
            arrays = tuple(CodedArray(**row) for row in facts["layers"])
            certificate = Certificate._of(facts["certificate"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                "The file does not say what a compressed model is made of. "
                f"Received: path={str(path)!r}"
            ) from error
        model, items = decode(architecture, code, initial)
        _check(certificate, code, items, architecture, arrays)
        return cls(model, certificate, arrays, code, architecture, initial)


def _check(certificate, code, items, architecture, arrays):
    """Refuses a certificate that is not of the code, as far as the code says."""
    errors = certificate.train_error * certificate.num_samples
    for name, found, expected in (
        ("bits", certificate.bits, len(code)),
        # In order: Keras numbers weights without a name, anew in each session.
        ("items", list(certificate.items.values()), list(items.values())),
        ("fixed", certificate.fixed, fixed_of(architecture)),
        ("the bits of its arrays", [array.bits for array in arrays],
         [certificate.items.get(array.name) for array in arrays]),
        ("a train error in samples", errors, round(errors)),
    ):  # fmt: skip
        if found != expected and not (
            isinstance(found, float) and math.isclose(found, expected, rel_tol=1e-12)
        ):
            raise ValueError(
                "The file's certificate is not of its code, which has "
                f"{name}={expected}. Received: {name}={found}"
            )
