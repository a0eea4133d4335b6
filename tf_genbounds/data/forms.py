"""The forms in which Keras users hand in samples and labels, turned into arrays."""

import numbers

import keras
import numpy as np

# What has one of these is sparse (SciPy, JAX, TensorFlow) or ragged.
_NOT_DENSE = ("todense", "dense_shape", "row_splits")


def is_dataset(data):
    """Whether data is a `tf.data.Dataset`."""
    # By its face, so that TensorFlow need not be imported to ask.
    return hasattr(data, "element_spec") and hasattr(data, "as_numpy_iterator")


def in_batches(data):
    """Whether data comes in batches of its own."""
    return is_dataset(data) or isinstance(data, keras.utils.PyDataset)


def split(data):
    """Splits `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)` into nests of arrays.

    Sample weights play no part: what is measured is each sample.

    Returns:
        A pair `(x, y)`; `y` may be `None`.

    Example:

    >>> x, y = split((np.zeros((2, 3)), {"a": np.ones(2)}))
    >>> x.shape, y
    ((2, 3), {'a': array([1., 1.])})
    """
    if not isinstance(data, tuple):
        return arrays(data), None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            "`data` must be `x` or a pair `(x, y)`. "
            f"Received: a tuple of length {len(data)}"
        )
    y = data[1] if len(data) > 1 else None
    return arrays(data[0]), None if y is None else arrays(y)


def elements(data):
    """Yields the batches of a dataset or a `PyDataset`, as Keras unpacks them.

    Raises:
        ValueError: If a dataset is not one of dense batches.
    """
    if not is_dataset(data):
        index = 0
        while data.num_batches is None or index < data.num_batches:
            element = data[index]
            yield tuple(element) if isinstance(element, list) else element
            index += 1
        return
    specs = keras.tree.flatten(data.element_spec)
    if any(not hasattr(spec, "name") for spec in specs):
        raise ValueError(
            "The dataset must have dense tensors: map its elements by "
            f"`tf.sparse.to_dense` or `to_tensor`. Received: {data.element_spec}"
        )
    if any(spec.shape.rank == 0 for spec in specs):
        raise ValueError(
            "The dataset must have batches: pass `dataset.batch(128)`. "
            f"Received: elements of shape {[str(spec.shape) for spec in specs]}"
        )
    yield from data.as_numpy_iterator()


def arrays(nest):
    """Turns each part of a nest into a NumPy array, see `array`."""
    return keras.tree.map_structure(array, nest)


def array(value):
    """Turns an array, tensor, DataFrame or Series into a NumPy array.

    Args:
        value: What has a shape and a dtype, or is of pandas and the like. A Series
            becomes a column, as Keras makes it.

    Raises:
        TypeError: If it is of another kind, or sparse or ragged.

    Example:

    >>> array(keras.ops.ones((2, 1))).tolist()
    [[1.0], [1.0]]
    """
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if any(hasattr(value, attribute) for attribute in _NOT_DENSE):
        raise TypeError(
            "Sparse and ragged arrays are not taken: pass dense ones, such as "
            f"`x.toarray()`, or a dataset of dense batches. Received: {name}"
        )
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
        value = value[:, None] if value.ndim == 1 else value
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise TypeError(
            "`data` must be arrays, a `tf.data.Dataset` or a "
            f"`keras.utils.PyDataset`. Received: {name}"
        )
    value = np.asarray(value)
    if value.dtype.kind == "O" and _all(value, (numbers.Real, np.bool_)):
        return value.astype("float64")  # Columns of several dtypes.
    if value.dtype.name == "bfloat16":  # No float to NumPy.
        return value.astype("float32")
    return value


def are_strings(array):
    """Whether an array is one of strings, as a text layer takes them."""
    kind = array.dtype.kind
    return kind in "SU" or kind == "O" and _all(array, (str, bytes))


def _all(array, kinds):
    return all(isinstance(value, kinds) for value in array.flat)


def length(x, y, data=None):
    """Returns the number of samples of nests of arrays.

    Raises:
        ValueError: If the parts differ in it.
    """
    parts = [*keras.tree.flatten(x), *([] if y is None else keras.tree.flatten(y))]
    lengths = {a.shape[0] if np.ndim(a) else None for a in parts}
    if len(lengths) != 1 or None in lengths:
        batched = ", in each batch of a dataset" if in_batches(data) else ""
        raise ValueError(
            f"All of `x` and `y` must have the same number of samples{batched}. "
            f"Received: shapes {[np.shape(a) for a in parts]}"
        )
    return lengths.pop()
