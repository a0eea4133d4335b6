"""Turns results into what JSON can hold, and back."""

import math

import numpy as np


def to_plain(value):
    """Turns arrays, tuples and non-finite floats into what JSON can hold."""
    if isinstance(value, dict):
        return {k: to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_plain(value):
    """Turns `"inf"`, `"-inf"` and `"nan"` back into floats."""
    return float(value) if value in ("inf", "-inf", "nan") else value


def array_from_plain(values):
    """Rebuilds a float32 array of any shape, or `None`."""
    if values is None:
        return None
    if values and isinstance(values[0], list):
        return np.array([array_from_plain(v) for v in values])
    return np.array([from_plain(v) for v in values], "float32")
