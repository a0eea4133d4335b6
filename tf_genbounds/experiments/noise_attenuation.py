"""Noise attenuation: how fast noise at one layer dies out in the next ones."""

import functools
from typing import Any

from tf_genbounds.measure import noise_attenuation as measured


class NoiseAttenuation(measured.NoiseAttenuation):
    """What `noise_attenuation` found, with a picture of it.

    Example:

    >>> result = NoiseAttenuation(
    ...     model="two", layers=("a", "b"), errors={("a", "b"): (0.1, 0.1, 0.1, 0.1)},
    ...     relative_norm=0.1, at="input", num_samples=1, num_draws=1,
    ... )
    >>> result.curve("a")
    (['b'], [0.1])
    """

    def plot(self) -> Any:
        """Draws the errors by layer, a curve for each layer with noise.

        Needs `pip install tf_genbounds[report]`.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        from tf_genbounds.report.plots import figure
        from tf_genbounds.report.study_panels import attenuation_panel

        return figure([attenuation_panel("", self)])


@functools.wraps(measured.noise_attenuation)
def noise_attenuation(*args, **options):
    found = measured.noise_attenuation(*args, **options)
    return NoiseAttenuation(**vars(found))
