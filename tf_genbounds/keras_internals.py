"""What Keras has and does not export: the one place that names it.

Each is here for a reason that its function gives, and is tested by itself, so that a
new Keras that changed it says so in one place.
"""

import keras

# The float32 of a step, whatever the policies: `keras.mixed_precision` changes what
# is built afterwards, and nothing that exists.
from keras.src.backend import AutocastScope

# The mask of predictions. The base loss reads it from the tensor, and a metric or a
# loss that adds to it must read the same one.
from keras.src.backend import get_keras_mask

# What `keras.losses.get` does not do for a function: give it `reduction` and `dtype`.
from keras.src.losses.losses import LossFunctionWrapper

# Whether a JAX tensor is a tracer that shows no values: JAX has no public test.
from keras.src.utils.jax_utils import is_in_jax_tracing_scope

__all__ = [
    "AutocastScope",
    "LossFunctionWrapper",
    "get_keras_mask",
    "inputs_of",
    "is_in_jax_tracing_scope",
    "layers_in",
    "makers_inputs",
    "runs_through_graph",
    "run_through_graph",
    "sublayers",
    "to_functional",
]


def layers_in(model, include_self=True):
    """Returns all layers of a model, those in layers too; `model.layers` are few."""
    return model._flatten_layers(include_self=include_self)


def sublayers(layer):
    """Returns the layers that a layer holds, in attributes too."""
    return layer._layers


def to_functional(model):
    """Returns the Functional model that a Sequential one is, or `None` before it."""
    return model._functional if isinstance(model, keras.Sequential) else model


def runs_through_graph(model):
    """Whether a model shows its graph: Functional, not a subclass with a `call`."""
    return hasattr(model, "_run_through_graph")


def run_through_graph(functional, inputs, operation_fn):
    """Runs a Functional model with other operations, or on other things than tensors.

    Args:
        functional: As `to_functional` returns it.
        inputs: Flat list, one for each input.
        operation_fn: Function of an operation that returns what is called for it.
    """
    return functional._run_through_graph(inputs, operation_fn=operation_fn)


def inputs_of(model):
    """Returns the nest of symbolic inputs, as `call` takes them, or `None`.

    `model.inputs` is flat.
    """
    if hasattr(model, "_inputs_struct"):
        return model._inputs_struct
    inputs = getattr(model, "inputs", None)  # A Sequential model has one.
    return inputs[0] if inputs else None


def makers_inputs(tensor):
    """Returns what made a symbolic tensor.

    Returns:
        A tuple `(operation, node, index, inputs)`: the operation, which of its calls
        and of that call's outputs it is, and the tensors that went in (none for an
        input of the model). `None` for a tensor that does not know.
    """
    if not hasattr(tensor, "_keras_history"):
        return None
    operation, node, index = tensor._keras_history
    return operation, node, index, operation._inbound_nodes[node].input_tensors
