"""Turns what Keras users call data into checked batches of one fixed size."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.checks import check_positive
from tf_genbounds.data.forms import are_strings
from tf_genbounds.data.forms import elements
from tf_genbounds.data.forms import in_batches
from tf_genbounds.data.forms import is_dataset
from tf_genbounds.data.forms import length
from tf_genbounds.data.forms import split


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Samples `start` to `start + count` of the data.

    Attributes:
        x: Nest of arrays whose first axis has the fixed batch size; rows
            past `count` repeat the first row.
        y: Nest of arrays of labels, padded alike, or `None`.
        start: Index of the first sample.
        count: Number of samples that are not padding.
    """

    x: Any
    y: Any
    start: int
    count: int

    def __len__(self):
        return len(keras.tree.flatten(self.x)[0])


def rows(batch, start, count):
    """Returns `count` rows of a batch as a `Batch`, padded at its end."""
    part = slice(start, start + count)
    return Batch(
        x=_pad(_take(batch.x, part), count),
        y=_pad(_take(batch.y, part), count),
        start=batch.start + start,
        count=min(count, batch.count - start),
    )


def batches(data, *, batch_size=128, num_samples=None):
    """Yields the samples of `data` in batches of one fixed size.

    With one static shape, one compilation serves all batches.

    Args:
        data: A pair of arrays `(x, y)`, an array (or dict, or list of arrays
            for a model with several inputs) `x` alone, a `tf.data.Dataset` or
            `keras.utils.PyDataset` of batches `x`, `(x, y)` or
            `(x, y, sample_weight)`. Labels of a model with several outputs may
            be a dict or a list of arrays.
        batch_size: Integer, used for arrays; a dataset has its own.
        num_samples: Integer, stop after so many samples, or `None` for all.

    Yields:
        `Batch`.

    Raises:
        TypeError: If `data` is of another kind, or `x` no numbers; strings are
            taken on TensorFlow.
        ValueError: If the data is empty, has no end, contains NaN or
            infinities, or its parts differ in length.
    """
    check_positive("batch_size", batch_size)
    if num_samples is not None:
        check_positive("num_samples", num_samples)
    start, size = 0, None
    for x, y in _pairs(data, batch_size, num_samples):
        count = length(x, y, data)
        offset = 0
        while offset < count and start != num_samples:
            size = size or count
            stop = min(offset + size, count)
            if num_samples is not None:
                stop = min(stop, offset + num_samples - start)
            part = slice(offset, stop)
            batch = Batch(
                x=_pad(_take(x, part), size),
                y=_pad(_take(y, part), size),
                start=start,
                count=stop - offset,
            )
            _check_finite(batch)
            yield batch
            start, offset = start + batch.count, stop
        if start == num_samples:
            return
    if start == 0:
        raise ValueError("`data` must have at least one sample. Received none.")


def has_labels(data):
    """Whether data has labels, by its first sample."""
    return next(batches(data, num_samples=1)).y is not None


def spread(data, num_samples):
    """Returns samples from all over arrays; a dataset as it is, from its start."""
    if in_batches(data):
        return data
    x, y = split(data)
    count = length(x, y)
    index = np.linspace(0, count - 1, min(count, num_samples)).astype("int64")
    return _take(x, index) if y is None else (_take(x, index), _take(y, index))


