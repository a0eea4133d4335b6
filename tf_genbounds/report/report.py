"""`report`: measures a model and says what was found."""

import dataclasses
import os
from typing import Any

import keras

from tf_genbounds._version import __version__
from tf_genbounds.bounds import Bound
from tf_genbounds.bounds.result import Result
from tf_genbounds.bounds.result import from_plain
from tf_genbounds.bounds.result import write_text
from tf_genbounds.certificates import Certificate
from tf_genbounds.checks import check_choice
from tf_genbounds.compression import Compressed
from tf_genbounds.data.batches import has_labels
from tf_genbounds.measure.measure import measure
from tf_genbounds.measure.measurements import Measurements
from tf_genbounds.measure.noise_attenuation import NoiseAttenuation
from tf_genbounds.measure.noise_attenuation import noise_attenuation
from tf_genbounds.measure.quantities import OF_PAIRS
from tf_genbounds.measure.quantities import OF_SAMPLES
from tf_genbounds.measure.quantities import OF_WEIGHTS
from tf_genbounds.report.compression import Compression
from tf_genbounds.report.text import markdown
from tf_genbounds.report.text import text

PLOTS = (
    "training_curves",
    "margins",
    "layer_cushion",
    "stable_ranks",
    "interlayer_cushion",
    "noise_attenuation",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Report(Result):
    """What was measured of a model, and how to show it.

    Attributes:
        title: Name of the model in the report.
        model: Facts about the model: `name`, `class` and `num_parameters`.
        train: `Measurements` on the training sample.
        validation: `Measurements` of the margins on other data, or `None`.
        stability: `Measurements` of the interlayer quantities on the first
            training samples, or `None`.
        attenuation: `NoiseAttenuation` on the same samples, or `None`.
        bounds: Dict from a label, what each is of, to a `bounds.Bound`.
        compression: `Compression`, the compressed model beside the original, or
            `None`.
        history: Dict from a logged name to its values by epoch; empty if the
            training was not recorded.
        baseline: Another `Report` that is shown beside this one, or `None`.
        version: Version of `tf_genbounds` that measured.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    >>> data = np.ones((2, 4), "float32"), np.array([0, 1])
    >>> report = gb.report(model, data)
    >>> report.train.train_error, report.bounds
    (0.5, {})
    """

    title: str
    model: dict
    train: Measurements
    validation: Measurements | None = None
    stability: Measurements | None = None
    attenuation: NoiseAttenuation | None = None
    bounds: dict = dataclasses.field(default_factory=dict)
    compression: Compression | None = None
    history: dict = dataclasses.field(default_factory=dict)
    baseline: "Report | None" = None
    version: str = __version__

    def to_text(self, width: int | None = None) -> str:
        """Returns the report as plain text with tables.

        Args:
            width: Integer, characters a line. Defaults to that of the
                terminal.
        """
        return text(self, width)

    def to_markdown(self) -> str:
        """Returns the report as Markdown."""
        return markdown(self)

    def _fields(self):
        fields = super()._fields()
        fields["bounds"] = {k: bound.to_fields() for k, bound in self.bounds.items()}
        for name in ("train", "validation", "stability", "attenuation", "baseline"):
            if fields[name] is not None:
                fields[name] = fields[name].to_fields()
        if self.compression is not None:
            fields["compression"] = dataclasses.asdict(self.compression)
        return fields

    @classmethod
    def _of(cls, fields):
        kinds = {
            "train": Measurements,
            "validation": Measurements,
            "stability": Measurements,
            "attenuation": NoiseAttenuation,
            "compression": Compression,
            "baseline": cls,
        }
        for name, kind in kinds.items():
            if fields[name] is not None:
                fields[name] = kind.from_fields(fields[name])
        fields["bounds"] = {
            k: Bound.from_fields(b) for k, b in fields["bounds"].items()
        }
        fields["history"] = {
            key: [from_plain(v) for v in values]
            for key, values in fields["history"].items()
        }
        return cls(**fields)

    def to_html(self, path: str | os.PathLike) -> None:
        """Writes the report as one HTML page, with plots and nothing outside.

        Needs `pip install tf_genbounds[report]`.

        Args:
            path: File to write.
        """
        from tf_genbounds.report.html import page

        write_text(path, page(self))

    def plot(self, name: str) -> Any:
        """Draws one of the report's plots.

        Needs `pip install tf_genbounds[report]`.

        Args:
            name: `"training_curves"`, which needs a history, `"margins"`,
                which needs labels, `"layer_cushion"`, `"stable_ranks"`,
                `"interlayer_cushion"` or `"noise_attenuation"`, which need
                `interlayer_samples`.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ValueError: If the name is unknown, or there is nothing to draw.
        """
        check_choice("name", name, PLOTS)
        from tf_genbounds.report.panels import panels
        from tf_genbounds.report.plots import figure

        found = panels(self, name)
        if not found:
            raise ValueError(
                "The report has no data for this plot. The curves need "
                "`history=`, the margins need labels, what is between the "
                "layers needs `interlayer_samples`. "
                f"Received: name={name!r}"
            )
        return figure(found)


def report(
    model: keras.Model,
    train: Any,
    validation: Any = None,
    *,
    title: str | None = None,
    bounds: dict | None = None,
    compressed: Any = None,
    history: Any = None,
    baseline: Any = None,
    num_samples: int | None = None,
    interlayer_samples: int = 64,
    num_probes: int = 16,
    initial_weights: Any = None,
    threshold: float | None = None,
    batch_size: int = 128,
    bias: str = "ignore",
    seed: int = 0,
    verbose: int | str = "auto",
) -> Report:
    """Measures a model and reports what was found.

    Args:
        model: A built Keras model.
        train: The data that it was trained on, in any form that `measure`
            takes.
        validation: Other data with labels, for the error and the margins, or
            `None`.
        title: Name of the model in the report. Defaults to `model.name`.
        bounds: Dict from a label to a `Certificate` or a `bounds.Bound`, what is
            proved: of this model, or of another that the label names. See
            `certify`, `bounds.validation_bound` and `TwoPhaseTraining.bound`.
        compressed: What `compress` made of the model, to be shown beside it; its
            certificate joins the bounds as that of "the compressed model".
        history: What `fit` returned, or its dict, for the training curves.
        baseline: A `Report` to show beside this one, for example of the same
            network trained in another way.
        num_samples: Integer, measure only the first samples of each data set.
        interlayer_samples: Integer, measure what is between the layers (many
            passes through the network) on so many training samples, the
            first; 0 leaves it out.
        num_probes: As in `measure`.
        initial_weights: As in `measure`.
        threshold: As in `measure`.
        batch_size: Integer, for arrays. Defaults to `128`.
        bias: As in `measure`.
        seed: As in `measure`.
        verbose: As in `measure`.

    Returns:
        `Report`.

    Raises:
        TypeError: If `history`, `baseline`, `compressed` or one of `bounds` is of
            another kind.
        ValueError: As `measure` does.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(2)], name="tiny"
    ... )
    >>> x, y = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([0, 1])
    >>> result = report(model, (x, y))
    >>> result.title, result.model["num_parameters"], list(result.train.layers)
    ('tiny', 6, ['dense'])
    """
    if baseline is not None and not isinstance(baseline, Report):
        raise TypeError(
            "`baseline` must be a `Report`. "
            f"Received: baseline={type(baseline).__name__}"
        )
    if compressed is not None and not isinstance(compressed, Compressed):
        raise TypeError(
            "`compressed` must be what `compress` returned. "
            f"Received: compressed={type(compressed).__name__}"
        )
    bounds = _bounds(bounds)
    history = _history(history)
    options = dict(
        num_samples=num_samples,
        threshold=threshold,
        batch_size=batch_size,
        bias=bias,
        seed=seed,
        verbose=verbose,
    )
    # First, since it is quick, and wrong data should be refused at once.
    other = validation
    if validation is not None:
        validation = measure(model, other, quantities=["margins"], **options)
    limits = dict(options)
    options["initial_weights"] = initial_weights
    stability = attenuation = None
    if interlayer_samples:
        first = min(interlayer_samples, num_samples or interlayer_samples)
        stability, attenuation = _between_layers(
            model, train, num_probes, {**options, "num_samples": first}
        )
    quantities = [*OF_WEIGHTS, *OF_SAMPLES]
    if not has_labels(train):
        quantities.remove("margins")
    train = measure(model, train, quantities=quantities, **options)
    compression = None
    if compressed is not None:
        compression = Compression.of(
            compressed, model, train, validation, other, limits
        )
        bounds["the compressed model"] = compressed.certificate.bound
    return Report(
        title=model.name if title is None else title,
        model={
            "name": model.name,
            "class": type(model).__name__,
            "num_parameters": model.count_params(),
        },
        train=train,
        validation=validation,
        stability=stability,
        attenuation=attenuation,
        bounds=bounds,
        compression=compression,
        history=history,
        baseline=baseline,
    )


def _between_layers(model, train, num_probes, options):
    """Returns the interlayer quantities, and how noise dies out."""
    stability = measure(
        model,
        train,
        quantities=[*OF_PAIRS, "layer_cushion", "activation_contraction"],
        num_probes=num_probes,
        **options,
    )
    attenuation = noise_attenuation(
        model,
        train,
        **{key: options[key] for key in ("num_samples", "batch_size", "seed")},
    )
    return stability, attenuation


def _bounds(bounds):
    found = {}
    for label, bound in ({} if bounds is None else dict(bounds)).items():
        if isinstance(bound, Certificate):
            bound = bound.bound
        if not isinstance(bound, Bound):
            raise TypeError(
                "`bounds` must be a dict of `bounds.Bound` or certificates; a "
                f"complexity bounds nothing. Received: {type(bound).__name__} for "
                f"{label!r}"
            )
        found[label] = bound
    return found


def _history(history):
    if history is None:
        return {}
    if isinstance(history, keras.callbacks.History):
        history = history.history
    if not isinstance(history, dict):
        raise TypeError(
            "`history` must be what `fit` returned, or its dict. "
            f"Received: history={type(history).__name__}"
        )
    # The phase of two-phase training is a name.
    return {
        key: [float(v) for v in values]
        for key, values in history.items()
        if not any(isinstance(v, str) for v in values)
    }
