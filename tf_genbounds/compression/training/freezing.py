"""Which weights are rounded when: the callback of `QuantizedTraining`."""

import math

import keras
from keras import ops

from tf_genbounds import backend
from tf_genbounds.data.batches import batches
from tf_genbounds.data.batches import spread
from tf_genbounds.data.batches import tensors

# How many samples the sensitivities are of.
_SAMPLES = 4096
_BATCH = 256
# The share of the training after the last weight was frozen, for what is not: the
# statistics of batch normalizations.
_TAIL = 0.02


class Freezing(keras.callbacks.Callback):
    """Freezes ever more weights on the grid, the most sensitive ones first.

    What a sensitive weight loses by rounding the others can still make up for.

    Args:
        data: The data of `fit`.
        exact_fraction: See `QuantizedTraining`.
        num_stages: In how many stages.
    """

    def __init__(self, data, exact_fraction, num_stages):
        super().__init__()
        self._data = data
        self._exact_fraction = exact_fraction
        self._num_stages = num_stages
        self._stage = None
        self._squares = None

    def on_train_begin(self, logs=None):
        data = spread(self._data, _SAMPLES)
        sample = list(batches(data, batch_size=_BATCH, num_samples=_SAMPLES))
        # Without the last one, if it is padded.
        self._sample = [b for b in sample if b.count == len(b)] or sample[:1]

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        if self._stage is None:
            if epoch == 0:
                self.model.thaw()
            # `fit` may go on where an earlier one ended.
            self._free = self.model.exact()
            self._stage = round(self.model.frozen_fraction() * self._num_stages)
        self._advance(epoch / self.params["epochs"])

    def on_train_batch_end(self, batch, logs=None):
        if self.params["steps"]:  # Unknown for some datasets, in the first epoch.
            within = (batch + 1) / self.params["steps"]
            self._advance((self._epoch + within) / self.params["epochs"])

    def on_epoch_end(self, epoch, logs=None):
        self._advance((epoch + 1) / self.params["epochs"])

    def on_train_end(self, logs=None):
        self.model.assign_rounded()

    def _advance(self, progress):
        """Brings the model to where it should be at a share of the training."""
        if progress < self._exact_fraction:
            return
        if self._free:
            self.model.find_grid()
            self._free = False
        share = (progress - self._exact_fraction) / (1 - self._exact_fraction)
        stage = math.floor(share / (1 - _TAIL) * self._num_stages + 1e-9)
        stage = min(stage, self._num_stages)
        if stage > self._stage:
            self.model.freeze(stage / self._num_stages, self._sensitivities())
            self._stage = stage

    def _sensitivities(self):
        """Returns the squared derivatives of the loss, summed over batches."""
        model = self.model
        if self._squares is None:
            self._squares = _squares(model)
        values = backend.values(model.variables)
        total = None
        for batch in self._sample:
            found = self._squares(values, tensors(batch.x), tensors(batch.y))
            found = [ops.convert_to_numpy(f) for f in found]
            total = (
                found
                if total is None
                else [a + b for a, b in zip(total, found, strict=True)]
            )
        return total


def _squares(model):
    """Compiles the squared gradient of the loss of a batch."""
    loss = keras.losses.get(model.loss)
    scaled = {id(array.scaled) for array in model.arrays}
    index = [i for i, v in enumerate(model.variables) if id(v) in scaled]

    def squares(values, x, y):
        def total(arrays):
            mapped = dict(zip(index, arrays, strict=True))
            mapped = [mapped.get(i, value) for i, value in enumerate(values)]
            with backend.stateless(model.variables, mapped):
                outputs = model(x, training=False)
                # As `fit`: labels of one unit may have an axis less.
                labels = y
                if outputs.shape[-1] == 1 and len(y.shape) == len(outputs.shape) - 1:
                    labels = ops.expand_dims(y, -1)
                return ops.mean(loss(labels, outputs))

        arrays = [values[i] for i in index]
        return [ops.square(g) for g in backend.vjp(total, arrays, ops.ones(()))]

    return backend.jit(squares)
