"""Training in two phases, the second with a fixed activation pattern."""

from tf_genbounds.two_phase.freeze import freeze_activation_pattern
from tf_genbounds.two_phase.split import PhaseData
from tf_genbounds.two_phase.training import TwoPhaseTraining

__all__ = ["PhaseData", "TwoPhaseTraining", "freeze_activation_pattern"]
