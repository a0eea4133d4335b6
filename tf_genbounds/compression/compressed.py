"""A model, the code word that it was decoded from, and what that proves."""

import collections
import dataclasses
import hashlib
import io
import json
import math
import pathlib
import zlib

import keras
import numpy as np

from tf_genbounds.compression import weight_code
from tf_genbounds.compression.arithmetic_coder import Decoder
from tf_genbounds.compression.arithmetic_coder import Encoder
from tf_genbounds.compression.certificate import Certificate
from tf_genbounds.compression.compact import FORMS
from tf_genbounds.compression.compact import compact_model
from tf_genbounds.compression.compact import compactable
from tf_genbounds.compression.compact import largest_sizes
from tf_genbounds.compression.rebuilding import bare_copy
from tf_genbounds.compression.rebuilding import finalize
from tf_genbounds.compression.rebuilding import set_weights
from tf_genbounds.compression.subspace import Subspace
from tf_genbounds.plain import from_plain
from tf_genbounds.plain import to_plain

_MAGIC = b"tf_genbounds code 2\n"
# How a code word goes on: weights, what is added to initial ones, or a vector in a
# subspace around them.
KINDS = ("plain", "difference", "subspace")


@dataclasses.dataclass(frozen=True, eq=False)
class Compressed:
    """A compressed model and its certificate; made by `compress`.

    Attributes:
        model: The decoded Keras model: an ordinary one.
        certificate: `Certificate` of that model.
        layers: Tuple of dicts, one for each array of weights: its `name`, its
            `method` (the form of the layer, `"plain"`, `"low_rank"`, `"projected"` or
            `"filter_projected"`, and the levels), the `numbers` that are stored and their `bits`, and the
            `relative_error`, `||decoded - original|| / ||original||`.
        code: The code word, as a list of bits.
        architecture: JSON of what was fixed before the sample: the model's
            architecture and the seed.
        initial: List of the arrays that the code's numbers are added to, or
            `None`.
    """

    model: keras.Model
    certificate: Certificate
    layers: tuple
    code: list
    architecture: str
    initial: list | None = None

    def save(self, path):
        """Writes one file: what was fixed before, and the code word.

        Args:
            path: File to write. Only the code word is counted in the
                certificate, `certificate.bits` bits of the file.
        """
        facts = {
            "architecture": self.architecture,
            "certificate": to_plain(dataclasses.asdict(self.certificate)),
            "layers": to_plain(list(self.layers)),
        }
        initial = io.BytesIO()
        if self.initial is not None:
            np.savez_compressed(initial, *self.initial)
        parts = [
            zlib.compress(json.dumps(facts).encode()),
            initial.getvalue(),
            np.packbits(self.code).tobytes(),
        ]
        sizes = [len(part) for part in parts] + [len(self.code)]
        body = json.dumps(sizes).encode() + b"\n" + b"".join(parts)
        checksum = hashlib.sha256(body).hexdigest().encode() + b"\n"
        pathlib.Path(path).write_bytes(_MAGIC + checksum + body)

    @classmethod
    def load(cls, path):
        """Rebuilds the very same model from a file.

        Raises:
            ValueError: If the file is of another kind, cut off or altered.
        """
        content = pathlib.Path(path).read_bytes()
        head, _, rest = content.partition(_MAGIC)
        checksum, _, body = rest.partition(b"\n")
        if head or hashlib.sha256(body).hexdigest().encode() != checksum:
            raise ValueError(
                "The file is no compressed model, or it is damaged. "
                f"Received: path={str(path)!r}"
            )
        sizes, _, rest = body.partition(b"\n")
        *sizes, num_bits = json.loads(sizes)
        parts = []
        for size in sizes:
            parts.append(rest[:size])
            rest = rest[size:]
        facts = json.loads(zlib.decompress(parts[0]))
        initial = None
        if parts[1]:
            with np.load(io.BytesIO(parts[1])) as file:
                initial = [file[name] for name in file.files]
        code = np.unpackbits(np.frombuffer(parts[2], "uint8"))[:num_bits].tolist()
        certificate = facts["certificate"]
        certificate["fixed"] = tuple(certificate["fixed"])
        for key in ("train_error", "delta"):
            certificate[key] = from_plain(certificate[key])
        return cls(
            model=decode(facts["architecture"], code, initial),
            certificate=Certificate(**certificate),
            layers=tuple(facts["layers"]),
            code=code,
            architecture=facts["architecture"],
            initial=initial,
        )


def architecture_of(model, seed, num_choices=1):
    """Returns as JSON what the decoder has before the code.

    Args:
        model: The model, of which the architecture counts.
        seed: Integer.
        num_choices: Integer, how many architectures the code chooses from.
    """
    facts = {
        "model": bare_copy(model).to_json(),
        "seed": seed,
        "num_choices": num_choices,
    }
    return json.dumps(facts)


