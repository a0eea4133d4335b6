"""Which Keras operations are linear once an activation pattern is fixed.

Two-phase training copies them into two branches, and path sums go through
them by one rule for each kind.
"""

import keras
from keras import layers

from tf_genbounds.functional import activations as logits
from tf_genbounds.functional.activations import activation_name
from tf_genbounds.functional.activations import leaky_slope
from tf_genbounds.functional.operators import LINEAR_LAYERS
from tf_genbounds.functional.operators import unsupported_reason
from tf_genbounds.layers import gates
from tf_genbounds.layers.darc import DARC1Regularization
from tf_genbounds.layers.darc import DARCRegularization

_KINDS = {
    "linear": LINEAR_LAYERS,
    "batch_norm": (
        layers.BatchNormalization,
        gates.FixedStatisticsBatchNormalization,
    ),
    "activation": (layers.ReLU, layers.LeakyReLU, layers.PReLU),
    "max_pooling": (
        layers.MaxPooling1D,
        layers.MaxPooling2D,
        layers.MaxPooling3D,
    ),
    "global_max_pooling": (
        layers.GlobalMaxPooling1D,
        layers.GlobalMaxPooling2D,
        layers.GlobalMaxPooling3D,
    ),
    "average_pooling": (
        layers.AveragePooling1D,
        layers.AveragePooling2D,
        layers.AveragePooling3D,
    ),
    "mean": (
        layers.GlobalAveragePooling1D,
        layers.GlobalAveragePooling2D,
        layers.GlobalAveragePooling3D,
    ),
    "merge": (layers.Add, layers.Average, layers.Subtract),
    "scale": (layers.Rescaling,),
    "rearrangement": (
        layers.Concatenate,
        layers.Cropping1D,
        layers.Cropping2D,
        layers.Cropping3D,
        layers.Flatten,
        layers.Permute,
        layers.RepeatVector,
        layers.Reshape,
        layers.UpSampling1D,
        layers.UpSampling2D,
        layers.UpSampling3D,
        layers.ZeroPadding1D,
        layers.ZeroPadding2D,
        layers.ZeroPadding3D,
    ),
    "dropout": (
        layers.Dropout,
        layers.GaussianDropout,
        layers.SpatialDropout1D,
        layers.SpatialDropout2D,
        layers.SpatialDropout3D,
    ),
    "identity": (layers.Identity, layers.InputLayer),
    "penalty": (DARC1Regularization, DARCRegularization),
    "probabilities": (layers.Softmax,),
}
# Classes of `keras.ops` nodes, which are not public, by name.
_NODES = {
    "activation": {"LeakyRelu", "ReLU", "Relu", "Relu6"},
    "max_pooling": {"MaxPool"},
    "average_pooling": {"AveragePool"},
    "mean": {"Mean"},
    "merge": {"Add", "Subtract"},
    "scale": {"Divide", "Multiply", "Negative", "TrueDivide"},
    "rearrangement": {
        "Concatenate",
        "ExpandDims",
        "GetItem",
        "Moveaxis",
        "Reshape",
        "Squeeze",
        "Stack",
        "Sum",
        "Swapaxes",
        "Transpose",
    },
    "identity": {"Cast", "Identity"},
    "probabilities": {"LogSoftmax", "LogSigmoid", "Sigmoid", "Softmax"},
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
    if isinstance(operation, keras.Layer):
        found = _kind_of_layer(operation)
    elif not type(operation).__module__.startswith("keras."):
        found = None
    else:
        name = type(operation).__name__
        found = next((k for k, names in _NODES.items() if name in names), None)
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


def _kind_of_layer(layer):
    # The linear layers say themselves whether a subclass changed their map; of
    # others, a subclass may compute anything.
    if isinstance(layer, LINEAR_LAYERS):
        return "linear"
    return next((k for k, classes in _KINDS.items() if type(layer) in classes), None)


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
