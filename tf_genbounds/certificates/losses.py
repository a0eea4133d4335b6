"""What a held-out certificate counts: errors, errors of the first k, or any loss."""

import dataclasses
from typing import Any

import numpy as np

from tf_genbounds.checks import check_choice
from tf_genbounds.measure.decision import decision_of

METRICS = ("error", "top_k_error")


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss of one example, in [0, 1].

    Attributes:
        metric: `"error"`, `"top_k_error"` or a function of the labels and the
            predictions of a batch, that returns one number for each example.
        k: Integer, for `"top_k_error"`.
        threshold: Float, for `"error"` of one output.
    """

    metric: Any = "error"
    k: int | None = None
    threshold: float | None = None

    def __post_init__(self):
        if not callable(self.metric):
            check_choice("metric", self.metric, METRICS)
        if (self.k is not None) != (self.metric == "top_k_error"):
            raise ValueError(
                '`k` belongs to metric="top_k_error", which needs it. '
                f"Received: metric={self.metric!r}, k={self.k}"
            )
        if self.k is not None and (self.k != int(self.k) or self.k < 1):
            raise ValueError(f"`k` must be a positive integer. Received: k={self.k}")
        if self.threshold is not None and self.metric != "error":
            raise ValueError(
                '`threshold` belongs to metric="error". '
                f"Received: metric={self.metric!r}, threshold={self.threshold}"
            )

    @property
    def name(self):
        """What the loss is called: a string."""
        if not callable(self.metric):
            return self.metric
        return getattr(self.metric, "__name__", type(self.metric).__name__)

    def rule(self, network):
        """Says what is counted as an error, and returns how.

        Args:
            network: `Network`.

        Returns:
            A pair: a function from `Predictions` to the losses of the examples, of
            shape `(samples,)`, boolean if each is 0 or 1; and a sentence.
        """
        if self.metric == "error":
            decision = decision_of(network, self.threshold)
            return (lambda p: ~decision.right(p.outputs, p.classes())), str(decision)
        if self.metric == "top_k_error":
            network.check_classifier()
            classes = network.output_shapes[network.output][1]
            if classes <= self.k:
                raise ValueError(
                    "`k` must be smaller than the number of outputs. "
                    f"Received: k={self.k}, {classes} outputs"
                )
            return self._not_among_the_first, (
                f"an example is right if fewer than {self.k} other outputs are as "
                "large as that of its class"
            )
        return self._of_function, f"`{self.name}` of the labels and the predictions"

    def _not_among_the_first(self, predicted):
        labels, outputs = predicted.classes(), predicted.outputs
        own = np.arange(outputs.shape[1]) == labels[:, None]
        score = np.max(np.where(own, outputs, -np.inf), axis=1, keepdims=True)
        # So that ties and NaN are wrong.
        before = np.sum(~own & ~(outputs < score), axis=1)
        return ~(before < self.k)

    def _of_function(self, predicted):
        losses = np.asarray(self.metric(predicted.labels, predicted.outputs))
        if losses.shape != (len(predicted.outputs),):
            raise ValueError(
                "The metric must return one number for each example, an array of "
                f"shape ({len(predicted.outputs)},). "
                f"Received: metric={self.name}, shape {losses.shape}"
            )
        if losses.dtype.kind in "ui" and np.isin(losses, (0, 1)).all():
            losses = losses.astype(bool)
        # Of NaN both are wrong.
        if losses.dtype.kind != "b" and not ((losses >= 0) & (losses <= 1)).all():
            raise ValueError(
                "The metric must return numbers in [0, 1]; 0-1 losses as booleans "
                "or integers. "
                f"Received: metric={self.name}, losses from {losses.min()} to "
                f"{losses.max()}"
            )
        return losses
