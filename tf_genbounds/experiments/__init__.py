"""The studies of the papers, each a function that returns what it found."""

from tf_genbounds.experiments.compare_bounds import BoundComparison
from tf_genbounds.experiments.compare_bounds import compare_bounds
from tf_genbounds.experiments.noise_attenuation import NoiseAttenuation
from tf_genbounds.experiments.noise_attenuation import noise_attenuation
from tf_genbounds.experiments.noise_stability import QUANTITIES
from tf_genbounds.experiments.noise_stability import NoiseStability
from tf_genbounds.experiments.noise_stability import noise_stability

__all__ = [
    "QUANTITIES",
    "BoundComparison",
    "NoiseAttenuation",
    "NoiseStability",
    "compare_bounds",
    "noise_attenuation",
    "noise_stability",
]
