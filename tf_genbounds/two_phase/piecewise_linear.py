"""Which Keras operations are linear once an activation pattern is fixed.

Two-phase training copies them into two branches, and path sums go through
them by one rule for each kind.
"""

from keras import layers

from tf_genbounds.functional import activations as logits
from tf_genbounds.functional.activations import activation_name
from tf_genbounds.functional.activations import leaky_slope
from tf_genbounds.functional.operation_kinds import kind_of
from tf_genbounds.functional.operators import LINEAR_LAYERS
from tf_genbounds.functional.operators import unsupported_reason
from tf_genbounds.layers import gates

# By the kinds of all operations, see `functional.operation_kinds`.
_KINDS = {
    "batch_norm": {"batch_norm"},
    "activation": {"activation"},
    "max_pooling": {"max_pooling"},
    "global_max_pooling": {"global_max_pooling"},
    "average_pooling": {"average_pooling"},
    "mean": {"mean"},
    "merge": {"sum", "difference", "average"},
    "scale": {"rescaling", "product", "quotient", "negative"},
    "rearrangement": {"rearrangement", "reshape", "total"},
    "dropout": {"dropout"},
    "identity": {"identity"},
    "penalty": {"penalty"},
    "probabilities": {"sigmoid", "softmax"},
}
# What may end a network whose logits decide. Not a hard sigmoid: it makes equal
# what differed, so that what the logits decide the output may not.
_ENDS = set(logits.PROBABILITIES) - {"hard_sigmoid"}

SUPPORTED = (
    "Dense, EinsumDense and all convolutions, BatchNormalization, ReLU (also "
    "leaky, capped and PReLU, without a threshold), max and average pooling, "
    "local and global, Add, Average, Subtract, Concatenate, products with "
    "constants, Flatten, Reshape, Permute, RepeatVector, ZeroPadding, Cropping, "
    "UpSampling (nearest), Dropout, and a softmax or sigmoid at the end"
)


def kind(operation):
    """Names the kind of an operation, or says why it has none.

    Returns:
        A pair `(kind, reason)`; one of them is `None`.
    """
    if isinstance(operation, layers.Activation):
        return activation_kind(operation.activation)
    if isinstance(operation, gates.GATES):
        return None, "is frozen already"
    found = _kind(operation)
    if found is None:
        return None, "is not linear for a fixed activation pattern"
    reason = _reason(operation, found)
    return (None, reason) if reason else (found, None)


def activation_kind(function):
    """Names the kind of an activation function, as `kind` does."""
    known = activation_name(function)
    if known == "linear":
        return "identity", None
    if known in _ENDS:
        return "probabilities", None
    if slopes(function) is not None:
        return "activation", None
    name = getattr(function, "__name__", type(function).__name__)
    return None, (
        f"has the activation {name}, which is not piecewise linear, so that no "
        "pattern of units that are on or off describes it"
    )


def slopes(activation):
    """Returns the options of a `Gate` for an activation, or None.

    `activation` is a function, a layer or an operation.
    """
    name, known = type(activation).__name__, activation_name(activation)
    if known == "relu" or name == "Relu":
        return {}
    if known == "relu6" or name == "Relu6":
        return {"max_value": 6.0}
    if leaky_slope(activation) is not None:
        return {"negative_slope": leaky_slope(activation)}
    if name in ("LeakyReLU", "LeakyRelu"):
        return {"negative_slope": float(activation.negative_slope)}
    if name == "ReLU":
        return {
            "negative_slope": float(activation.negative_slope or 0.0),
            "max_value": activation.max_value,
        }
    return None


def _kind(operation):
    # The linear layers say themselves whether a subclass changed their map.
    if isinstance(operation, LINEAR_LAYERS):
        return "linear"
    known = kind_of(operation)
    if isinstance(operation, layers.Multiply):
        return None  # Of two branches. The node may be a product with a constant.
    return next((k for k, of in _KINDS.items() if known in of), None)


def _reason(operation, found):
    if found == "linear":
        return unsupported_reason(operation)
    if getattr(operation, "threshold", 0):
        return "has a threshold, where its output jumps"
    if getattr(operation, "interpolation", "nearest") != "nearest":
        return f"interpolates ({operation.interpolation})"
    if found == "batch_norm" and getattr(operation, "renorm", False):
        return "renormalizes batches (renorm=True)"
    if type(operation).__name__ == "Cast" and "float" not in str(operation.dtype):
        return f"casts to {operation.dtype}"
    axis = getattr(operation, "axis", ())
    if type(operation).__name__ in ("Mean", "Sum") and (axis is None or 0 in axis):
        return "mixes the examples of a batch"
    return None
