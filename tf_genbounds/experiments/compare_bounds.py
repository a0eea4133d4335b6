"""What bounds of several papers grow with, side by side."""

import dataclasses
from typing import Any

import keras

from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds.result import Result
from tf_genbounds.measure.measure import measure


@dataclasses.dataclass(frozen=True)
class BoundComparison(Result):
    """What `compare_bounds` found.

    Attributes:
        model: Name of the model.
        complexities: `Complexity`s by name; see `Measurements.complexities`.
        margin: The margin that every row has.
        num_samples: Number of samples of the margins.

    Example:

    >>> BoundComparison("network", {}, margin=1.0, num_samples=100).margin
    1.0
    """

    model: str
    complexities: dict
    margin: float
    num_samples: int

    def rows(self) -> list[tuple]:
        """Returns a tuple of strings for each complexity: its name and value."""
        return tuple((c.name, f"{c.value:.4g}") for c in self.complexities.values())

    def plot(self, history: Any = None) -> Any:
        """Draws the numbers as bars, and how they came about: figure 3.

        Needs `pip install tf_genbounds[report]`.

        Args:
            history: What `fit` returned, or its dict, of a training with
                `GeneralizationMonitor(data, metrics=["complexities"])`; brings a
                second panel, of the epochs.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ValueError: If the history has no complexities.
        """
        from tf_genbounds.report.plots import figure
        from tf_genbounds.report.study_panels import comparison_panels

        history = getattr(history, "history", history)
        return figure(comparison_panels(self, history))

    def _fields(self):
        parts = {name: c.to_fields() for name, c in self.complexities.items()}
        return super()._fields() | {"complexities": parts}

    @classmethod
    def _of(cls, fields):
        fields["complexities"] = {
            name: Complexity.from_fields(c)
            for name, c in fields["complexities"].items()
        }
        return cls(**fields)


def compare_bounds(
    model: keras.Model,
    data: Any,
    *,
    margin: float | None = None,
    percentile: float = 10,
    scale_inputs: bool = False,
    variant: str = "paper",
    initial_weights: Any = None,
    num_samples: int = 64,
    num_probes: int = 16,
    exact: bool = False,
    threshold: float | None = None,
    batch_size: int = 128,
    seed: int = 0,
    verbose: int | str = 0,
) -> BoundComparison:
    """Compares what generalization bounds of several papers grow with.

    The rows of figure 3 of the compression paper, as numbers of samples with
    constants and logarithms left out: norms of weights, a count of parameters, and
    the effective parameters of the compression paper. None of them is a bound, but
    they show which theory sees that a network is simple.

    Args:
        model: A built Keras model, a classifier.
        data: Data with labels, in any form that `tf_genbounds.measure` takes. All
            of it counts for the margin.
        margin: Positive number on the logits, the same in every row. Defaults to
            the `percentile` of the margins of the data.
        percentile: Number in [0, 100].
        scale_inputs: As in `Measurements.complexities`; so is `variant`.
        initial_weights: As in `tf_genbounds.measure`: the rows then count the
            difference, where their papers do.
        num_samples: Integer, how many samples the quantities between layers are
            measured on, or `None` for all. Fewer samples make the effective
            parameters smaller: those are maxima over the samples.
        num_probes: As in `measure`; so are the other arguments.

    Returns:
        `BoundComparison`.

    Raises:
        ValueError: If the data has no labels or an argument is out of range.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(2, use_bias=False)]
    ... )
    >>> model.layers[0].set_weights([np.diag([2.0, 1.0])])
    >>> x, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    >>> for name, value in compare_bounds(model, (x, y), margin=1.0).rows():
    ...     print(name, value)
    l1,inf norms 4
    Frobenius norms 5
    spectral and l2,1 norms 9
    spectral and Frobenius norms 10
    parameters 4
    effective parameters 40

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), figure 3.
    """
    shared = {"batch_size": batch_size, "seed": seed, "verbose": verbose}
    shared["initial_weights"] = initial_weights
    quantities = ["spectral_norm", "frobenius_norm", "unit_norms", "margins"]
    measured = measure(
        model, data, quantities=quantities, threshold=threshold, **shared
    )
    if margin is None:
        margin = measured.margin(percentile)
    if variant == "paper":
        between = measure(
            model,
            data,
            quantities=["layer_cushion", "activation_contraction", "jacobian_spread"],
            num_samples=num_samples,
            num_probes=num_probes,
            exact=exact,
            **shared,
        )
        fields = (
            "layer_cushion",
            "layer_cushion_from_init",
            "activation_contraction",
            "minimal_interlayer_cushion",
            "jacobian_spread",
        )
        layers = {
            name: dataclasses.replace(
                layer, **{f: getattr(between.layers[name], f) for f in fields}
            )
            for name, layer in measured.layers.items()
        }
        measured = dataclasses.replace(measured, layers=layers, pairs=between.pairs)
    return BoundComparison(
        model=model.name,
        complexities=measured.complexities(
            margin=margin,
            scale_inputs=scale_inputs,
            variant=variant,
            from_init=initial_weights is not None,
        ),
        margin=float(margin),
        num_samples=measured.num_samples,
    )
