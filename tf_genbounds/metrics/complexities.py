"""The complexities of figure 3, for the monitor."""

from typing import Any

import keras

from tf_genbounds.checks import check_percentile
from tf_genbounds.metrics.interlayer import refuse_update
from tf_genbounds.metrics.layer_metric import Monitored


@keras.saving.register_keras_serializable(package="tf_genbounds")
class Complexities(Monitored, keras.metrics.Metric):
    """What bounds of several papers grow with, side by side during training.

    See `tf_genbounds.experiments.compare_bounds`, whose plot takes the history.
    For `GeneralizationMonitor`; the keys in the logs are `"complexities/l1_inf"`,
    `"complexities/frobenius"`, `"complexities/spectral_l21"`,
    `"complexities/spectral_frobenius"`, `"complexities/parameters"` and
    `"complexities/effective_parameters"`. They are `inf` while the margin is
    negative. Numbers of different epochs have different margins unless `margin`
    is given.

    Args:
        margin: Positive number on the logits, or `None` for a percentile of the
            margins of the probe set.
        percentile: Number in [0, 100]. Defaults to `10`.
        name: String, what the keys begin with. Defaults to `"complexities"`.

    Example:

    >>> gb.metrics.Complexities(margin=1.0).get_config()
    {'margin': 1.0, 'percentile': 10, 'name': 'complexities'}

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), figure 3.
    """

    quantities = frozenset(
        {
            "activation_contraction",
            "frobenius_norm",
            "jacobian_spread",
            "layer_cushion",
            "margins",
            "spectral_norm",
            "unit_norms",
        }
    )

    def __init__(
        self,
        margin: float | None = None,
        percentile: float = 10,
        name: str = "complexities",
    ) -> None:
        super().__init__(name=name, dtype="float32")
        check_percentile(percentile)
        self.margin = margin
        self.percentile = percentile

    def update_state(
        self, y_true: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> None:
        refuse_update(self)

    def result(self) -> Any:
        return {}

    def select(self, measurements: Any) -> Any:
        margin = self.margin
        if margin is None:
            margin = measurements.margin(self.percentile)
        found = measurements.complexities(margin=margin)
        return {f"{self.name}/{key}": c.value for key, c in found.items()}

    def get_config(self) -> dict:
        return {
            "margin": self.margin,
            "percentile": self.percentile,
            "name": self.name,
        }
