"""Training in two phases, the second with a fixed activation pattern."""

from tf_genbounds.two_phase.freeze import freeze_activation_pattern

__all__ = ["freeze_activation_pattern"]
