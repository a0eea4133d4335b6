"""The batches of the training steps: by the picked examples and the step alone."""

import keras
import numpy as np

from tf_genbounds.data.reading import take

_ORDER, _AUGMENT = 2, 3  # What a seed is for: streams of random numbers.


class Steps(keras.utils.PyDataset):
    """The batches of one round, all of one size.

    They go through the picked examples in one random order after another.

    Args:
        sample: `Sample`.
        batch_size: Integer.
        num_steps: Integer, steps in a round.
        seed: Integer.
        augment: Function of a batch's inputs and labels and a
            `np.random.Generator` that returns inputs and labels, or `None`.
    """

    def __init__(self, sample, batch_size, num_steps, seed, augment=None):
        super().__init__()
        self._data = sample.x, sample.y
        self._batch_size = batch_size
        self._num_steps = num_steps
        self._seed = seed
        self._augment = augment
        self._plan = None

    @property
    def num_batches(self):
        return self._num_steps

    def begin(self, number, picked):
        """Plans a round: its number and the indices of the picked, in their order."""
        generator = np.random.default_rng([self._seed, _ORDER, number])
        size = self._num_steps * self._batch_size
        order = [generator.permutation(picked) for _ in range(-(-size // len(picked)))]
        # At once: Keras may read ahead in another thread.
        self._plan = number, np.concatenate(order)[:size]

    def __getitem__(self, index):
        number, order = self._plan
        start = index * self._batch_size
        x, y = take(self._data, order[start : start + self._batch_size])
        if self._augment is None:
            return x, y
        seed = [self._seed, _AUGMENT, number, index]
        return self._augment(x, y, np.random.default_rng(seed))
