"""Checks of arguments, with messages that say what was expected."""

import difflib

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
            f"`{name}` must be an odd integer of at least 3. "
            f"Received: {name}={value}"
        )


def check_percentile(percentile):
    """Refuses what does not lie in [0, 100]."""
    if not 0 <= percentile <= 100:
        raise ValueError(
            f"`percentile` must lie in [0, 100]. Received: percentile={percentile}"
        )


def check_positive(name, value):
    """Refuses what is not a positive integer."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"`{name}` must be an integer. Received: {name}={value!r}"
        )
    if value < 1:
        raise ValueError(f"`{name}` must be positive. Received: {name}={value}")
