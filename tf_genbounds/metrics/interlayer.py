"""Metrics that take many passes, or the initial weights: for the monitor."""

from typing import Any

import keras

from tf_genbounds.metrics.layer_metric import LayerMetric


def refuse_update(metric):
    """Says where a metric belongs that one step cannot update."""
    raise TypeError(
        f"{type(metric).__name__} is more than one training step can see: put it into "
        "`tf_genbounds.callbacks.GeneralizationMonitor(data, metrics=[...])`, not "
        f"into `compile` or a `MonitoredModel`. Received: metric={metric.name!r}"
    )


class MonitorMetric(LayerMetric):
    """A quantity that `GeneralizationMonitor` alone can follow."""

    def update_state(self, y_true=None, y_pred=None, sample_weight=None):
        refuse_update(self)

    def result(self):
        return {}

    def select(self, measurements):
        # The last layer has none after it, and no key.
        return {
            f"{self.name}/{name}": value
            for name in self.choose(measurements.layers)
            if (value := getattr(measurements.layers[name], self.field)) is not None
        }


@keras.saving.register_keras_serializable(package="tf_genbounds")
class InterlayerCushion(MonitorMetric):
    """The least interlayer cushion from each layer to a later one.

    `mu_i = min_{j > i, x} sqrt(pixels) ||J x^i|| / (||J||_F ||x^i||)`, with `J` the
    Jacobian of the pre-activation `x^j` in `x^i`. Of norms that are estimated (see
    `num_probes` of `measure`) the least may be some percent too large. For
    `GeneralizationMonitor`; the keys in the logs are
    `"interlayer_cushion/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        clip: Boolean, whether `j = i`, which has `1 / sqrt(channels)`, counts
            too, as in the paper's theorem. In most layers of most networks it
            is the least, which is why it is left out by default.
        name: String, what the keys begin with. Defaults to
            `"interlayer_cushion"`.

    Example:

    >>> gb.metrics.InterlayerCushion("dense", clip=True).get_config()
    {'layer': 'dense', 'name': 'interlayer_cushion', 'clip': True}

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definitions 5
          and 8.
    """

    quantity = "interlayer_cushion"

    def __init__(
        self, layer: Any = None, clip: bool = False, name: str | None = None
    ) -> None:
        super().__init__(layer=layer, name=name)
        self.clip = clip

    @property
    def field(self) -> Any:
        if self.clip:
            return "minimal_interlayer_cushion"
        return "unclipped_interlayer_cushion"

    def get_config(self) -> dict:
        return {**super().get_config(), "clip": self.clip}


@keras.saving.register_keras_serializable(package="tf_genbounds")
class InterlayerSmoothness(MonitorMetric):
    """The least interlayer smoothness from each layer to a later one.

    See `tf_genbounds.functional.interlayer_smoothness`: how close the network
    after the layer is to its linearization. For `GeneralizationMonitor`; the
    keys in the logs are `"interlayer_smoothness/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        name: String, what the keys begin with. Defaults to
            `"interlayer_smoothness"`.

    Example:

    >>> gb.metrics.InterlayerSmoothness().name
    'interlayer_smoothness'

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 7.
    """

    quantity = "interlayer_smoothness"


@keras.saving.register_keras_serializable(package="tf_genbounds")
class JacobianSpread(MonitorMetric):
    """How unevenly the later layers read the pixels of each layer.

    See `tf_genbounds.functional.jacobian_spread`: 1 if all pixels count alike.
    For `GeneralizationMonitor`; the keys in the logs are
    `"jacobian_spread/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        name: String, what the keys begin with. Defaults to
            `"jacobian_spread"`.

    Example:

    >>> gb.metrics.JacobianSpread().name
    'jacobian_spread'

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), definition 9.
    """

    quantity = "jacobian_spread"


@keras.saving.register_keras_serializable(package="tf_genbounds")
class EffectiveParameters(MonitorMetric):
    """The effective number of parameters of each linear map.

    `(c_i beta_i / (mu_i mu_{i->}))^2` times the overlap of the patches, as in
    table 1 of the compression paper: a complexity, not a bound. For
    `GeneralizationMonitor`; the keys in the logs are
    `"effective_parameters/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        name: String, what the keys begin with. Defaults to
            `"effective_parameters"`.

    Example:

    >>> gb.metrics.EffectiveParameters().name
    'effective_parameters'

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), section 6.
    """

    quantity = "effective_parameters"

    @property
    def quantities(self) -> Any:
        return {"layer_cushion", "activation_contraction", "interlayer_cushion"}


@keras.saving.register_keras_serializable(package="tf_genbounds")
class DistanceFromInitialization(MonitorMetric):
    """The distance of each kernel from its initial value, `||A - A_0||_F`.

    For `GeneralizationMonitor` with `initial_weights`; the keys in the logs
    are `"distance_from_init/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        name: String, what the keys begin with. Defaults to
            `"distance_from_init"`.

    Example:

    >>> gb.metrics.DistanceFromInitialization().name
    'distance_from_init'

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), section 4.
    """

    needs_initial_weights = True
    quantity = "distance_from_init"

    @property
    def quantities(self) -> Any:
        return {"frobenius_norm"}
