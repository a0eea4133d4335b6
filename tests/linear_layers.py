"""Random linear layers of every kind, with every option."""

import keras
import numpy as np
from keras import layers


def linear_layer(kind, seed):
    """Returns a built layer `kind` and the shape of its inputs, from a seed.

    Weights are random, biases too; half of the layers have a ReLU.
    """
    rng = np.random.default_rng([KINDS.index(kind), seed])
    layer, shape = _MAKERS[kind](kind, rng)
    layer.build((None, *shape))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer, shape


def _dense(kind, rng):
    leading = (int(rng.integers(2, 4)),) * int(rng.integers(0, 3))
    layer = layers.Dense(int(rng.integers(1, 6)), activation=_activation(rng))
    return layer, (*leading, int(rng.integers(1, 6)))


def _einsum_dense(kind, rng):
    equation, shape, outputs = EQUATIONS[int(rng.integers(len(EQUATIONS)))]
    return (
        layers.EinsumDense(
            equation,
            outputs,
            bias_axes=equation[-1] if equation[-1] != "." else None,
            activation=_activation(rng),
        ),
        shape,
    )


def _convolution(kind, rng):
    rank = int(kind.replace("Transpose", "")[-2])
    transposed, depthwise = "Transpose" in kind, "Depthwise" in kind
    separable = "Separable" in kind
    taps = tuple(int(k) for k in rng.integers(1, 5 if rank < 3 else 4, rank))
    options = {"kernel_size": taps, "padding": rng.choice(["same", "valid"])}
    if kind == "Conv1D":
        options["padding"] = rng.choice(["same", "valid", "causal"])
    # TensorFlow wants the strides and dilations of depthwise kernels equal.
    square = depthwise or separable or transposed
    steps = tuple(int(s) for s in rng.integers(1, 4, 1 if square else rank))
    steps = steps * rank if square else steps
    if rng.random() < 0.4:
        options["dilation_rate"] = steps
        if separable and rng.random() < 0.5:
            options["strides"] = 2
    else:
        options["strides"] = steps
    channels = int(rng.integers(1, 4))
    groups = 1
    if not (transposed or depthwise or separable) and rng.random() < 0.3:
        groups = options["groups"] = 2
    if depthwise or separable:
        options["depth_multiplier"] = int(rng.integers(1, 3))
    if not depthwise:
        options["filters"] = groups * int(rng.integers(1, 4))
    strides = options.get("strides", 1)
    # With `same`, TensorFlow on a CPU aborts on some output paddings.
    if transposed and strides != 1 and options["padding"] == "valid":
        options["output_padding"] = int(rng.integers(0, min(strides)))
    # Room for the taps, unless zeros are padded.
    reach = [(k - 1) * s + 1 for k, s in zip(taps, steps, strict=True)]
    room = 1 if options["padding"] == "same" or transposed else 0
    image = [
        int(rng.integers(3, 6 if rank < 3 else 5))
        if room
        else r + int(rng.integers(0, 3))
        for r in reach
    ]
    shape = (*image, channels * groups)
    if _channels_first_runs(kind) and rng.random() < 0.3:
        options["data_format"] = "channels_first"
        shape = (channels * groups, *image)
    layer = getattr(layers, kind)(activation=_activation(rng), **options)
    return layer, shape


def _channels_first_runs(kind):
    # TensorFlow's CPU kernels want channels last in the others.
    return keras.backend.backend() != "tensorflow" or kind in ("Conv1D", "Conv2D")


def _activation(rng):
    return rng.choice(["relu", "linear"])


# Equation, shape of an input, shape of an output as EinsumDense wants it.
EQUATIONS = [
    ("ab,bc->ac", (4,), 3),
    ("abc,cd->abd", (2, 4), (None, 3)),
    ("...x,xy->...y", (2, 3, 4), 3),
    ("ab...,bc->ac...", (4, 2), (3, None)),
    ("abc,cde->abde", (2, 4), (None, 2, 3)),
    ("abde,cde->abc", (2, 2, 3), (None, 4)),
    ("abc,bcd->abd", (2, 4), (2, 3)),
    ("abc,c->abc", (2, 4), (None, 4)),
    ("abc,cd->ad", (2, 4), (3,)),
]

_MAKERS = {"Dense": _dense, "EinsumDense": _einsum_dense} | dict.fromkeys(
    [
        "Conv1D",
        "Conv2D",
        "Conv3D",
        "DepthwiseConv1D",
        "DepthwiseConv2D",
        "SeparableConv1D",
        "SeparableConv2D",
        "Conv1DTranspose",
        "Conv2DTranspose",
        "Conv3DTranspose",
    ],
    _convolution,
)

KINDS = tuple(_MAKERS)
