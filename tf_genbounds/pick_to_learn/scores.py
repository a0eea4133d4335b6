"""What the model says of every example of a sample: right or wrong, and the loss."""

import keras
import numpy as np

from tf_genbounds import backend
from tf_genbounds.data.batches import Batch
from tf_genbounds.data.batches import class_indices
from tf_genbounds.data.reading import take
from tf_genbounds.measure.decision import decision_of
from tf_genbounds.measure.decision import specs
from tf_genbounds.network.example_wise import check_example_wise
from tf_genbounds.network.model import check_shapes
from tf_genbounds.network.network import Network

# Always so many, padded: another shape may round in another way. Even so a kernel may
# round a row by its place in the batch, which could exchange two picks of nearly
# equal loss. Training again on the compression set shows it.
_BATCH = 256


class Scorer:
    """Decisions and losses of a model for the examples of a sample.

    Args:
        model: A compiled Keras model, a classifier of one example at a time.
        sample: `Sample`.
        threshold: See `decision_of`.

    Attributes:
        decision: `Decision`.
        num_compared: Integer, how many examples were predicted one by one too.
    """

    def __init__(self, model, sample, threshold=None):
        self._model = model
        self._sample = sample
        self._loss = _loss_of(model)
        batch = self._batch(0)
        with backend.full_precision():
            check_shapes(model, batch.x)
            network = Network.of(model, specs(batch.x), None)
            self.decision = decision_of(network, threshold)
            self.num_compared = check_example_wise(network, batch)
        self._output = network.output
        classes = network.output_shapes[network.output][1]
        self._classes = class_indices(network.labels_of(sample.y), classes)

    def __call__(self):
        """Returns a boolean and a float64 array: which are right, and the losses."""
        right, losses = [], []
        for start in range(0, len(self._sample), _BATCH):
            batch = self._batch(start)
            with backend.full_precision():
                outputs = self._model.predict_on_batch(batch.x)
            outputs = keras.tree.flatten(outputs)[self._output]
            losses.append(_losses(self._loss, batch.y, outputs)[: batch.count])
            labels = self._classes[start : start + batch.count]
            right.append(self.decision.right(outputs[: batch.count], labels))
        return np.concatenate(right), np.concatenate(losses)

    def _batch(self, start):
        count = min(_BATCH, len(self._sample) - start)
        index = np.arange(start, start + _BATCH)
        index[count:] = start
        x, y = take((self._sample.x, self._sample.y), index)
        return Batch(x, y, start, count)


def _loss_of(model):
    loss = model.loss
    if not (isinstance(loss, str) or callable(loss)):
        raise ValueError(
            "`loss` must be one loss, by which the examples are ranked. "
            f"Received: loss={loss!r}"
        )
    loss = keras.losses.get(loss)
    return loss.call if isinstance(loss, keras.Loss) else loss


def _losses(loss, y, outputs):
    """Returns the loss of each example of a batch."""
    y = keras.ops.convert_to_tensor(keras.tree.flatten(y)[0])
    if outputs.shape[-1] == 1 and len(y.shape) == outputs.ndim - 1:
        y = keras.ops.expand_dims(y, -1)
    values = keras.ops.convert_to_numpy(loss(y, keras.ops.convert_to_tensor(outputs)))
    if values.ndim == 0 or len(values) != len(outputs):
        raise ValueError(
            "`loss` must give each example a loss of its own, by which they are "
            f"ranked. Received: a loss of shape {values.shape} for {len(outputs)} "
            "examples"
        )
    return values.astype("float64").reshape(len(values), -1).mean(axis=1)
