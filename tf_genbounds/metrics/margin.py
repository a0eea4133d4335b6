"""The margin metric: a percentile, of counts in bins."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.checks import check_percentile
from tf_genbounds.data.batches import class_indices
from tf_genbounds.data.batches import refuse_label_shape
from tf_genbounds.functional.logits import refuse_probable_predictions
from tf_genbounds.functional.margins import margins
from tf_genbounds.measure.decision import decision_of
from tf_genbounds.metrics.layer_metric import Monitored

# Margins are counted in bins whose edges grow like `sinh`: 1 % apart, but
# for the smallest. The first bin begins at -inf, where NaN is counted too.
_INNER = 1e-3 * np.sinh(np.linspace(-22, 22, 4401))
_EDGES = np.concatenate([[-np.inf], _INNER]).astype("float32")


@keras.saving.register_keras_serializable(package="tf_genbounds")
class Margin(Monitored, keras.metrics.Metric):
    """A percentile of the margins on the logits.

    The margin of a sample is `f(x)[y] - max_{j != y} f(x)[j]`, and negative if
    the sample is misclassified. In `compile(metrics=[...])` the margins of the
    batches are counted in bins, and the result is the lower edge of the
    percentile's bin: at most the exact value, and within 1 % of it (or 1e-5)
    up to margins of a million. In `GeneralizationMonitor` it is exact. Between two
    samples it is the lower margin, where others interpolate (and take the 5th
    percentile). The key in the logs is `"margin"`. Sample weights do not enter.

    Labels are class indices from 0 or one-hot. A compiled step cannot refuse a
    label by its value: the result is NaN there, and an error at the end of the
    epoch.

    Args:
        percentile: Number in [0, 100]; 0 is the minimum. Defaults to `10`.
        name: String. Defaults to `"margin"`.

    Raises:
        ValueError: If the percentile is out of range; when updated, if the
            predictions can be seen to come from a softmax or sigmoid; when
            updated or read, if a label is no class, such as the -1 of a hinge
            loss.

    Example:

    >>> metric = Margin(percentile=0)
    >>> metric.update_state([0, 0], np.array([[2.0, 0.0], [1.0, 3.0]]))
    >>> -2.02 < float(metric.result()) <= -2
    True

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), section 2.
    """

    quantities = frozenset({"margins"})  # Of `measure`.

    def __init__(self, percentile: float = 10, name: str = "margin") -> None:
        super().__init__(name=name, dtype="float32")
        check_percentile(percentile)
        self.percentile = percentile
        self._counts = self.add_variable(
            (len(_EDGES),), "zeros", "float32", name="counts"
        )
        self._misfits = self.add_variable((), "zeros", "float32", name="misfits")
        self._num_classes = None

    def watch(self, network: Any) -> None:
        decision_of(network)

    def update_from(self, network: Any, y: Any, logits: Any, found: dict) -> None:
        self.count(network.labels_of(y), logits)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        refuse_probable_predictions(y_pred, type(self).__name__, "measures")
        self.count(y_true, y_pred)

    def count(self, labels: Any, logits: Any) -> None:
        """Counts the margins of a batch of logits, wherever these come from."""
        logits = ops.convert_to_tensor(logits)
        labels = ops.convert_to_tensor(labels)
        self._num_classes = logits.shape[1]
        if backend.is_traced(labels):
            labels, fits = _traced_indices(labels, self._num_classes)
            fits = ops.cast(fits, "float32")
            self._misfits.assign(self._misfits + ops.sum(1.0 - fits))
        else:
            labels = class_indices(ops.convert_to_numpy(labels), self._num_classes)
            fits = ops.ones(labels.shape, "float32")
        values = margins(logits, labels)
        values = ops.where(ops.isnan(values), -float("inf"), values)
        bins = ops.searchsorted(_EDGES, values, side="right") - 1
        self._counts.assign(
            self._counts
            + ops.segment_sum(
                fits,
                ops.cast(bins, "int32"),
                num_segments=len(_EDGES),
            )
        )

    def result(self) -> Any:
        misfits = self._misfits + 0.0
        if not backend.is_traced(misfits) and float(misfits) > 0:
            raise ValueError(
                "Margins need labels that are class indices in "
                f"[0, {max(self._num_classes, 2)}), or one-hot. "
                f"Received: {float(misfits):.0f} labels that are neither"
            )
        below = ops.cumsum(self._counts)
        rank = ops.floor(self.percentile / 100 * (below[-1] - 1))
        # Without samples every bin is below, and there is no percentile.
        bin = ops.sum(ops.cast(below <= rank, "int32"))
        value = ops.take(_EDGES, ops.minimum(bin, len(_EDGES) - 1))
        known = ops.logical_and(below[-1] > 0, misfits == 0)
        return ops.where(known, value, float("nan"))

    def select(self, measurements: Any) -> Any:
        """Picks the exact percentile out of `Measurements`, by key."""
        return {self.name: measurements.margin(self.percentile)}

    def get_config(self) -> dict:
        return {"percentile": self.percentile, "name": self.name}


def _traced_indices(labels, num_classes):
    """The `class_indices` of labels without values yet, and which of them fit."""
    labels = ops.cast(labels, "float32")
    if len(labels.shape) == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if len(labels.shape) == 2 and labels.shape[1] == num_classes:
        hot = ops.argmax(labels, axis=1)
        return hot, ops.all(labels == ops.one_hot(hot, num_classes), axis=1)
    refuse_label_shape(labels.shape, num_classes)
    in_range = ops.logical_and(labels >= 0, labels < max(num_classes, 2))
    return labels, ops.logical_and(in_range, labels == ops.floor(labels))
