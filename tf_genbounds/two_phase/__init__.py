"""Training in two phases, the second with a fixed activation pattern."""

from tf_genbounds.two_phase.freeze import freeze_activation_pattern
from tf_genbounds.two_phase.paths import path_count
from tf_genbounds.two_phase.paths import path_feature_norms
from tf_genbounds.two_phase.paths import path_gram_matrix
from tf_genbounds.two_phase.paths import path_weight_norms
from tf_genbounds.two_phase.split import PhaseData
from tf_genbounds.two_phase.training import TwoPhaseTraining

__all__ = [
    "PhaseData",
    "TwoPhaseTraining",
    "freeze_activation_pattern",
    "path_count",
    "path_feature_norms",
    "path_gram_matrix",
    "path_weight_norms",
]
