"""Code words: from a model to bits, and from bits to the model."""

import collections
import json
import math

import keras

from tf_genbounds.compression.codes import weight_code
from tf_genbounds.compression.codes.arithmetic_coder import Decoder
from tf_genbounds.compression.codes.arithmetic_coder import Encoder
from tf_genbounds.compression.forms.compact_model import CompactModel
from tf_genbounds.compression.forms.compact_model import compactable
from tf_genbounds.compression.forms.forms import FORMS
from tf_genbounds.compression.forms.rebuilding import bare_copy
from tf_genbounds.compression.forms.rebuilding import finalize
from tf_genbounds.compression.forms.rebuilding import set_weights
from tf_genbounds.compression.forms.subspace import Subspace

# How a code word goes on: weights, what is added to initial ones, or a vector in a
# subspace around them.
KINDS = ("plain", "difference", "subspace")
_CHOICE, _KIND = "choice of the architecture", "kind of the code"
_FORMS, _DIMENSION = "forms of the layers", "dimension"


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
        encoder.name(_CHOICE)
        encoder.integer(*choice)
    encoder.name(_KIND)
    encoder.integer(KINDS.index(kind), len(KINDS))
    return encoder


def encode(compact, weights, choice=(0, 1), difference=False):
    """Writes a compact model as a code word.

    Args:
        compact: `CompactModel`.
        weights: A `weight_code.Levels` or `Floats` for each weight of its copy.
        choice: Pair, which of how many architectures this is.
        difference: Boolean, whether the weights are added to initial ones.

    Returns:
        A pair: the list of bits, and the bits of each item by name.
    """
    encoder = _encoder(choice, "difference" if difference else "plain")
    encoder.name(_FORMS)
    for layer, form in zip(compact.layers, compact.forms, strict=True):
        encoder.integer(FORMS.index(type(form)), len(FORMS))
        for size, largest in zip(form.sizes, form.limits(layer), strict=True):
            encoder.integer(size - 1, largest)
    for name, coded in zip(names_of(compact.copy), weights, strict=True):
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
    encoder.name(_DIMENSION)
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

    Returns:
        A pair: the model, and the bits of each item by name.

    Raises:
        ValueError: If the bits are no code word of this architecture, or more.
    """
    facts = json.loads(architecture)
    model = keras.models.model_from_json(facts["model"])
    decoder = Decoder(code)
    if facts["num_choices"] > 1:
        decoder.name(_CHOICE)
        decoder.integer(facts["num_choices"])
    decoder.name(_KIND)
    kind = KINDS[decoder.integer(len(KINDS))]
    if (kind == "plain") != (initial is None):
        raise ValueError(
            "Initial weights go with a code of differences from them, and with no "
            f"other. Received: a {kind} code"
        )
    if kind == "subspace":
        _read_subspace(model, facts["seed"], decoder, initial)
    else:
        model = _read_compact(model, facts["seed"], decoder, initial)
    if decoder.length != len(code):
        raise ValueError(
            f"The code is damaged: its word has {decoder.length} bits. "
            f"Received: {len(code)} bits"
        )
    return model, decoder.items


def _read_compact(model, seed, decoder, initial):
    forms = []
    decoder.name(_FORMS)
    for layer in compactable(model):
        form = FORMS[decoder.integer(len(FORMS))]
        forms.append(form(*(1 + decoder.integer(n) for n in form.limits(layer))))
    compact = CompactModel(model, forms, seed).copy
    arrays = []
    for name, variable in zip(names_of(compact), compact.weights, strict=True):
        decoder.name(name)
        arrays.append(weight_code.read(decoder, tuple(variable.shape)).values())
    if initial is not None:
        arrays = [a + b for a, b in zip(initial, arrays, strict=True)]
    set_weights(compact, arrays)
    return compact


def _read_subspace(model, seed, decoder, initial):
    decoder.name(_DIMENSION)
    dimension = 1 + decoder.integer(largest_dimension(model))
    subspace = Subspace(initial, dimension, seed)
    first, *names = subspace_names(model)
    decoder.name(first)
    vector = weight_code.read(decoder, subspace.shape).values()
    weights = subspace.weights(keras.ops.convert_to_tensor(vector))
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)
    for name, variable in zip(names, model.non_trainable_weights, strict=True):
        decoder.name(name)
        variable.assign(weight_code.read(decoder, tuple(variable.shape)).values())
    finalize(model)
