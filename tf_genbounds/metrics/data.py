"""Metrics of data: cushions, contractions and margins."""

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.darc_checks import refuse_probabilities
from tf_genbounds.functional.margins import margins
from tf_genbounds.metrics.layer_metric import LayerMetric


class ExtremeMetric(LayerMetric):
    """The smallest or largest of per-sample values of each linear map."""

    start = None  # The value of no samples.
    merge = None  # Of two values.
    reduce = None  # Of many.

    def __init__(self, layer=None, name=None):
        super().__init__(layer=layer, name=name)
        self._extremes = {}

    def update_state(self, values, y_pred=None, sample_weight=None):
        """Takes in the per-sample values of a batch.

        Args:
            values: Dict from the name of a linear map to a float tensor of
                shape `(samples,)`.
        """
        if not isinstance(values, dict):
            raise TypeError(
                f"{type(self).__name__} needs the inside of the network, which "
                "Keras does not show to the metrics of `compile`: put it into "
                "`tf_genbounds.callbacks.GeneralizationMonitor(metrics=[...])`"
                f". Received: values of type {type(values).__name__}"
            )
        for name in self.choose(values):
            if name not in self._extremes:
                self._extremes[name] = self.add_variable(
                    (),
                    keras.initializers.Constant(self.start),
                    # Every replica sees the values of all.
                    aggregation="only_first_replica",
                    name=name.replace("/", "_").replace("#", "_"),
                )
            state = self._extremes[name]
            batch = backend.gather(ops.convert_to_tensor(values[name]))
            state.assign(self.merge(state, self.reduce(batch)))

    def result(self):
        return {
            f"{self.name}/{name}": state + 0.0
            for name, state in self._extremes.items()
        }

    def reset_state(self):
        # The base class resets to 0, below every minimum.
        for state in self._extremes.values():
            state.assign(self.start)


@keras.saving.register_keras_serializable(package="tf_genbounds")
class LayerCushion(ExtremeMetric):
    """The layer cushion of each linear map: a minimum over samples.

    `mu_i = min_x ||A v|| / (||A||_F ||v||)`, with `v` the input of layer `i` for
    the sample `x`. The larger, the better the layer carries what it is given,
    and the less of it noise can spoil. For `GeneralizationMonitor`; the keys
    in the logs are `"layer_cushion/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        name: String, what the keys begin with. Defaults to
            `"layer_cushion"`.

    Example:

    >>> metric = LayerCushion()
    >>> metric.update_state({"dense": [0.5, 0.2, 0.7]})
    >>> {k: round(float(v), 4) for k, v in metric.result().items()}
    {'layer_cushion/dense': 0.2}

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 4.
    """

    quantity = "layer_cushion"
    start = float("inf")
    merge = staticmethod(ops.minimum)
    reduce = staticmethod(ops.min)


@keras.saving.register_keras_serializable(package="tf_genbounds")
class ActivationContraction(ExtremeMetric):
    """The contraction by the activation before each linear map: a maximum.

    `c = max_x ||x|| / ||phi(x)||` of the activation that gives the layer's
    input; 1 for the first layer. For `GeneralizationMonitor`; the keys in the
    logs are `"activation_contraction/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        name: String, what the keys begin with. Defaults to
            `"activation_contraction"`.

    Example:

    >>> metric = ActivationContraction()
    >>> metric.update_state({"dense": [1.4, 1.6]})
    >>> {k: round(float(v), 4) for k, v in metric.result().items()}
    {'activation_contraction/dense': 1.6}

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 6.
    """

    quantity = "activation_contraction"
    start = 0.0
    merge = staticmethod(ops.maximum)
    reduce = staticmethod(ops.max)


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
    up to margins of a million. In `GeneralizationMonitor` it is exact. The key
    in the logs is `"margin"`. Sample weights do not enter.

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

    quantity = "margins"

    def __init__(self, percentile=10, name="margin"):
        super().__init__(name=name, dtype="float32")
        if not 0 <= percentile <= 100:
            raise ValueError(
                "`percentile` must lie in [0, 100]. "
                f"Received: percentile={percentile}"
            )
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
