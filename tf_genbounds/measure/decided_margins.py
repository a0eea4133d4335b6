"""Margins whose signs are what the model decides."""

import numpy as np
from keras import ops

from tf_genbounds.data.batches import class_indices
from tf_genbounds.functional.margins import margins
from tf_genbounds.measure.decision import decision_of


class DecidedMargins:
    """Margins on the logits, with the signs of what the outputs decide.

    A sigmoid that is 1 in float32 decides nothing any more, whatever its logit.

    Args:
        network: `Network`.
        threshold: See `decision_of`.

    Attributes:
        decision: `Decision`.
    """

    def __init__(self, network, threshold):
        self._network = network
        self.decision = decision_of(network, threshold)
        # Means of probabilities have no logits, and a threshold is of the output.
        self._of_output = threshold is not None or (
            bool(self.decision.threshold) and network.logits is None
        )

    def labels(self, batch):
        """Returns the class of each sample of a batch, without padding."""
        network = self._network
        _, num_classes = network.output_shapes[network.output]
        labels = network.labels_of(batch.y)[: batch.count]
        return class_indices(labels, num_classes, batch.start)

    def __call__(self, logits, outputs, batch):
        """Returns the margin of each sample of a batch, without padding."""
        labels = self.labels(batch)
        if self._of_output:
            logits = outputs - np.float32(self.decision.threshold)
        found = ops.convert_to_numpy(margins(logits, labels))
        least = np.finfo("float32").tiny
        right = self.decision.right(outputs, labels)
        return np.where(right, np.maximum(found, least), np.minimum(found, 0))

    def notes(self, probable):
        """Says what the margins are of.

        Args:
            probable: Boolean array: which outputs look like probabilities.
        """
        found = []
        if self._of_output:
            found.append(
                "The margins are distances of the output from the threshold "
                f"{self.decision.threshold:g}, not of logits from 0."
            )
        if probable.all():
            found.append(
                "Every output is a probability vector: if the model ends "
                "in a softmax, the margins are not those of the logits."
            )
        return found


def look_like_probabilities(logits):
    """Whether each row lies in [0, 1] and sums to 1."""
    return (
        (logits >= 0).all(axis=1)
        & (np.abs(logits.sum(axis=1) - 1) < 1e-3)
        & (logits.shape[1] > 1)
    )
