"""What the operations of Keras do to numbers: the one table of them.

Who reads a graph asks here: which operations are linear for a fixed pattern of active
units, in which no activation hides, which make or keep probabilities.
"""

import re
import typing

import keras

from tf_genbounds.functional.activations import PROBABILITIES


class Names(typing.NamedTuple):
    """Class names of layers and of nodes of `keras.ops`, types of TensorFlow's graph.

    The nodes' classes are not public. Layers are those of Keras and of this package.
    """

    layers: str = ""
    nodes: str = ""
    graph: str = ""


_TABLE = {
    # In inference mode, each number of an example in its place.
    "identity": Names("Identity InputLayer", "Cast Identity", "Cast Identity"),
    "copy": Names(
        "ActivityRegularization Masking",
        "Copy StopGradient",
        "EnsureShape IdentityN PreventGradient StopGradient",
    ),
    "dropout": Names(
        "Dropout GaussianDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D"
    ),
    "noise": Names("AlphaDropout GaussianNoise"),
    "penalty": Names("DARC1Regularization DARCRegularization"),
    "reshape": Names(
        "Flatten Reshape", "ExpandDims Reshape Squeeze", "ExpandDims Reshape Squeeze"
    ),
    # Elsewhere, some twice or not at all, beside zeros. Of the second kind two-phase
    # training knows no rule.
    "rearrangement": Names(
        "Concatenate Cropping1D Cropping2D Cropping3D Permute RepeatVector UpSampling1D "
        "UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D",
        "Concatenate GetItem Moveaxis Stack Swapaxes Transpose",
        "ConcatV2 Pack StridedSlice Transpose",
    ),
    "other_rearrangement": Names(
        "",
        "BroadcastTo Flip Pad Ravel Repeat Roll Slice Split Take Tile",
        "BroadcastTo GatherV2 Pad PadV2 ReverseV2 Slice Split SplitV Tile Unpack",
    ),
    "sum": Names("Add", "Add", "Add AddN AddV2"),
    "difference": Names("Subtract", "Subtract", "Sub"),
    "total": Names("", "Sum", "Sum"),
    "average": Names("Average"),
    "weighted_mean": Names("", "Average"),
    "mean": Names(
        "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D",
        "Mean",
        "Mean",
    ),
    "average_pooling": Names(
        "AveragePooling1D AveragePooling2D AveragePooling3D",
        "AveragePool",
        "AvgPool AvgPool3D",
    ),
    "max_pooling": Names(
        "MaxPooling1D MaxPooling2D MaxPooling3D", "MaxPool", "MaxPool MaxPool3D"
    ),
    "global_max_pooling": Names(
        "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D"
    ),
    "extremum": Names(
        "Maximum Minimum", "Max Maximum Min Minimum", "Max Maximum Min Minimum"
    ),
    "clip": Names("", "Clip", "ClipByValue"),
    "log": Names("", "Log", "Log"),
    "product": Names("Multiply", "Multiply", "Mul"),
    "quotient": Names("", "Divide TrueDivide", "RealDiv"),
    "negative": Names("", "Negative", "Neg"),
    "rescaling": Names("Rescaling"),
    "batch_norm": Names("BatchNormalization FixedStatisticsBatchNormalization"),
    # Piecewise linear, and other activations.
    "activation": Names("LeakyReLU PReLU ReLU", "LeakyRelu ReLU Relu Relu6"),
    "other_activation": Names(
        "ELU",
        "Celu Elu Gelu HardSilu HardTanh Mish Selu Silu Softplus Softsign Tanh",
    ),
    # They make probabilities. A hard sigmoid makes equal what differed.
    "hard_sigmoid": Names("", "HardSigmoid"),
    "sigmoid": Names("", "LogSigmoid Sigmoid", "Sigmoid"),
    "softmax": Names("Softmax", "LogSoftmax Softmax", "LogSoftmax Softmax"),
}


def _by_name(column):
    return {
        name: kind
        for kind, names in _TABLE.items()
        for name in getattr(names, column).split()
    }


_LAYERS, _NODES, _GRAPH = map(_by_name, Names._fields)


def kind_of(operation):
    """Names the kind of a layer of Keras or of this package, or of a node, or `None`.

    A subclass of the user's may compute anything, and has none.

    Example:

    >>> kind_of(keras.layers.MaxPooling2D()), kind_of(keras.layers.LSTM(2))
    ('max_pooling', None)
    """
    if not type(operation).__module__.startswith(("keras.", "tf_genbounds.")):
        return None
    names = _LAYERS if isinstance(operation, keras.Layer) else _NODES
    return names.get(type(operation).__name__)


def kind_in_graph(op):
    """Names the kind of an operation of a TensorFlow graph, or returns `None`."""
    return _GRAPH.get(op.type)


def probability_of(operation):
    """Names the function by which an operation makes probabilities, or `None`.

    Example:

    >>> probability_of(keras.layers.Softmax())
    'softmax'
    """
    if kind_of(operation) not in ("hard_sigmoid", "sigmoid", "softmax"):
        return None
    # "LogSoftmax" is `log_softmax`.
    name = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(operation).__name__).lower()
    return name if name in PROBABILITIES else None
