"""Metrics of data: the smallest cushions and the largest contractions."""

from typing import Any

import keras
from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional.operators import keep_nan
from tf_genbounds.metrics.layer_metric import LayerMetric


class ExtremeMetric(LayerMetric):
    """The smallest or largest of per-sample values of each linear map."""

    start = None  # The value of no samples.
    merge = None  # Of two values.
    reduce = None  # Of many.

    def __init__(self, layer=None, name=None):
        super().__init__(layer=layer, name=name)
        self._extremes = {}

    def bind(self, network):
        """Makes room for the maps of a network that are measured.

        A compiled step on JAX may not make variables.

        Args:
            network: `tf_genbounds.network.Network`.
        """
        names = [name for name, linear in network.maps.items() if self.applies(linear)]
        for name in self.choose(names):
            self._state(name)

    def watch(self, network):
        self.bind(network)

    def update_from(self, network, y, logits, found):
        self.update_state(
            {
                name: value
                for (quantity, name), value in found.items()
                if quantity == self.quantity
            }
        )

    def applies(self, linear):
        """Whether a linear map has this quantity."""
        return True

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
                "`GeneralizationMonitor(data, metrics=[...])` or "
                "`MonitoredModel.from_model(model, metrics=[...])`"
                f". Received: values of type {type(values).__name__}"
            )
        for name in self.choose(values):
            state = self._state(name)
            batch = backend.gather(ops.convert_to_tensor(values[name]))
            extreme = self.merge(state, self.reduce(batch))
            state.assign(keep_nan(extreme, state + ops.sum(batch)))

    def _state(self, name):
        if name not in self._extremes:
            self._extremes[name] = self.add_variable(
                (),
                keras.initializers.Constant(self.start),
                # Every replica sees the values of all.
                aggregation="only_first_replica",
                name=name.replace("/", "_").replace("#", "_"),
            )
        return self._extremes[name]

    def result(self):
        return {
            f"{self.name}/{name}": state + 0.0 for name, state in self._extremes.items()
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

    def applies(self, linear: Any) -> Any:
        return bool(linear.activations)
