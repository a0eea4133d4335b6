"""The two parts of the data, and batches in an order that a seed decides."""

import dataclasses
import hashlib
from typing import Any

import keras
import numpy as np

from tf_genbounds.data.reading import take

_SPLIT, _ORDER = 0, 1  # What a seed is for: two streams of random numbers.


@dataclasses.dataclass(frozen=True, eq=False)
class PhaseData:
    """Which samples each phase sees: the split, fixed before training.

    Attributes:
        standard: Sorted integer array, indices of the first phase's samples.
        freeze: Sorted integer array, indices of the second phase's samples.
        seed: The seed that decided.
        digest: Hexadecimal hash of the data, to recognize it.

    Example:

    >>> data = PhaseData.of((np.ones((10, 2)), np.ones(10)), standard_fraction=0.3, seed=0)
    >>> len(data.standard), len(data.freeze)
    (3, 7)
    """

    standard: np.ndarray
    freeze: np.ndarray
    seed: int
    digest: str

    @classmethod
    def of(cls, data: Any, standard_fraction: float, seed: int) -> "PhaseData":
        """Splits data by the seed alone, whatever inputs and labels are."""
        length = len(keras.tree.flatten(data)[0])
        count = round(standard_fraction * length)
        order = np.random.default_rng([seed, _SPLIT]).permutation(length)
        digest = hashlib.blake2b(digest_size=16)
        for array in keras.tree.flatten(data):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return cls(
            np.sort(order[:count]), np.sort(order[count:]), seed, digest.hexdigest()
        )


class Batches(keras.utils.PyDataset):
    """Batches of some samples, in an order of their own in each epoch.

    The order depends on the seed and the number of the epoch alone, so that a
    run which starts again in the middle goes on as it would have.
    """

    def __init__(self, data, indices, batch_size, *, seed, epoch, shuffle):
        super().__init__()
        self._data = data
        self._indices = indices
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._epoch = epoch
        self._order = self._next_order()

    @property
    def num_batches(self):
        return -(-len(self._indices) // self._batch_size)

    def __getitem__(self, index):
        start = index * self._batch_size
        return take(self._data, self._order[start : start + self._batch_size])

    def on_epoch_end(self):
        self._epoch += 1
        self._order = self._next_order()

    def _next_order(self):
        if not self._shuffle:
            return self._indices
        seed = [self._seed, _ORDER, self._epoch]
        return np.random.default_rng(seed).permutation(self._indices)
