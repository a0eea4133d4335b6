"""Samples that occur again: they are no independent draws."""

import hashlib
import warnings

import keras
import numpy as np

from tf_genbounds.data.batches import batches

_DIGEST = 16
# Which share of repeats goes without a word: real data sets have a few.
_SHARE = 0.01


def repeated_rows(batches):
    """Counts the samples that occurred before, inputs and label together.

    Only a digest of 16 bytes is kept for each; the order does not matter.

    Args:
        batches: Iterable of `batches.Batch`.

    Returns:
        A pair of integers: how many samples repeat an earlier one, of how many.

    Example:

    >>> from tf_genbounds.data.batches import batches
    >>> x = np.array([[1.0], [2.0], [1.0], [1.0]])
    >>> repeated_rows(batches((x, np.array([0, 0, 0, 1]))))
    (1, 4)
    """
    digests = [
        np.frombuffer(b"".join(row_digests(batch, _DIGEST)), f"V{_DIGEST}")
        for batch in batches
    ]
    # As two integers each, which NumPy sorts fast.
    pairs = np.concatenate(digests).view("u8").reshape(-1, 2)
    order = np.lexsort(pairs.T)
    same = np.all(pairs[order[1:]] == pairs[order[:-1]], axis=1)
    return int(np.sum(same)), len(pairs)


def row_digests(batch, size=32):
    """Returns a digest of each sample of a `Batch`, label included, without padding.

    Equal numbers of one dtype have equal digests, whichever zero they are.

    Args:
        batch: `batches.Batch`.
        size: Integer, bytes of a digest.

    Returns:
        List of bytes.
    """
    arrays = keras.tree.flatten(batch.x)
    if batch.y is not None:
        arrays = [*arrays, *keras.tree.flatten(batch.y)]
    columns = [_bytes(np.asarray(a)[: batch.count]) for a in arrays]
    return [
        hashlib.blake2b(b"".join(row), digest_size=size).digest()
        for row in zip(*columns, strict=True)
    ]


def _bytes(array):
    """Yields the bytes of each row."""
    if array.dtype.kind in "OSU":  # Strings of several lengths.
        for row in array.reshape(len(array), -1):
            yield repr([str(value) for value in row.tolist()]).encode()
        return
    if array.dtype.kind == "f":
        array = array + np.zeros((), array.dtype)  # Zero has two signs.
    for row in np.ascontiguousarray(array).reshape(len(array), -1):
        yield row.tobytes()


def warn_of_repeats(data, *, batch_size=128, stacklevel=1):
    """Warns if more than 1 % of the samples occurred before.

    Args:
        data: As for `batches`.
        batch_size: Integer, for arrays.
        stacklevel: Integer, as for `warnings.warn`: 1 is the caller.
    """
    repeated, count = repeated_rows(batches(data, batch_size=batch_size))
    if repeated > _SHARE * count:
        warnings.warn(
            f"Only {count - repeated:,} of {count:,} samples are distinct. A bound "
            "counts each as an independent draw, and repeats of a sample are none: "
            "it holds if they were drawn so, and not if a sample was repeated.",
            stacklevel=stacklevel + 1,
        )
