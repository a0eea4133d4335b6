"""What the metrics with one value for each linear map share."""

import keras

from tf_genbounds.checks import check_choice


class Monitored:
    """What `GeneralizationMonitor` and `MonitoredModel` ask of a metric.

    Attributes:
        quantities: What `measure` must be asked for.
        needs_initial_weights: Whether it needs the weights from before training.
    """

    quantities: frozenset = frozenset()
    needs_initial_weights = False

    def watch(self, network):
        """Prepares for the batches of `update_from`, or says that it cannot.

        Args:
            network: `tf_genbounds.network.network.Network`.
        """
        self.update_state()

    def update_from(self, network, y, logits, found):
        """Takes in a batch.

        Args:
            network: `Network`.
            y: The labels as they were given.
            logits: Float tensor of shape `(samples, classes)`.
            found: Dict of tensors by `(quantity, name of the layer)`.
        """
        self.update_state()

    def select(self, measurements):
        """Picks the values of this metric out of `Measurements`, by key."""
        return {}


class LayerMetric(Monitored, keras.metrics.Metric):
    """A quantity with one value for each linear map of a model.

    Its `result()` is a dict with keys such as `"stable_rank/dense_1"`.
    """

    quantity = None  # What `measure` calls it.

    def __init__(self, layer=None, name=None):
        # Norms are float32, whatever the dtype policy.
        super().__init__(name=name or self.quantity, dtype="float32")
        if isinstance(layer, keras.Layer) and not isinstance(layer, keras.Model):
            layer = layer.name
        if layer is not None and not isinstance(layer, str):
            raise TypeError(
                "`layer` must be a layer, the name of one, or None for all "
                f"linear layers of the model. Received: layer={layer!r}"
            )
        self.layer = layer

    @property
    def quantities(self):
        """What `measure` must be asked for, to have the value."""
        return {self.quantity}

    @property
    def field(self):
        """Name of the attribute of `LayerMeasurements` with the value."""
        return self.quantity

    def choose(self, names):
        """Returns those of the names of linear maps that are `layer`'s.

        A shared layer has several, and so has a name that is not unique.
        """
        chosen = [
            name
            for name in names
            if self.layer in (None, name, name.split("#")[0])
            or name.split("#")[0].endswith(f"/{self.layer}")
        ]
        if not chosen:
            check_choice("layer", self.layer, names)
        return chosen

    def select(self, measurements):
        """Picks the values of this metric out of `Measurements`, by key.

        NaN where a value could not be measured; `measurements.notes` say why.
        """
        values = {
            name: getattr(measurements.layers[name], self.field)
            for name in self.choose(measurements.layers)
        }
        return {
            f"{self.name}/{name}": float("nan") if value is None else value
            for name, value in values.items()
        }

    def get_config(self):
        return {"layer": self.layer, "name": self.name}
