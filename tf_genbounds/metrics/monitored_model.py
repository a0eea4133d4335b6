"""`MonitoredModel`: measures the training batches, inside the training step."""

from typing import Any

import keras
from keras import ops

from tf_genbounds import backend
from tf_genbounds.measure.samples import sample_quantities
from tf_genbounds.metrics import get
from tf_genbounds.network.model import check_built
from tf_genbounds.network.network import Network


@keras.saving.register_keras_serializable(package="tf_genbounds")
class MonitoredModel(keras.Model):
    """A model that measures itself on the batches that it is trained on.

    It computes what the model inside computes, shares its weights, and is
    compiled and trained in its place. In each step of `fit` and `evaluate` one
    more pass, in inference mode, brings the metrics; in training, with the
    weights before the update. It works on both backends, compiled with XLA, and
    under a `tf.distribute` strategy, where the replicas' extremes are merged.

    In training an extreme is over the batches since the beginning of the
    epoch, while the weights change; `GeneralizationMonitor` measures one set of
    samples with one set of weights.

    Args:
        model: A built Keras model with one input tensor or nest of them, and
            one output. Made by `from_model`.
        monitored: List of metrics.
        name: String, defaults to the name of the model.

    Raises:
        TypeError: If a metric takes more passes than a step has.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> monitored = MonitoredModel.from_model(model, metrics=["layer_cushion"])
    >>> monitored.compile("sgd", "mse")
    >>> x = np.random.rand(8, 4)
    >>> history = monitored.fit(x, x[:, :3], verbose=0)
    >>> list(history.history)
    ['layer_cushion/dense', 'loss']
    """

    def __init__(
        self, model: keras.Model, monitored: Any, name: str | None = None, **kwargs: Any
    ) -> None:
        check_built(model)
        super().__init__(name=name or model.name, **kwargs)
        self.model = model
        self.monitored = [get(metric) for metric in monitored]
        network = Network.of(model)
        maps = network.choose()
        for metric in self.monitored:
            metric.watch(network)
        # Plain attributes would be tracked as layers.
        self._measured = lambda: (network, maps)

    @classmethod
    def from_model(cls, model: keras.Model, metrics: Any) -> "MonitoredModel":
        """Makes a monitored model of a model, which it shares the weights of.

        Args:
            model: A built Keras model.
            metrics: List of `tf_genbounds.metrics` objects or of their names:
                `"stable_rank"`, `"spectral_norm"`, `"frobenius_norm"`,
                `"layer_cushion"`, `"activation_contraction"`, `"margin"`.

        Returns:
            `MonitoredModel`. Its attribute `model` is the model.
        """
        return cls(model, metrics)

    def call(self, inputs: Any, training: Any = None) -> Any:
        return self.model(inputs, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: Any = True,
    ) -> Any:
        # Keras lets a model change all of its state here and nowhere else.
        self._update(x, y)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _update(self, x, y):
        network, maps = self._measured()
        # Without the gradient, or every tensor of the pass would be kept.
        values = [ops.stop_gradient(v) for v in backend.values(self.model.variables)]
        wanted = set().union(*(metric.quantities for metric in self.monitored))
        logits, _, found = sample_quantities(network, maps, wanted, values, x)
        for metric in self.monitored:
            metric.update_from(network, y, logits, found)

    def get_config(self) -> dict:
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "monitored": [
                keras.saving.serialize_keras_object(m) for m in self.monitored
            ],
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:
        config = dict(config)
        load = keras.saving.deserialize_keras_object
        return cls(
            load(config.pop("model"), custom_objects),
            [load(m, custom_objects) for m in config.pop("monitored")],
            **config,
        )
