"""The mathematics: tensors in, tensors out."""

import importlib
import warnings

from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.functional.darc import darc_penalty
from tf_genbounds.functional.interlayer import interlayer_cushion
from tf_genbounds.functional.interlayer import interlayer_smoothness
from tf_genbounds.functional.interlayer import jacobian_spread
from tf_genbounds.functional.margins import margin_loss
from tf_genbounds.functional.margins import margins
from tf_genbounds.functional.margins import ramp_loss
from tf_genbounds.functional.noise_sensitivity import noise_sensitivity
from tf_genbounds.functional.noise_stability import activation_contraction
from tf_genbounds.functional.noise_stability import layer_cushion
from tf_genbounds.functional.operators import LinearOperator
from tf_genbounds.functional.operators import frobenius_norm
from tf_genbounds.functional.operators import linear_operator
from tf_genbounds.functional.spectral import spectral_norm
from tf_genbounds.functional.spectral import stable_rank
from tf_genbounds.functional.spectral_bounds import spectral_norm_upper_bound
from tf_genbounds.functional.unit_norms import unit_norms

__all__ = [
    "LinearOperator",
    "activation_contraction",
    "darc1_penalty",
    "darc_penalty",
    "frobenius_norm",
    "interlayer_cushion",
    "interlayer_smoothness",
    "jacobian_spread",
    "layer_cushion",
    "linear_operator",
    "margin_loss",
    "margins",
    "noise_sensitivity",
    "ramp_loss",
    "spectral_norm",
    "spectral_norm_upper_bound",
    "stable_rank",
    "unit_norms",
]


def __getattr__(name):
    # They take a model, and live with what knows about patterns.
    if name in (
        "path_count",
        "path_feature_norms",
        "path_gram_matrix",
        "path_weight_norms",
    ):
        warnings.warn(
            f"`functional.{name}` is `two_phase.{name}` now, and will leave "
            "`functional` with the next release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module("tf_genbounds.two_phase"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
