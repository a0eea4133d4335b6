"""The weights that a network started from, for distances from them."""

import os

import keras
import numpy as np

from tf_genbounds import backend


def initial_values(model, weights):
    """Returns the values of `model.variables` at the start of training.

    Args:
        model: A built Keras model.
        weights: List of arrays, as `model.get_weights()` returned it then, or
            the path of a saved model (`.keras`) or of its weights
            (`.weights.h5`).

    Returns:
        List of tensors, in the order of `model.variables`.

    Raises:
        ValueError: If the weights do not fit the model.
    """
    if isinstance(weights, (str, os.PathLike)):
        weights = _from_file(model, os.fspath(weights))
    shapes = [tuple(w.shape) for w in model.weights]
    found = [np.shape(w) for w in weights]
    if found != shapes:
        raise ValueError(
            "`initial_weights` must have the shapes of the model's weights, "
            f"{shapes}. Received: shapes {found}"
        )
    by_weight = {
        id(weight): keras.ops.convert_to_tensor(value, weight.dtype)
        for weight, value in zip(model.weights, weights, strict=True)
    }
    # What is no weight, the state of a random generator, say, stays.
    current = backend.values(model.variables)
    return [
        by_weight.get(id(variable), value)
        for variable, value in zip(model.variables, current, strict=True)
    ]


def _from_file(model, path):
    if path.endswith(".keras"):
        return keras.saving.load_model(path, compile=False).get_weights()
    # Loading changes a model: it is done to a copy.
    copy = type(model).from_config(model.get_config())
    copy.build_from_config(model.get_build_config() or {})
    copy.load_weights(path)
    return copy.get_weights()
