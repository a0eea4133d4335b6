"""Whether a tensor holds probabilities: the walk back to what made it.

The loss, the regularizer, the layers and the metrics of logits all ask here.
"""

import keras

from tf_genbounds.functional.activations import PROBABILITIES
from tf_genbounds.functional.activations import activation_name
from tf_genbounds.functional.operation_kinds import kind_in_graph
from tf_genbounds.functional.operation_kinds import kind_of
from tf_genbounds.functional.operation_kinds import probability_of
from tf_genbounds.keras_internals import makers_inputs

# What makes probabilities of probabilities (or logarithms of them).
_KEEPING = {
    "identity", "copy", "dropout", "noise", "penalty", "reshape", "rearrangement",
    "other_rearrangement", "average", "weighted_mean", "mean", "average_pooling",
    "max_pooling", "global_max_pooling", "extremum", "clip", "log",
}  # fmt: skip


def probabilities_behind(x):
    """Names the function that made probabilities of what became `x`.

    Reshapes, casts, averages and the like between that function and `x` pass
    probabilities on. A symbolic tensor of Keras knows the layers behind it, and a
    tensor of a TensorFlow graph the operations. Of other tensors Keras marks those
    that come right out of a softmax or sigmoid; a JAX tracer knows nothing.

    Args:
        x: A tensor, or a symbolic `KerasTensor`.

    Returns:
        One of `functional.logits.PROBABILITIES`, or `None` where none can be seen.

    Example:

    >>> x = keras.layers.Dense(4, activation="softmax")(keras.Input((3,)))
    >>> probabilities_behind(keras.layers.Reshape((2, 2))(x))
    'softmax'
    """
    return _behind(x, {})


def _behind(x, outer):
    kind, name, inputs = _maker(x, outer)
    if name is not None:
        return name
    if kind in _KEEPING:
        return next(filter(None, (_behind(*each) for each in inputs)), None)
    # A constant has no part in what a sum or a quotient of probabilities is.
    inputs = [each for each in inputs if not _is_constant(each[0])]
    if kind == "product" and len(inputs) == 1:
        # Half a sum is an average. Ten times a sigmoid may well be meant as a logit.
        return _behind(*inputs[0]) if _maker(*inputs[0])[0] == "sum" else None
    if kind == "sum" or (kind == "quotient" and len(inputs) == 1):
        names = [_behind(*each) for each in inputs]
        return names[0] if names and all(names) else None
    return None


def _maker(x, outer):
    """Says what made a tensor.

    Args:
        x: A tensor.
        outer: What the inputs of the models around it are, by their `id`: pairs of
            a tensor and the `outer` of its own.

    Returns:
        A triple of the kind of the operation (see `operation_kinds`), the name of a function in
        `PROBABILITIES` that it applies or `None`, and pairs `(tensor, outer)`, its
        inputs.
    """
    if id(x) in outer:
        return "identity", None, [outer[id(x)]]
    if isinstance(x, keras.KerasTensor):
        return _maker_of_symbolic(x, outer)
    # An eager tensor has no operation.
    if hasattr(x, "op"):
        inputs = [(t, outer) for t in x.op.inputs]
        return kind_in_graph(x.op), _name_in_graph(x.op), inputs
    return None, "softmax" if hasattr(x, "_keras_logits") else None, []


def _maker_of_symbolic(x, outer):
    maker = makers_inputs(x)
    if maker is None:
        return None, None, []
    operation, _, index, inputs = maker
    inputs = [(t, outer) for t in inputs]
    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    if getattr(operation, "outputs", None):  # A Functional or Sequential model.
        inner = dict(zip(map(id, operation.inputs), inputs, strict=False))
        return "identity", None, [(operation.outputs[index], {**outer, **inner})]
    kind = kind_of(operation)
    if isinstance(operation, keras.layers.Activation):
        kind = "identity" if activation_name(operation.activation) == "linear" else None
    return kind, _name_of(operation), inputs


def _name_of(operation):
    """Which function in `PROBABILITIES` an operation of Keras ends in, if any."""
    activation = getattr(operation, "activation", None)
    if isinstance(activation, keras.Layer):
        return _name_of(activation)
    name = activation_name(activation) or getattr(activation, "__name__", None)
    if name in PROBABILITIES:
        return name
    return probability_of(operation)


def _name_in_graph(op):
    """The same for an operation of a TensorFlow graph."""
    before = op.inputs[0].op.type if len(op.inputs) else None
    if (op.type, before) == ("Neg", "Softplus"):  # As TensorFlow writes it.
        return "log_sigmoid"
    if (op.type, before) == ("RealDiv", "Relu6"):  # As Keras does.
        return "hard_sigmoid"
    names = {"LogSoftmax": "log_softmax", "Sigmoid": "sigmoid", "Softmax": "softmax"}
    return names.get(op.type)


def _is_constant(x):
    return hasattr(x, "op") and x.op.type == "Const"
