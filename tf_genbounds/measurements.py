"""What `measure` returns: plain numbers, per layer and per sample."""

import dataclasses
import difflib
import json
import math

import numpy as np

PER_SAMPLE = ("layer_cushion", "activation_contraction")


@dataclasses.dataclass(frozen=True)
class LayerMeasurements:
    """The measured quantities of one linear map. `None`: not asked for.

    Attributes:
        name: Name of the Keras layer; `"name#2"` is the second call of a
            shared layer, `"block/name"` a layer whose name is not unique.
        kind: Class name of the layer.
        input_shape: Shape of its input, without the batch axis.
        output_shape: Shape of its output, without the batch axis.
        num_parameters: Number of entries of its kernel.
        batch_norm: Name of the batch normalization that is folded into the
            map, or `None`.
        spectral_norm: `||A||_2` of the operator: the Lipschitz constant of
            the map on inputs of `input_shape`. Converges from below.
        kernel_spectral_norm: `||A||_2` of the reshaped kernel.
        frobenius_norm: `||A||_F` of the kernel.
        operator_frobenius_norm: `||A||_F` of the operator.
        stable_rank: `||A||_F**2 / ||A||_2**2` of the kernel.
        operator_stable_rank: The same of the operator.
        converged: Whether every power iteration of this layer converged.
        layer_cushion: Minimum over the samples of
            `||A v|| / (||A||_F ||v||)`, with `v` the layer's input and the
            Frobenius norm of the kernel.
        activation_contraction: Maximum over the samples of `||x|| / ||phi(x)||`
            for the activation that gives the layer's input; 1 for the first
            layer. `None` where it cannot be seen; the result's `notes` say why.
        num_degenerate: Samples that put no constraint on the layer cushion,
            because `||A||_F ||v||` is 0.
    """

    name: str
    kind: str
    input_shape: tuple
    output_shape: tuple
    num_parameters: int
    batch_norm: str | None = None
    spectral_norm: float | None = None
    kernel_spectral_norm: float | None = None
    frobenius_norm: float | None = None
    operator_frobenius_norm: float | None = None
    stable_rank: float | None = None
    operator_stable_rank: float | None = None
    converged: bool | None = None
    layer_cushion: float | None = None
    activation_contraction: float | None = None
    num_degenerate: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements:
    """The result of `measure`.

    Attributes:
        layers: `LayerMeasurements` by layer name, in the order of the calls.
        num_samples: Number of samples that were measured.
        train_error: Fraction of the samples with a margin of at most 0 (ties
            and NaN are errors), or `None` without labels.
        margins: Array of shape `(num_samples,)`, the margin of each sample
            on the logits, or `None` without labels.
        unsupported: Layers that have no linear map here, by name, with the
            reason.
        notes: What a reader of the numbers must know, one sentence each.
        settings: How it was measured: `bias`, `seed`, `dtype`, `model`.
        distributions: Per-sample values of shape `(num_samples,)`, by
            `(quantity, layer)`.
    """

    layers: dict
    num_samples: int
    train_error: float | None = None
    margins: np.ndarray | None = None
    unsupported: dict = dataclasses.field(default_factory=dict)
    notes: tuple = ()
    settings: dict = dataclasses.field(default_factory=dict)
    distributions: dict = dataclasses.field(default_factory=dict)

    def distribution(self, quantity, layer):
        """Returns the per-sample values of a quantity at one layer.

        Args:
            quantity: `"layer_cushion"` or `"activation_contraction"`.
            layer: Name of a layer of the result.

        Returns:
            Float array of shape `(num_samples,)`.

        Raises:
            ValueError: If the quantity was not measured there.
        """
        check_choice("quantity", quantity, PER_SAMPLE)
        check_choice("layer", layer, self.layers)
        if (quantity, layer) not in self.distributions:
            raise ValueError(
                f"`{quantity}` was not measured at this layer. "
                f"Received: layer={layer}"
            )
        return self.distributions[quantity, layer]

    def margin(self, percentile=10):
        """Returns a percentile of the margins; negative if it is an error.

        Args:
            percentile: Number in [0, 100]. Defaults to `10`.

        Returns:
            Float. NaN margins count as the lowest.

        Raises:
            ValueError: If the data had no labels, or the percentile is out of
                range.
        """
        if self.margins is None:
            raise ValueError("Margins need labels: measure on a pair `(x, y)`.")
        if not 0 <= percentile <= 100:
            raise ValueError(
                "`percentile` must lie in [0, 100]. "
                f"Received: percentile={percentile}"
            )
        worst = np.where(np.isnan(self.margins), -np.inf, self.margins)
        # "lower" returns a margin of the sample, so -inf does not mix in.
        return float(np.percentile(worst, percentile, method="lower"))

    def to_json(self, path=None):
        """Serializes the result; writes it to `path` if one is given.

        Infinities and NaN are written as the strings `"inf"`, `"-inf"` and
        `"nan"`, because JSON has no such numbers.

        Args:
            path: File to write, or `None`.

        Returns:
            The JSON text.
        """
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        fields["layers"] = {
            k: dataclasses.asdict(v) for k, v in self.layers.items()
        }
        fields["distributions"] = [
            [quantity, layer, values]
            for (quantity, layer), values in self.distributions.items()
        ]
        text = json.dumps(to_plain(fields), indent=1, allow_nan=False)
        if path is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return text

    @classmethod
    def from_json(cls, text):
        """Rebuilds a result from the text that `to_json` returned."""
        fields = json.loads(text)
        return cls(
            **{
                **fields,
                "layers": {
                    k: _layer_from_plain(v) for k, v in fields["layers"].items()
                },
                "train_error": from_plain(fields["train_error"]),
                "margins": _array(fields["margins"]),
                "notes": tuple(fields["notes"]),
                "distributions": {
                    (quantity, layer): _array(values)
                    for quantity, layer, values in fields["distributions"]
                },
            }
        )


def check_choice(name, value, choices):
    """Refuses a value that is not a choice, and names the nearest one."""
    if value in choices:
        return
    near = difflib.get_close_matches(str(value), list(choices), n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise ValueError(
        f"`{name}` must be one of {sorted(choices)}. {hint}"
        f"Received: {name}={value!r}"
    )


def to_plain(value):
    """Turns arrays, tuples and non-finite floats into what JSON can hold."""
    if isinstance(value, dict):
        return {k: to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [to_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_plain(value):
    """Turns `"inf"`, `"-inf"` and `"nan"` back into floats."""
    return float(value) if value in ("inf", "-inf", "nan") else value


def _array(values):
    if values is None:
        return None
    return np.array([from_plain(v) for v in values], dtype="float32")


def _layer_from_plain(fields):
    fields = {
        k: v if k in ("name", "kind", "batch_norm") else from_plain(v)
        for k, v in fields.items()
        if not isinstance(v, list)
    } | {k: tuple(v) for k, v in fields.items() if isinstance(v, list)}
    return LayerMeasurements(**fields)
