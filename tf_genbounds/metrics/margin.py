"""The margin metric: a percentile, of counts in bins."""

import keras
import numpy as np
from keras import ops

from tf_genbounds.checks import check_percentile
from tf_genbounds.darc_checks import refuse_probabilities
from tf_genbounds.functional.margins import margins

# Margins are counted in bins whose edges grow like `sinh`: 1 % apart, but
# for the smallest. The first bin begins at -inf, where NaN is counted too.
_INNER = 1e-3 * np.sinh(np.linspace(-22, 22, 4401))
_EDGES = np.concatenate([[-np.inf], _INNER]).astype("float32")


@keras.saving.register_keras_serializable(package="tf_genbounds")
class Margin(keras.metrics.Metric):
    """A percentile of the margins on the logits.

    The margin of a sample is `f(x)[y] - max_{j != y} f(x)[j]`, and negative if
    the sample is misclassified. In `compile(metrics=[...])` the margins of the
    batches are counted in bins, and the result is the lower edge of the
    percentile's bin: at most the exact value, and within 1 % of it (or 1e-5)
    up to margins of a million. In `GeneralizationMonitor` it is exact. Between two
    samples it is the lower margin, where others interpolate (and take the 5th
    percentile). The key in the logs is `"margin"`. Sample weights do not enter.

    Args:
        percentile: Number in [0, 100]; 0 is the minimum. Defaults to `10`.
        name: String. Defaults to `"margin"`.

    Raises:
        ValueError: If the percentile is out of range, or, when updated, if
            the predictions can be seen to come from a softmax or sigmoid.

    Example:

    >>> metric = Margin(percentile=0)
    >>> metric.update_state([0, 0], np.array([[2.0, 0.0], [1.0, 3.0]]))
    >>> -2.02 < float(metric.result()) <= -2
    True

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), section 2.
    """

    quantities = frozenset({"margins"})  # Of `measure`.

    def __init__(self, percentile=10, name="margin"):
        super().__init__(name=name, dtype="float32")
        check_percentile(percentile)
        self.percentile = percentile
        self._counts = self.add_variable(
            (len(_EDGES),), "zeros", "float32", name="counts"
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        refuse_probabilities(y_pred, type(self).__name__)
        logits = ops.convert_to_tensor(y_pred)
        labels = ops.convert_to_tensor(y_true)
        if len(labels.shape) == 2 and labels.shape[1] > 1:  # One-hot.
            labels = ops.argmax(labels, axis=1)
        values = margins(logits, ops.reshape(labels, (-1,)))
        values = ops.where(ops.isnan(values), -float("inf"), values)
        bins = ops.searchsorted(_EDGES, values, side="right") - 1
        self._counts.assign(
            self._counts
            + ops.segment_sum(
                ops.ones_like(values),
                ops.cast(bins, "int32"),
                num_segments=len(_EDGES),
            )
        )

    def result(self):
        below = ops.cumsum(self._counts)
        rank = ops.floor(self.percentile / 100 * (below[-1] - 1))
        # Without samples every bin is below, and there is no percentile.
        bin = ops.sum(ops.cast(below <= rank, "int32"))
        value = ops.take(_EDGES, ops.minimum(bin, len(_EDGES) - 1))
        return ops.where(below[-1] > 0, value, float("nan"))

    def select(self, measurements):
        """Picks the exact percentile out of `Measurements`, by key."""
        return {self.name: measurements.margin(self.percentile)}

    def get_config(self):
        return {"percentile": self.percentile, "name": self.name}
