"""Noise stability of networks side by side, as distributions over samples."""

import dataclasses
from typing import Any

import keras
import numpy as np

from tf_genbounds.bounds.result import Result
from tf_genbounds.checks import check_choice
from tf_genbounds.measure.measure import measure
from tf_genbounds.measure.measurements import Measurements

QUANTITIES = {
    "layer_cushion": "layer_cushion",
    "unclipped_interlayer_cushion": "interlayer_cushion",
    "activation_contraction": "activation_contraction",
    "interlayer_smoothness": "interlayer_smoothness",
    "jacobian_spread": "jacobian_spread",
}


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseStability(Result):
    """What `noise_stability` found.

    Attributes:
        measurements: `Measurements` by the label of the network.

    Example:

    >>> NoiseStability({}).measurements
    {}
    """

    measurements: dict

    def values(self, label: str, quantity: str) -> np.ndarray:
        """Returns the values of every layer and sample, flat.

        Args:
            label: Label of a network.
            quantity: `"layer_cushion"`, `"unclipped_interlayer_cushion"`,
                `"activation_contraction"`, `"interlayer_smoothness"` (its
                minimum over the draws) or `"jacobian_spread"`.

        Returns:
            Float array.
        """
        check_choice("label", label, self.measurements)
        check_choice("quantity", quantity, QUANTITIES)
        found = [
            values.min(axis=1) if values.ndim > 1 else values
            for (name, _), values in self.measurements[label].distributions.items()
            if name == quantity
        ]
        return np.concatenate(found) if found else np.empty(0, "float32")

    def median(self, label: str, quantity: str) -> float:
        """Returns the median over layers and samples; see `values`."""
        return float(np.median(self.values(label, quantity)))

    def plot(self) -> Any:
        """Draws a histogram of each quantity, the networks on one axis.

        Needs `pip install tf_genbounds[report]`.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        from tf_genbounds.report.plots import figure
        from tf_genbounds.report.study_panels import stability_panels

        return figure(stability_panels(self))

    def _fields(self):
        return {label: m.to_fields() for label, m in self.measurements.items()}

    @classmethod
    def _of(cls, fields):
        return cls(
            {label: Measurements.from_fields(part) for label, part in fields.items()}
        )


def noise_stability(
    model: keras.Model,
    data: Any,
    *,
    random_model: keras.Model | None = None,
    num_samples: int | None = 64,
    num_probes: int = 16,
    num_draws: int = 4,
    noise: str = "projection",
    batch_size: int = 128,
    seed: int = 0,
    verbose: int | str = 0,
) -> NoiseStability:
    """Measures a trained network beside a random one, sample by sample.

    The distributions over the samples of layer cushion, unclipped minimal
    interlayer cushion, contraction and smoothness: figure 2 of the compression
    paper. A trained network tends to have larger cushions than a random one.

    Args:
        model: A built Keras model, or a dict of them by label, which are
            compared as they are.
        data: Any data that `tf_genbounds.measure` takes; labels play no part.
        random_model: The model to compare a single `model` with. Defaults to
            one of the same architecture with fresh weights, for which
            `keras.utils.set_random_seed` sets the seed.
        num_samples: Integer, how many samples of the data, or `None` for all.
        num_probes: As in `measure`; so are the other arguments.

    Returns:
        `NoiseStability`, with the labels `"trained"` and `"random"`, or those
        of the dict.

    Raises:
        ValueError: As `measure` does.

    Example:

    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((4,)),
    ...         keras.layers.Dense(8, activation="relu"),
    ...         keras.layers.Dense(3),
    ...     ]
    ... )
    >>> result = gb.experiments.noise_stability(model, np.random.rand(5, 4))
    >>> sorted(result.measurements)
    ['random', 'trained']

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), figure 2.
    """
    if isinstance(model, dict):
        if random_model is not None:
            raise ValueError(
                "`random_model` is for a single model: put it into the dict. "
                f"Received: model with the labels {list(model)}"
            )
        models = model
    else:
        if random_model is None:
            random_model = _fresh(model)
        models = {"trained": model, "random": random_model}
    return NoiseStability(
        {
            label: measure(
                each,
                data,
                quantities=sorted(set(QUANTITIES.values())),
                num_samples=num_samples,
                num_probes=num_probes,
                num_draws=num_draws,
                noise=noise,
                batch_size=batch_size,
                seed=seed,
                verbose=verbose,
            )
            for label, each in models.items()
        }
    )


def _fresh(model):
    """Returns a model of the same architecture, with fresh weights."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a Keras model or a dict of them. "
            f"Received: model={model!r}"
        )
    copy = type(model).from_config(model.get_config())
    if not copy.built:
        copy.build_from_config(model.get_build_config())
    return copy