def _encoder(choice, kind):
    """Starts a code word with what tells the decoder how to go on."""
    encoder = Encoder()
    if choice[1] > 1:
        encoder.name("choice of the architecture")
        encoder.integer(*choice)
    encoder.name("kind of the code")
    encoder.integer(KINDS.index(kind), len(KINDS))
    return encoder


def encode(model, forms, weights, compact, choice=(0, 1), difference=False):
    """Writes a compact model as a code word.

    Args:
        model: The model of the architecture.
        forms: As for `compact_model`.
        weights: A `weight_code.Levels` or `Floats` for each weight of `compact`.
        compact: The compact model.
        choice: Pair, which of how many architectures this is.
        difference: Boolean, whether the weights are added to initial ones.

    Returns:
        A pair: the list of bits, and the bits of each item by name.
    """
    encoder = _encoder(choice, "difference" if difference else "plain")
    encoder.name("forms of the layers")
    for layer, (form, *sizes) in zip(compactable(model), forms, strict=True):
        encoder.integer(FORMS.index(form), len(FORMS))
        for size, largest in zip(sizes, largest_sizes(layer, form), strict=True):
            encoder.integer(size - 1, largest)
    for name, coded in zip(names_of(compact), weights, strict=True):
        encoder.name(name)
        weight_code.write(encoder, coded)
    return encoder.finish(), encoder.items


def encode_subspace(model, dimension, weights, choice=(0, 1)):
    """Writes a model as a vector in a subspace of its trainable weights.

    Args:
        model: The model.
        dimension: Integer, of the subspace.
        weights: `weight_code` formats: the vector, then those of the
            non-trainable weights.
        choice: Pair, which of how many architectures this is.

    Returns:
        As `encode` does.
    """
    encoder = _encoder(choice, "subspace")
    encoder.name("dimension")
    encoder.integer(dimension - 1, largest_dimension(model))
    for name, coded in zip(subspace_names(model), weights, strict=True):
        encoder.name(name)
        weight_code.write(encoder, coded)
    return encoder.finish(), encoder.items


def subspace_names(model):
    """Returns a name for each array of a code word in a subspace."""
    names = dict(zip(map(id, model.weights), names_of(model), strict=True))
    return ["subspace", *(names[id(v)] for v in model.non_trainable_weights)]


def largest_dimension(model):
    """Returns how large a subspace's dimension can be."""
    return sum(math.prod(v.shape) for v in model.trainable_weights) - 1


def names_of(model):
    """Returns a name for each weight: its path, and a number if that repeats."""
    count, names = collections.Counter(), []
    for variable in model.weights:
        count[variable.path] += 1
        repeated = count[variable.path]
        names.append(variable.path + (f" ({repeated})" if repeated > 1 else ""))
    return names


def decode(architecture, code, initial=None):
    """Builds the model of a code word.

    Args:
        architecture: As `architecture_of` returned it.
        code: List of bits.
        initial: Arrays that the decoded ones are added to, or `None`; those of the
            trainable weights for a vector in a subspace.
    """
    facts = json.loads(architecture)
    model = keras.models.model_from_json(facts["model"])
    decoder = Decoder(code)
    if facts["num_choices"] > 1:
        decoder.integer(facts["num_choices"])
    kind = KINDS[decoder.integer(len(KINDS))]
    if (kind == "plain") != (initial is None):
        raise ValueError(
            "Initial weights go with a code of differences from them, and with no "
            f"other. Received: a {kind} code"
        )
    if kind == "subspace":
        return _decode_subspace(model, facts["seed"], decoder, initial)
    forms = []
    for layer in compactable(model):
        form = FORMS[decoder.integer(len(FORMS))]
        sizes = [1 + decoder.integer(n) for n in largest_sizes(layer, form)]
        forms.append((form, *sizes))
    compact = compact_model(model, forms, facts["seed"])
    arrays = [
        weight_code.read(decoder, tuple(v.shape)).values() for v in compact.weights
    ]
    if kind == "difference":
        arrays = [a + b for a, b in zip(initial, arrays, strict=True)]
    set_weights(compact, arrays)
    return compact


def _decode_subspace(model, seed, decoder, initial):
    dimension = 1 + decoder.integer(largest_dimension(model))
    subspace = Subspace(initial, dimension, seed)
    vector = weight_code.read(decoder, subspace.shape).values()
    weights = subspace.weights(keras.ops.convert_to_tensor(vector))
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)
    for variable in model.non_trainable_weights:
        variable.assign(weight_code.read(decoder, tuple(variable.shape)).values())
    finalize(model)
    return model
