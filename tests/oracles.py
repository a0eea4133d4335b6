"""Slow and obvious NumPy twins of what the package computes."""

import keras
import numpy as np


def layer_matrix(layer, input_shape):
    """The linear map of a layer, `(outputs, inputs)`, an input at a time.

    Basis vectors go through the Keras layer itself, with a linear activation,
    less what it makes of zero.
    """
    if getattr(layer, "activation", None) is not None:
        twin = type(layer).from_config({**layer.get_config(), "activation": None})
        twin.build((None, *input_shape))
        twin.set_weights(layer.get_weights())
        layer = twin
    size = int(np.prod(input_shape))
    inputs = np.concatenate([np.zeros((1, size)), np.eye(size)])
    inputs = inputs.reshape(size + 1, *input_shape).astype("float32")
    outputs = keras.ops.convert_to_numpy(layer(inputs)).reshape(size + 1, -1)
    return (outputs[1:] - outputs[0]).T.astype("float64")


def spectral_norm(matrix):
    """Largest singular value, of a matrix or of each of a stack."""
    return np.linalg.norm(np.asarray(matrix, "float64"), 2, axis=(-2, -1))


def frobenius_norm(matrix):
    return np.sqrt(np.sum(np.asarray(matrix, "float64") ** 2))


def stable_rank(matrix):
    return (frobenius_norm(matrix) / spectral_norm(matrix)) ** 2


def convolution_matrix(kernel):
    """Rows: filters; columns: taps and channels, of a kernel of one group."""
    return np.moveaxis(np.asarray(kernel), -1, 0).reshape(kernel.shape[-1], -1)
