"""A Keras model as it is handed in: its graph, its inputs, what fits them."""

import keras

from tf_genbounds.checks import check_keras_model
from tf_genbounds.data.forms import are_strings
from tf_genbounds.keras_internals import inputs_of
from tf_genbounds.keras_internals import layers_in
from tf_genbounds.keras_internals import runs_through_graph
from tf_genbounds.keras_internals import to_functional


def has_open_size(model):
    """Whether the inputs of a model may be of any size."""
    return any(
        size is None
        for tensor in keras.tree.flatten(built_inputs(model))
        for size in tensor.shape
    )


def sizes_may_vary(model):
    """Whether another batch may have inputs of another size."""
    inputs = getattr(model, "inputs", None)
    return not inputs or any(None in t.shape[1:] for t in inputs)


def built_inputs(model):
    """Returns the inputs with which a model was built, `None` for open sizes."""

    def one(shape, dtype):
        # A model with a state has a fixed batch size.
        return keras.KerasTensor((shape[0] or 1, *shape[1:]), dtype)

    inputs = inputs_of(model)
    if inputs is not None:
        return keras.tree.map_structure(lambda t: one(t.shape, t.dtype), inputs)
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise ValueError(
            "The input shape of the model is not known: measure it on data. "
            f"Received: model={model.name!r}"
        )
    return _map_shapes(lambda s: one(s, keras.config.floatx()), shape)


def _map_shapes(function, nest):
    """Maps each shape of a nest of shapes."""
    if isinstance(nest, dict):
        return {key: _map_shapes(function, shape) for key, shape in nest.items()}
    if nest and isinstance(nest[0], (dict, list, tuple)):
        # Keras has lists of its own, which JAX does not know.
        kind = tuple if isinstance(nest, tuple) else list
        return kind(_map_shapes(function, shape) for shape in nest)
    return function(tuple(nest))


def check_merged(model, hint):
    """Refuses LoRA weights: what is saved and written is one kernel.

    Args:
        model: Keras model.
        hint: String, what to do instead.
    """
    for layer in layers_in(model):
        if getattr(layer, "lora_enabled", False):
            raise ValueError(
                f"Layer {layer.name!r} has LoRA weights beside its kernel, and what is "
                f"saved is one kernel: {hint}. Received: layer={layer}"
            )


def check_shapes(model, x):
    """Refuses data that does not fit the inputs of a Functional model.

    Raises:
        ValueError: If a shape does not fit.
        TypeError: If there are strings for an input of numbers.
    """
    inputs = getattr(model, "inputs", None) or ()
    expected = [t.shape for t in inputs]
    parts = _in_order(model, x)
    shapes = [a.shape for a in parts]
    if not expected:
        return
    if len(shapes) != len(expected) or not all(map(_fits, shapes, expected)):
        if all(shape[0] is None for shape in expected):
            shapes = [(None, *shape[1:]) for shape in shapes]
        raise ValueError(
            f"`x` must fit the model's inputs of shape {expected}"
            f"{_advice(x, [a.shape for a in parts], expected)}. "
            f"Received: shape {shapes}"
        )
    for tensor, part in zip(inputs, parts, strict=True):
        if are_strings(part) and tensor.dtype != "string":
            raise TypeError(f"`x` must be numbers. Received: x.dtype={part.dtype}")


def _in_order(model, x):
    """Returns the parts of a nest of inputs as a Functional model orders them."""
    if isinstance(x, dict) and not isinstance(inputs_of(model), dict):
        # Keras finds them by name, and leaves out what has none.
        names = [t.name for t in getattr(model, "inputs", None) or ()]
        if names and set(names) <= set(x):
            return [x[name] for name in names]
    return keras.tree.flatten(x)


def _advice(x, shapes, expected):
    """What to do with data that is in another form."""
    if isinstance(x, list) and len(shapes) == 2 and len(expected) == 1:
        return "; a list is of inputs, so pass inputs and labels as a tuple `(x, y)`"
    if len(shapes) == len(expected) and all(
        _fits((None, *shape), e) for shape, e in zip(shapes, expected, strict=True)
    ):
        return ", in batches: a dataset needs `dataset.batch(128)`"
    sizes = {shape[0] for shape in expected} - {None}
    if sizes:
        return f"; with arrays pass `batch_size={sizes.pop()}`"
    return ""


def _fits(shape, expected):
    # Keras adds or drops a last axis of size 1, so that is no mistake.
    if len(shape) == len(expected) - 1:
        shape = (*shape, 1)
    elif len(shape) == len(expected) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    return len(shape) == len(expected) and all(
        e is None or e == s for s, e in zip(shape, expected, strict=True)
    )


def functional_graph(model):
    """Returns the graph of a model, or says that it has none."""
    functional = to_functional(model)
    if functional is None:
        raise ValueError(
            "The model must be built, for instance by starting it with "
            f"`keras.Input(shape)`. Received: model={model.name!r}"
        )
    if not runs_through_graph(functional):
        raise TypeError(
            "Only Functional and Sequential models show their graph. Received: a "
            f"subclassed model, {type(model).__name__} {model.name!r}"
        )
    return functional


def check_built(model):
    """Refuses what is not a built Keras model."""
    check_keras_model(model)
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on a batch, or `model.build()`. "
            f"Received: model={model.name!r}, which has no weights yet."
        )
