"""Data as arrays, read once, so that a sample keeps its index."""

import keras
import numpy as np

from tf_genbounds.data.forms import arrays
from tf_genbounds.data.forms import elements
from tf_genbounds.data.forms import in_batches
from tf_genbounds.data.forms import is_dataset


def take(data, indices):
    """Takes samples out of a nest of arrays."""
    return keras.tree.map_structure(lambda array: array[indices], data)


def read(data, batch_size=None):
    """Turns data into arrays.

    A dataset is read once. A sample could otherwise not be told from another: a
    dataset may shuffle or augment anew each time that it is read.

    Args:
        data: A tuple `(x, y)` or `(x, y, sample_weight)` of (nests of) arrays,
            or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches of such.
        batch_size: Integer or `None`: 32, or that of the dataset.

    Returns:
        A pair of the tuple of arrays and the batch size.
    """
    if is_dataset(data) and int(data.cardinality()) == -1:
        raise ValueError("The dataset must be finite. Received: an infinite one")
    if in_batches(data):
        if not is_dataset(data) and data.num_batches is None:
            raise ValueError("The PyDataset must be finite. Received: num_batches=None")
        return _joined(elements(data), batch_size)
    _check_tuple(data)
    data = arrays(data)
    lengths = {len(a) if a.ndim else 0 for a in keras.tree.flatten(data)}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(
            "All arrays must have the same number of samples, and at least one. "
            f"Received: shapes {[a.shape for a in keras.tree.flatten(data)]}"
        )
    return data, batch_size or 32


def read_pair(data, batch_size=None):
    """As `read`, for bounds that count every example once: `(x, y)` without weights."""
    data, batch_size = read(data, batch_size)
    if len(data) != 2:
        raise ValueError(
            "Weights of samples would say how often an example counts, and the bound "
            "counts each once: pass `(x, y)`. Received: `(x, y, sample_weight)`"
        )
    return data, batch_size


def _joined(batches, batch_size):
    parts = []
    for batch in batches:
        _check_tuple(batch)
        parts.append(arrays(batch))
    if not parts:
        raise ValueError("`data` must have at least one batch. Received none.")
    data = keras.tree.map_structure(lambda *p: np.concatenate(p), *parts)
    return data, batch_size or len(keras.tree.flatten(parts[0])[0])


def _check_tuple(data):
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        kind = f"{type(data).__module__}.{type(data).__qualname__}"
        raise TypeError(
            "`data` must be a tuple `(x, y)` or `(x, y, sample_weight)` of "
            "arrays, or a `tf.data.Dataset` or `keras.utils.PyDataset` of such "
            f"batches. Received: {kind}"
        )
