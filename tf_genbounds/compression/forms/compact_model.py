"""Layers of few numbers in the place of Dense and convolution layers."""

import math

import keras

from tf_genbounds import backend
from tf_genbounds.compression.algorithms.filter_project import project_filters
from tf_genbounds.compression.algorithms.matrix_project import project
from tf_genbounds.compression.algorithms.truncate_svd import truncate_svd
from tf_genbounds.compression.forms.projected_layers import FilterProjected
from tf_genbounds.compression.forms.projected_layers import Projected
from tf_genbounds.compression.forms.projected_layers import positions
from tf_genbounds.compression.forms.rebuilding import bare_copy
from tf_genbounds.compression.forms.rebuilding import counterparts
from tf_genbounds.compression.forms.rebuilding import finalize
from tf_genbounds.functional.operators import unsupported_reason

COMPACT = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)
# What the code says of a layer: its form, and how large it is.
FORMS = ("plain", "low_rank", "projected", "filter_projected")


def compactable(model):
    """Returns the layers that have compact forms, in a fixed order.

    The order is that of `model.layers`, nested models entered, each layer once.
    """
    found = {}

    def visit(layers):
        for layer in layers:
            if isinstance(layer, keras.Model):
                visit(layer.layers)
            elif type(layer) in COMPACT and unsupported_reason(layer) is None:
                if getattr(layer, "groups", 1) == 1:
                    found[layer] = None

    visit(model.layers)
    return list(found)


def largest_sizes(layer, form):
    """Returns how large each size of a form can be, for this layer.

    A rank, or a number of numbers; for filters at each position how many filters
    and their independence.
    """
    shape = tuple(layer.kernel.shape)
    if form == "low_rank":
        return (min(math.prod(shape[:-1]), shape[-1]),)
    if form == "projected":
        return (math.prod(shape),)
    if form == "filter_projected":
        return math.prod(shape), math.prod(output_positions(layer))
    return ()


def output_positions(layer):
    """Returns the size of a layer's output for `FilterProjected`, or `None`."""
    return positions(layer, tuple(layer.get_build_config()["input_shape"]))


def compact_model(model, forms, seed):
    """Builds a model in which some layers have compact forms.

    Args:
        model: Functional or Sequential model.
        forms: A tuple `(form, *sizes)` for each layer of `compactable(model)`.
        seed: Integer, of projected layers.

    Returns:
        A model with fresh weights.
    """
    bare = bare_copy(model)
    index = {layer: i for i, layer in enumerate(compactable(bare))}

    def clone(layer):
        if layer not in index:
            return type(layer).from_config(layer.get_config())
        form, *sizes = forms[index[layer]]
        copy = type(layer).from_config(layer.get_config())
        if form == "plain":
            return copy
        if form == "low_rank":
            return _two_layers(layer, *sizes)
        kind = {"projected": Projected, "filter_projected": FilterProjected}[form]
        return kind(copy, *sizes, seed=seed, index=index[layer], name=layer.name)

    with backend.scope(model):
        return keras.models.clone_model(bare, clone_function=clone, recursive=True)


def _two_layers(layer, rank):
    """Two layers, the first of which has `rank` outputs."""
    config = layer.get_config()
    first = dict(config)
    first |= {"name": f"{layer.name}_first", "use_bias": False}
    first |= {"activation": "linear", "activity_regularizer": None}
    second = dict(config) | {"name": f"{layer.name}_second"}
    if isinstance(layer, keras.layers.Dense):
        first["units"] = rank
    else:
        first["filters"] = rank
        ones = (1,) * len(layer.kernel_size)
        second |= {"kernel_size": ones, "strides": ones, "dilation_rate": ones}
        second["padding"] = "valid"
    return keras.Sequential(
        [type(layer).from_config(c) for c in (first, second)], name=layer.name
    )


def pairs(model, forms, compact):
    """Yields each layer with weights, its copy in a compact model, its form."""
    form_of = dict(zip(compactable(model), forms, strict=True))
    for layer, copy in counterparts(model, compact):
        if layer.weights:
            yield layer, copy, form_of.get(layer, ("plain",))


def fill(model, forms, compact, seed):
    """Gives a compact model the weights that stand for those of `model`."""
    index = {layer: i for i, layer in enumerate(compactable(model))}
    for layer, copy, (form, *sizes) in pairs(model, forms, compact):
        if form == "plain":
            copy.set_weights(layer.get_weights())
            continue
        kernel, *bias = layer.get_weights()
        if form == "low_rank":
            factors = truncate_svd(kernel, rank=sizes[0])
            stored = [factors.first, factors.second]
        elif form == "projected":
            stored = [project(kernel, *sizes, seed=seed, layer=index[layer]).numbers]
        else:
            found = project_filters(
                kernel, *sizes, locations=1, seed=seed, layer=index[layer]
            )
            stored = [found.numbers]
        copy.set_weights([*stored, *bias])
    finalize(compact)
