"""Puts the numbers of all steps of a measurement together."""

import numpy as np

from tf_genbounds.measure.layer_measurements import LayerMeasurements
from tf_genbounds.measure.layer_measurements import PairMeasurements
from tf_genbounds.measure.measurements import Measurements
from tf_genbounds.measure.notes import notes_of_biases
from tf_genbounds.measure.notes import notes_of_layers
from tf_genbounds.measure.notes import notes_of_probes
from tf_genbounds.network.pairs import pair_notes


def summarize(
    network, maps, weights, per_sample, *, wanted, margins, pairs, jacobians, settings
):
    """Returns `Measurements`.

    Args:
        network: `Network`.
        maps: Dict of `LinearMap` by name: the layers that are measured.
        weights: Dict by name of the norms of each layer.
        per_sample: Dict of arrays, one number for each sample, by quantity; or by a
            pair of quantity and layer, or layers.
        wanted: Set of quantities.
        margins: `DecidedMargins`, or `None` without labels.
        pairs: Dict of `network.pairs.Pair` by the names of two layers.
        jacobians: `Jacobians`, or `None` if no quantity needs them.
        settings: Dict for `Measurements`.
    """
    distributions = {
        key: values for key, values in per_sample.items() if isinstance(key, tuple)
    }
    layers = {
        name: LayerMeasurements(**linear.facts(), **weights[name]).summarized(
            distributions, **_of_no_sample(linear, wanted, pairs if jacobians else None)
        )
        for name, linear in maps.items()
    }
    of_pairs = _pairs(pairs, jacobians, distributions)
    notes = [
        *network.notes,
        *notes_of_biases(maps),
        *notes_of_layers(layers),
        *pair_notes(pairs),
        *notes_of_probes(of_pairs),
    ]
    found = {}
    if per_sample:
        found["max_output_norm"] = float(np.max(per_sample["output_norm"]))
    if "input_norm" in per_sample:
        found["max_input_norm"] = float(np.max(per_sample["input_norm"]))
    if margins is not None:
        found["margins"] = per_sample["margins"]
        # Counted, since a float32 mean is not a multiple of 1 / m.
        found["train_error"] = float(np.mean(~(found["margins"] > 0)))
        notes += margins.notes(per_sample["probable"])
        settings = {**settings, "decision": str(margins.decision)}
    return Measurements(
        layers=layers,
        pairs=of_pairs,
        num_samples=len(next(iter(per_sample.values()), ())),
        unsupported=network.unsupported,
        notes=tuple(notes),
        settings=settings,
        distributions=distributions,
        **found,
    )


def _of_no_sample(linear, wanted, pairs):
    """Quantities of a layer that are known without a sample."""
    fields = {}
    if linear.activations == () and "activation_contraction" in wanted:
        fields["activation_contraction"] = 1.0
    if linear.sources == () and "activation_contraction" in wanted:
        fields["pooled_contraction"] = 1.0
    if pairs is not None and not any(linear.name == i for i, _ in pairs):
        # The last layer: there is none after it.
        fields["minimal_interlayer_cushion"] = linear.num_channels**-0.5
        fields["jacobian_spread"] = 1.0
    return fields


def _pairs(pairs, jacobians, distributions):
    if jacobians is None:
        return {}
    return {
        names: PairMeasurements.of(
            names,
            distributions,
            num_probes=jacobians.num_probes(names[1]),
            cut=pair.cut,
            normalized=pair.normalized,
        )
        for names, pair in pairs.items()
    }
