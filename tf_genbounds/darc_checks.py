"""What every form of DARC demands: a weight, draws, a seed, and logits."""

import functools
import math
import numbers
import random
import warnings

import keras
from keras.src.utils.jax_utils import is_in_jax_tracing_scope

_PROBABILITIES = {"softmax", "sigmoid", "log_softmax", "logsoftmax"}


def check_factor(factor):
    """Returns `factor` as a float, if it can be the weight of a penalty.

    Raises:
        ValueError: If `factor` is no number, negative, NaN or infinite.

    Example:

    >>> check_factor(1)
    1.0
    """
    number = isinstance(factor, numbers.Real) and not isinstance(factor, bool)
    if not number or not math.isfinite(factor) or factor < 0:
        raise ValueError(
            "`factor` must be a non-negative finite number. "
            f"Received: factor={factor!r}"
        )
    return float(factor)


def check_num_draws(num_draws):
    """Returns `num_draws` as an int, if it is a positive integer.

    Raises:
        ValueError: If it is not.

    Example:

    >>> check_num_draws(8)
    8
    """
    if not _is_integer(num_draws) or num_draws < 1:
        raise ValueError(
            "`num_draws` must be a positive integer. "
            f"Received: num_draws={num_draws!r}"
        )
    return int(num_draws)


def check_seed(seed):
    """Returns `seed` as an int, or draws one if it is `None`.

    The draw comes from Python's `random`, which `keras.utils.set_random_seed`
    seeds.

    Raises:
        ValueError: If `seed` is neither an integer nor `None`.

    Example:

    >>> check_seed(7)
    7
    """
    if seed is None:
        return random.randrange(2**32)
    if not _is_integer(seed):
        raise ValueError(
            f"`seed` must be an integer or None. Received: seed={seed!r}"
        )
    return int(seed)


def refuse_probabilities(x, owner):
    """Raises if `x` can be seen to come from a softmax or a sigmoid.

    Keras marks such outputs in TensorFlow, and in JAX outside compiled
    functions; a symbolic tensor knows the layer that made it.

    Args:
        x: A tensor, or a symbolic `KerasTensor`.
        owner: String, who refuses, for the message.

    Raises:
        ValueError: If `x` holds probabilities or their logarithms.

    Example:

    >>> refuse_probabilities(keras.Input((3,)), "DARC1")
    """
    source = _source(x)
    if source.lower() in _PROBABILITIES:
        raise ValueError(
            f"{owner} penalizes logits: remove the activation of the last "
            "layer, and train with a loss that has from_logits=True. "
            f"Received: activation={source}"
        )


def warn_if_hidden(x, owner):
    """Warns once for each `owner` if the source of `x` cannot be seen.

    This is so in compiled functions of JAX, where a tensor knows neither the
    operation that made it nor its values.

    Example:

    >>> warn_if_hidden(np.zeros((2, 3)), "DARC1")
    """
    if is_in_jax_tracing_scope(x):
        _warn_hidden(owner)


@functools.cache
def _warn_hidden(owner):
    warnings.warn(
        f"On JAX {owner} cannot see whether its input went through a softmax "
        "or sigmoid. It must be logits. The layers DARC1Regularization and "
        "DARCRegularization, in a Functional or Sequential model, can see it.",
        stacklevel=4,
    )


def _source(x):
    """Name of the operation or activation that made `x`, or nothing."""
    if isinstance(x, keras.KerasTensor):
        if not hasattr(x, "_keras_history"):
            return ""
        operation, _, index = x._keras_history
        if isinstance(operation, keras.Model) and hasattr(operation, "outputs"):
            return _source(operation.outputs[index])
        activation = getattr(operation, "activation", None)
        return getattr(activation, "__name__", type(operation).__name__)
    # A tensor of a TensorFlow graph names its operation, an eager one of
    # either backend only carries the mark that Keras leaves on it.
    if hasattr(x, "op"):
        return x.op.type
    return "softmax" if hasattr(x, "_keras_logits") else ""


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
