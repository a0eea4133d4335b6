"""Keras metrics: norms of weights, cushions and margins, penalties."""

from tf_genbounds.checks import check_choice
from tf_genbounds.metrics.complexities import Complexities
from tf_genbounds.metrics.data import ActivationContraction
from tf_genbounds.metrics.data import LayerCushion
from tf_genbounds.metrics.interlayer import DistanceFromInitialization
from tf_genbounds.metrics.interlayer import EffectiveParameters
from tf_genbounds.metrics.interlayer import InterlayerCushion
from tf_genbounds.metrics.interlayer import InterlayerSmoothness
from tf_genbounds.metrics.interlayer import JacobianSpread
from tf_genbounds.metrics.margin import Margin
from tf_genbounds.metrics.penalty import DARC1Penalty
from tf_genbounds.metrics.weights import FrobeniusNorm
from tf_genbounds.metrics.weights import SpectralNorm
from tf_genbounds.metrics.weights import StableRank

__all__ = [
    "ActivationContraction",
    "Complexities",
    "DARC1Penalty",
    "DistanceFromInitialization",
    "EffectiveParameters",
    "FrobeniusNorm",
    "InterlayerCushion",
    "InterlayerSmoothness",
    "JacobianSpread",
    "LayerCushion",
    "Margin",
    "SpectralNorm",
    "StableRank",
]

_MONITORED = {
    "activation_contraction": ActivationContraction,
    "complexities": Complexities,
    "distance_from_init": DistanceFromInitialization,
    "effective_parameters": EffectiveParameters,
    "frobenius_norm": FrobeniusNorm,
    "interlayer_cushion": InterlayerCushion,
    "interlayer_smoothness": InterlayerSmoothness,
    "jacobian_spread": JacobianSpread,
    "layer_cushion": LayerCushion,
    "margin": Margin,
    "spectral_norm": SpectralNorm,
    "stable_rank": StableRank,
}


def get(metric):
    """Returns a metric for `GeneralizationMonitor`, from its name or itself."""
    if isinstance(metric, str):
        check_choice("metric", metric, _MONITORED)
        return _MONITORED[metric]()
    if not isinstance(metric, tuple(_MONITORED.values())):
        raise TypeError(
            "`metrics` must be names or metrics of "
            f"{sorted(_MONITORED)}. Received: metric={metric!r}"
        )
    return metric
