"""What `measure` returns: plain numbers, per layer and per sample."""

import dataclasses
from typing import Any

import numpy as np

from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds.result import Result
from tf_genbounds.bounds.result import from_plain
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_percentile
from tf_genbounds.measure.complexities import complexities
from tf_genbounds.measure.complexities import effective_parameters
from tf_genbounds.measure.layer_measurements import LayerMeasurements
from tf_genbounds.measure.layer_measurements import PairMeasurements
from tf_genbounds.measure.quantities import PER_SAMPLE
from tf_genbounds.measure.quantities import REDUCTIONS


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements(Result):
    """The result of `measure`.

    Attributes:
        layers: `LayerMeasurements` by layer name, in the order of the calls.
        pairs: `PairMeasurements` by `(i, j)`, the names of two layers of which
            the first reaches the second.
        num_samples: Number of samples that were measured.
        train_error: Fraction of the samples with a margin of at most 0 (ties
            and NaN are errors), or `None` without labels.
        margins: Array of shape `(num_samples,)`, the margin of each sample
            on the logits, or `None` without labels.
        max_output_norm: Maximum over the samples of the norm of the logits.
        max_input_norm: Maximum over the samples of the norm of the inputs, or `None`
            if they are not floats.
        dropped: Fraction of the samples that `quantile` left out; a bound that
            uses these numbers must add it.
        unsupported: Layers that have no linear map here, by name, with the
            reason.
        notes: What a reader of the numbers must know, one sentence each.
        settings: How it was measured: `bias`, `seed`, `dtype`, `model`, ...
        distributions: Per-sample values, by `(quantity, layer)`, or by
            `(quantity, (i, j))`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    >>> found = gb.measure(model, (np.ones((2, 4), "float32"), np.array([0, 1])))
    >>> found.num_samples, found.train_error, list(found.layers)
    (2, 0.5, ['d'])
    """

    layers: dict[str, LayerMeasurements]
    num_samples: int
    pairs: dict = dataclasses.field(default_factory=dict)
    train_error: float | None = None
    margins: np.ndarray | None = None
    max_output_norm: float | None = None
    max_input_norm: float | None = None
    dropped: float = 0.0
    unsupported: dict = dataclasses.field(default_factory=dict)
    notes: tuple = ()
    settings: dict = dataclasses.field(default_factory=dict)
    distributions: dict = dataclasses.field(default_factory=dict)

    @property
    def interlayer_cushion(self) -> dict:
        """Interlayer cushions, by `(i, j)`; from a layer to itself, too."""
        found = {k: pair.interlayer_cushion for k, pair in self.pairs.items()}
        for name, layer in self.layers.items():
            if layer.minimal_interlayer_cushion is not None:
                # `J^{i,i}` is the identity.
                found[name, name] = layer.num_channels**-0.5
        return found

    def distribution(self, quantity: str, layer: Any) -> np.ndarray:
        """Returns the per-sample values of a quantity at one layer.

        Args:
            quantity: Name of a per-sample quantity, such as
                `"layer_cushion"` or `"unclipped_interlayer_cushion"`.
            layer: Name of a layer of the result; for `"interlayer_cushion"` a
                pair `(i, j)` of names.

        Returns:
            Float array of shape `(num_samples,)`; for
            `"interlayer_smoothness"` `(num_samples, num_draws)`.

        Raises:
            ValueError: If the quantity was not measured there.
        """
        check_choice("quantity", quantity, PER_SAMPLE)
        pairs = quantity == "interlayer_cushion"
        layer = tuple(layer) if pairs else layer
        check_choice("layer", layer, self.pairs if pairs else self.layers)
        if (quantity, layer) not in self.distributions:
            raise ValueError(
                f"`{quantity}` was not measured at this layer. Received: layer={layer}"
            )
        return self.distributions[quantity, layer]

    def margin(self, percentile: float = 10) -> float:
        """Returns a percentile of the margins; negative if it is an error.

        It is the margin of a sample, the lower one where the percentile lies
        between two. Published code of one of the compression paper's authors
        interpolates, and takes the 5th.

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
        check_percentile(percentile)
        worst = np.where(np.isnan(self.margins), -np.inf, self.margins)
        # "lower" returns a margin of the sample, so -inf does not mix in.
        return float(np.percentile(worst, percentile, method="lower"))

    def smoothness(self, delta: float = 0.05) -> float | None:
        """Returns a low quantile of the interlayer smoothness over the noise.

        For each draw of the noise `rho` is the minimum over layers and samples.
        With fewer than `1 / delta` draws this is the minimum of all. It is an
        estimate: a number below the true quantile with probability
        `1 - (1 - delta)**draws`, if the minimum is taken.

        Args:
            delta: Number in (0, 1), the share of the noise left out.

        Returns:
            Float, or `None` if the smoothness was not measured. NaN counts as
            the lowest.
        """
        check_delta(delta)
        draws = [
            values.min(axis=0)
            for (quantity, _), values in self.distributions.items()
            if quantity == "interlayer_smoothness"
        ]
        if not draws:
            return None
        rho = np.min(draws, axis=0)  # NaN, where one of them is.
        order = np.argsort(np.where(np.isnan(rho), -np.inf, rho))
        return float(rho[order[int(delta * len(rho))]])

    def effective_parameters(
        self,
        constants: str = "ignore",
        *,
        margin: float | None = None,
        delta: float = 0.05,
        from_init: bool = False,
    ) -> Complexity:
        """Counts the parameters that the network needs, by its stability.

        See `tf_genbounds.bounds.effective_parameters`. The network must be a
        chain of layers without biases for the theorem to speak of it; what of
        that can be seen is among the assumptions.

        Args:
            constants: `"ignore"`, `"explicit"` or `"safe"`.
            margin: Positive number, the margin on the logits that may be
                lost. Defaults to the 10th percentile of the sample's. Plays
                no part in `"ignore"`.
            delta: Failure probability. Plays no part in `"ignore"`.
            from_init: Boolean, whether the difference from the initial weights
                is what is compressed.

        Returns:
            `Complexity`. `inf` if the margin is not positive.

        Raises:
            ValueError: If a quantity was not measured.
        """
        return effective_parameters(
            self, constants, margin=margin, delta=delta, from_init=from_init
        )

    def complexities(
        self,
        *,
        margin: float | None = None,
        scale_inputs: bool = False,
        variant: str = "paper",
        from_init: bool = False,
    ) -> dict[str, Complexity]:
        """Computes what bounds of several papers grow with, side by side.

        The rows of figure 3 of the compression paper: four by the norms of the
        weights (see `tf_genbounds.bounds.norm_based_complexities`), the number of
        parameters, and the effective parameters, times
        `max_x ||f(x)||^2 / margin^2`. They count samples, with constants and
        logarithms left out. Convolutions count by their reshaped kernels, as in
        the paper.

        Args:
            margin: Positive number, the same for every row. Defaults to the 10th
                percentile of the sample's margins. If it is not positive, the
                rows with a margin are `inf`.
            scale_inputs: Boolean, whether the rows by norms get the factor
                `max_x ||x||^2`, without which they change with the unit of the
                inputs.
            variant: `"paper"`, or `"neyshabur-code"` for the rows by norms as
                published code prints them: gaps of the risk, without the last two
                rows. As there, `ln(number of parameters)` is without biases.
            from_init: Boolean, whether the norms in the sums of the last two rows
                by norms are of the differences from the initial weights (in
                `"neyshabur-code"`), and so is what the effective parameters count.

        Returns:
            Dict of `Complexity`s: `"l1_inf"`, `"frobenius"`, `"spectral_l21"`,
            `"spectral_frobenius"`, `"parameters"` and `"effective_parameters"`.

        Raises:
            ValueError: If a quantity was not measured.
        """
        return complexities(
            self,
            margin=margin,
            scale_inputs=scale_inputs,
            variant=variant,
            from_init=from_init,
        )

    def quantile(self, zeta: float) -> "Measurements":
        """Leaves out a fraction of the samples, those that constrain most.

        The same samples are left out of every quantity, so that the price is
        their fraction, once: a bound from these numbers must add `dropped`. The
        samples are ranked within each quantity of each layer; first go those
        with the worst rank anywhere. Margins and errors keep every sample.

        Args:
            zeta: Number in [0, 1), the fraction; rounded down to whole
                samples.

        Returns:
            `Measurements`. With 0 it equals the original, and as `zeta`
            grows no cushion shrinks.

        Raises:
            ValueError: If `zeta` is out of range.
        """
        if not 0 <= zeta < 1:
            raise ValueError(f"`zeta` must lie in [0, 1). Received: zeta={zeta}")
        count = int(zeta * self.num_samples)
        keep = np.sort(np.argsort(self._ranks(), kind="stable")[count:])
        distributions = {k: v[keep] for k, v in self.distributions.items()}
        return dataclasses.replace(
            self,
            layers={
                name: layer.summarized(distributions)
                for name, layer in self.layers.items()
            },
            pairs={
                names: PairMeasurements.of(
                    names,
                    distributions,
                    num_probes=pair.num_probes,
                    cut=pair.cut,
                    normalized=pair.normalized,
                )
                for names, pair in self.pairs.items()
            },
            dropped=count / self.num_samples if self.num_samples else 0.0,
            distributions=distributions,
        )

    def _ranks(self):
        """The worst rank of each sample in any quantity; 0 is the worst."""
        worst = np.full(self.num_samples, self.num_samples)
        for (quantity, _), values in self.distributions.items():
            if quantity not in REDUCTIONS:
                continue
            smallest_first = REDUCTIONS[quantity] is np.min
            if values.ndim > 1:
                values = values.min(axis=1)
            # NaN constrains most of all.
            values = np.where(
                np.isnan(values), -np.inf, values if smallest_first else -values
            )
            ranks = np.empty(len(values), "int64")
            ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
            worst = np.minimum(worst, ranks)
        return worst

    def _fields(self):
        fields = super()._fields()
        fields["layers"] = {
            k: {
                **dataclasses.asdict(v),
                "effective_parameters": v.effective_parameters,
            }
            for k, v in self.layers.items()
        }
        fields["pairs"] = [
            [*names, dataclasses.asdict(pair)] for names, pair in self.pairs.items()
        ]
        fields["distributions"] = [
            [quantity, layer, values]
            for (quantity, layer), values in self.distributions.items()
        ]
        return fields

    @classmethod
    def _of(cls, fields):
        return cls(
            **{
                **fields,
                "layers": {
                    k: _layer_from_plain(v) for k, v in fields["layers"].items()
                },
                "pairs": {
                    (i, j): PairMeasurements(
                        **{k: from_plain(v) for k, v in pair.items()}
                    )
                    for i, j, pair in fields["pairs"]
                },
                "train_error": from_plain(fields["train_error"]),
                "max_output_norm": from_plain(fields["max_output_norm"]),
                "max_input_norm": from_plain(fields["max_input_norm"]),
                "margins": array_from_plain(fields["margins"]),
                "notes": tuple(fields["notes"]),
                "distributions": {
                    (
                        quantity,
                        tuple(layer) if isinstance(layer, list) else layer,
                    ): array_from_plain(values)
                    for quantity, layer, values in fields["distributions"]
                },
            }
        )


def _layer_from_plain(fields):
    fields = dict(fields)
    del fields["effective_parameters"]  # Follows from the others.
    return LayerMeasurements(
        **{
            k: tuple(v)
            if isinstance(v, list)
            else v
            if k in ("name", "kind", "batch_norm")
            else from_plain(v)
            for k, v in fields.items()
        }
    )


def array_from_plain(values):
    """Rebuilds a float32 array of any shape, or `None`."""
    if values is None:
        return None
    if values and isinstance(values[0], list):
        return np.array([array_from_plain(v) for v in values])
    return np.array([from_plain(v) for v in values], "float32")
