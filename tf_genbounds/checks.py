"""Checks of arguments, with messages that say what was expected."""

import difflib
import math
import numbers
import random

import keras
import numpy as np


def check_choice(name, value, choices):
    """Refuses a value that is not a choice, and names the nearest one."""
    if value in choices:
        return
    near = difflib.get_close_matches(
        str(value), [c for c in choices if isinstance(c, str)], n=1
    )
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"`{name}` must be one of {sorted(choices, key=str)}. {hint}"
        f"Received: {name}={value!r}"
    )


def check_keras_model(model):
    """Refuses what is no model of Keras 3."""
    if isinstance(model, keras.Model):
        return
    roots = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if "tf_keras" in roots:
        raise TypeError(
            "`model` must be a model of Keras 3: build it there too, and give it the "
            "weights with `set_weights(legacy.get_weights())`. "
            f"Received: a legacy model of tf_keras, {type(model).__name__}"
        )
    raise TypeError(f"`model` must be a Keras model. Received: model={model!r}")


def check_num_levels(name, value):
    """Refuses what is not an odd integer of at least 3: levels around 0."""
    if not isinstance(value, (int, np.integer)) or value < 3 or value % 2 == 0:
        raise ValueError(
            f"`{name}` must be an odd integer of at least 3. Received: {name}={value}"
        )


def check_percentile(percentile):
    """Refuses what does not lie in [0, 100]."""
    if not 0 <= percentile <= 100:
        raise ValueError(
            f"`percentile` must lie in [0, 100]. Received: percentile={percentile}"
        )


def check_positive(name, value):
    """Returns `value` as an int, if it is a positive integer.

    Raises:
        ValueError: If it is not.

    Example:

    >>> check_positive("num_draws", 8)
    8
    """
    if not _is_integer(value) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )
    return int(value)


def check_finite(array):
    """Returns an array of numbers, or refuses NaN, infinities and quantized ones."""
    array = np.asarray(array)
    if array.dtype in ("int8", "uint8"):
        raise ValueError(
            "`kernel` must hold weights, and not the integers of a quantized layer, "
            f"whose scale is elsewhere. Received: kernel.dtype={array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ValueError("`kernel` must be finite. Received: NaN or infinity")
    return array


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
        raise ValueError(f"`seed` must be an integer or None. Received: seed={seed!r}")
    return int(seed)


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_delta(delta):
    """Refuses a failure probability that is not in (0, 1)."""
    if not 0 < delta < 1:  # Also catches NaN.
        raise ValueError(
            f"`delta` must lie strictly between 0 and 1. Received: delta={delta}"
        )
