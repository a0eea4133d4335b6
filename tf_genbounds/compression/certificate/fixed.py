"""What a certificate takes for granted, and which numbers hide in it.

Whatever the decoder reads besides the code word must have been fixed before the
sample. That is so by assumption for an architecture; but an array of numbers in it is
a weight in all but name.
"""

import json
import warnings

FIXED = (
    "the architecture (or the list that the code chooses it from), the loss and the "
    "preprocessing",
    "the seed and the initial weights that the code adds to, if any",
    "the code itself",
)
# Shapes, strides, paddings and axes are lists of no more integers than this, and an
# architecture has no more scalars: a slope, a factor, an offset.
_FEW = 8
# Values that are coded, and shapes.
_LEFT_OUT = ("build_config", "input_layers", "output_layers", "compile_config")
_SCALARS = "scalars of operations"


def fixed_of(architecture):
    """Returns what has to be fixed before the sample, for `Certificate.fixed`.

    Args:
        architecture: JSON, as `code_word.architecture_of` returned it.
    """
    found = numbers_of(architecture)
    if not found:
        return FIXED
    total, names = sum(found.values()), _listed(found)
    return (*FIXED, f"the {total:,} numbers in the architecture ({names})")


def warn_of_numbers(architecture, stacklevel):
    """Warns of numbers that the code does not pay for."""
    found = numbers_of(architecture)
    if found:
        warnings.warn(
            "There are numbers in the architecture that the code does not pay for, "
            f"{_listed(found)}. The certificate holds if they were fixed before the "
            "sample was drawn, as it says; as weights of a layer they are coded.",
            stacklevel=stacklevel + 1,
        )


def numbers_of(architecture):
    """Counts the numbers in an architecture that may have been fitted to a sample.

    These are the entries of arrays (constants of the graph, means, boundaries), that
    is of lists with two or more numbers and a float among them, of other lists with
    more than 8 entries (indices, vocabularies), and the distinct floats among the
    operations' arguments and of `Rescaling` and `Normalization`, if there are more
    than 8. Initializers do not count: the weights are in the code.

    Returns:
        Dict from the name of a layer or operation to how many numbers it has.

    Example:

    >>> layer = keras.layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0])
    >>> model = keras.Sequential([keras.Input((2,)), layer, keras.layers.Dense(2)])
    >>> numbers_of(json.dumps({"model": model.to_json()}))
    {'normalization': 4}
    """
    found, scalars = {}, set()
    config = json.loads(json.loads(architecture)["model"])["config"]
    _visit(config["layers"], "", found, scalars)
    if len(scalars) > _FEW:
        found[_SCALARS] = len(scalars)
    return found


def _visit(layers, prefix, found, scalars):
    for layer in layers:
        config = layer["config"]
        name = prefix + config.get("name", layer.get("name", layer["class_name"]))
        own = layer
        if "layers" in config:
            _visit(config["layers"], f"{name}/", found, scalars)
            own = layer.get("inbound_nodes", [])
        count = _count(own)
        module = layer.get("module") or ""
        if count:
            found[name] = found.get(name, 0) + count
        elif module.startswith("keras.src.ops") or layer["class_name"] in (
            "Rescaling",
            "Normalization",
        ):
            scalars |= set(_floats(own))


def _count(value):
    if isinstance(value, dict):
        if value.get("class_name") in ("__numpy__", "__tensor__"):
            size = len(list(_leaves(value["config"]["value"])))
            return size if size > 1 else 0
        return sum(
            _size(part) if key == "vocabulary" else _count(part)
            for key, part in value.items()
            if key not in _LEFT_OUT and not key.endswith("initializer")
        )
    if not isinstance(value, list):
        return 0
    leaves = list(_leaves(value))
    if any(isinstance(part, dict) for part in leaves):
        return sum(map(_count, value))
    floats = any(isinstance(part, float) for part in leaves)
    return len(leaves) if len(leaves) > (1 if floats else _FEW) else 0


def _size(vocabulary):
    return len(vocabulary) if isinstance(vocabulary, list) else 0


def _leaves(value):
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _floats(value):
    if isinstance(value, float):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _floats(part)


def _listed(found):
    return ", ".join(f"{count:,} of {name!r}" for name, count in found.items())
