"""Samples that occur again: they are no independent draws."""

import hashlib
import warnings

import keras
import numpy as np

from tf_genbounds.batches import batches

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

    >>> from tf_genbounds.batches import batches
    >>> x = np.array([[1.0], [2.0], [1.0], [1.0]])
    >>> repeated_rows(batches((x, np.array([0, 0, 0, 1]))))
    (1, 4)
    """
    digests = []
    for batch in batches:
        arrays = keras.tree.flatten(batch.x)
        if batch.y is not None:
            arrays = [*arrays, batch.y]
        found = _digests([np.asarray(a)[: batch.count] for a in arrays], batch.count)
        digests.append(np.frombuffer(found, f"V{_DIGEST}"))
    # As two integers each, which NumPy sorts fast.
    pairs = np.concatenate(digests).view("u8").reshape(-1, 2)
    order = np.lexsort(pairs.T)
    same = np.all(pairs[order[1:]] == pairs[order[:-1]], axis=1)
    return int(np.sum(same)), len(pairs)


def _digests(arrays, count):
    """The digests of all rows, one after the other."""
    # Zero has two signs, and equal numbers count as equal.
    arrays = [a + 0 if a.dtype.kind == "f" else a for a in arrays]
    rows = [np.ascontiguousarray(a).reshape(count, -1) for a in arrays]
    return b"".join(
        hashlib.blake2b(b"".join(r[i].tobytes() for r in rows), digest_size=_DIGEST)
        .digest()
        for i in range(count)
    )  # fmt: skip


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