def num_batches(data, *, batch_size=128, num_samples=None):
    """Returns how many batches `batches` will yield, or None if unknown."""
    if not in_batches(data):
        x, _ = split(data)
        count = length(x, None)
        return -(-min(count, num_samples or count) // batch_size)
    if num_samples is not None:
        return None
    return _cardinality(data) if is_dataset(data) else data.num_batches


def class_indices(labels, num_classes, start=0):
    """Checks labels and turns them into class indices.

    Args:
        labels: Array of whole numbers, of shape `(samples,)` or `(samples, 1)`,
            or a one-hot array of shape `(samples, classes)`.
        num_classes: Number of logits; 1 means the classes 0 and 1.
        start: Index of the first sample, for the message.

    Returns:
        Int32 array of shape `(samples,)`.

    Raises:
        ValueError: If a label is no whole number, out of range or not one-hot.
    """
    labels = np.asarray(labels)
    classes = max(num_classes, 2)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        hot = np.argmax(labels, axis=1)
        wrong = (labels != np.eye(num_classes, dtype=labels.dtype)[hot]).any(1)
        if wrong.any():
            raise ValueError(
                "Labels of shape (samples, classes) must be one-hot. Received: "
                f"y={labels[wrong.argmax()].tolist()} at sample "
                f"{start + wrong.argmax()}"
            )
        return hot.astype("int32")
    refuse_label_shape(labels.shape, num_classes)
    if labels.dtype.kind not in "iub":
        labels = _whole(labels, start)
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        raise ValueError(
            f"Labels must lie in [0, {classes}){_advice(labels, classes)}. Received: "
            f"y={labels[wrong.argmax()]} at sample {start + wrong.argmax()}"
        )
    return labels.astype("int32")


def refuse_label_shape(shape, num_classes):
    """Refuses the shape of labels that are not one number for each sample."""
    if len(shape) != 1:
        raise ValueError(
            "Labels must have shape (samples,), or be one-hot with "
            f"{num_classes} columns. Received: y.shape={tuple(shape)}"
        )


def _whole(labels, start):
    """Turns float labels such as 2.0, which Keras takes too, into integers."""
    wrong = np.ones(len(labels), bool)
    if labels.dtype.kind == "f":
        wrong = ~(np.isfinite(labels) & (labels == np.floor(labels)))
    if wrong.any():
        raise ValueError(
            "Labels must be integers (class indices) or one-hot; to measure "
            "without labels pass `x` alone. "
            f"Received: y={labels[wrong.argmax()]!r} of dtype {labels.dtype} at "
            f"sample {start + wrong.argmax()}"
        )
    return labels.astype("int64")


def _advice(labels, classes):
    """What to do with labels that another convention numbers."""
    if classes == 2 and set(np.unique(labels)) <= {-1, 1}:
        return ": turn -1 and 1 into 0 and 1 by `(y + 1) // 2`"
    if labels.min() >= 1 and labels.max() == classes:
        return ": classes count from 0, so pass `y - 1` if yours count from 1"
    return ""


def _pairs(data, batch_size, num_samples):
    """Yields `(x, y)` for each batch of the data, nests of NumPy arrays."""
    if in_batches(data):
        if num_samples is None:
            _refuse_endless(data)
        yield from map(split, elements(data))
        return
    x, y = split(data)
    for start in range(0, length(x, y), batch_size):
        part = slice(start, start + batch_size)
        yield _take(x, part), _take(y, part)


def _refuse_endless(data):
    if not is_dataset(data):
        if data.num_batches is None:
            raise ValueError(
                "The PyDataset is infinite. Pass `num_samples`. "
                "Received: num_samples=None"
            )
    elif _cardinality(data) is None:
        raise ValueError(
            "The dataset is infinite or of unknown size. Pass "
            "`num_samples`, or state the size with `dataset.apply("
            "tf.data.experimental.assert_cardinality(n))`. "
            "Received: num_samples=None"
        )


def _cardinality(dataset):
    """Returns the number of elements, or None if infinite or unknown."""
    count = int(dataset.cardinality())
    return count if count >= 0 else None


def _take(nest, index):
    """Takes rows out of each array of a nest, or of `None`."""
    if nest is None:
        return None
    return keras.tree.map_structure(lambda a: a[index], nest)


def _pad(nest, size):
    """Repeats the first row of each array until it has `size`."""

    def pad(array):
        missing = size - len(array)
        if missing == 0:
            return array
        return np.concatenate([array, np.repeat(array[:1], missing, axis=0)])

    return None if nest is None else keras.tree.map_structure(pad, nest)


def _check_finite(batch):
    for array in keras.tree.flatten(batch.x):
        if are_strings(array) and backend.name == "tensorflow":
            continue
        if array.dtype.kind not in "fiub":
            raise TypeError(f"`x` must be numbers. Received: x.dtype={array.dtype}")
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        raise ValueError(
            "`x` must be finite. Received: NaN or infinity at sample "
            f"{batch.start + int(bad.argmax())}"
        )


def tensors(x):
    """Moves arrays to the device: floats as float32, others as they are."""
    dtypes = {"f": "float32", "b": "float32"} | dict.fromkeys("SUO", "string")
    return keras.tree.map_structure(
        lambda a: ops.convert_to_tensor(a, dtypes.get(a.dtype.kind, str(a.dtype))), x
    )
