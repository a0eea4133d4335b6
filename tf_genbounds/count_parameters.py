"""The effective parameters of what was measured, with its assumptions."""

import dataclasses
import math

from tf_genbounds.bounds import Assumption
from tf_genbounds.bounds import effective_parameters


def count_parameters(measurements, constants, *, margin, delta, from_init):
    """See `Measurements.effective_parameters`."""
    cushion = "layer_cushion_from_init" if from_init else "layer_cushion"
    fields = {
        "layer_cushions": cushion,
        "interlayer_cushions": "minimal_interlayer_cushion",
        "contractions": "activation_contraction",
        "jacobian_spreads": "jacobian_spread",
        "patch_overlaps": "patch_overlap",
        "num_parameters": "num_parameters",
    }
    columns = {
        key: [getattr(layer, field) for layer in measurements.layers.values()]
        for key, field in fields.items()
    }
    missing = [fields[key] for key, values in columns.items() if None in values]
    if missing:
        raise ValueError(
            "The effective parameters need all of "
            f"{sorted(set(fields.values()))} at every layer. "
            f"Received: no {', '.join(missing)} at some layer"
        )
    options = {}
    if constants != "ignore":
        margin = measurements.margin() if margin is None else margin
        allowed = margin / (math.sqrt(2) * measurements.max_output_norm)
        options = {
            # A network that is wrong at this margin has none to lose.
            "relative_error": min(allowed, 1.0) if margin > 0 else 1.0,
            "num_samples": measurements.num_samples,
            "width": max(
                math.prod(shape)
                for layer in measurements.layers.values()
                for shape in (layer.input_shape, layer.output_shape)
            ),
            "delta": delta,
        }
    result = effective_parameters(
        names=list(measurements.layers),
        constants=constants,
        smoothness=measurements.smoothness(),
        assumptions=_assumptions(measurements, margin),
        **columns,
        **options,
    )
    if margin is not None and not margin > 0:
        result = dataclasses.replace(result, value=math.inf)
    return result


def _assumptions(measurements, margin):
    chain = all(pair.cut for pair in measurements.pairs.values())
    exact = all(pair.num_probes is None for pair in measurements.pairs.values())
    status = {True: "checked", False: "failed"}
    found = [
        Assumption(
            "Every layer is a cut: there are no skip connections.",
            status[chain],
        ),
        Assumption(
            "The norms of the Jacobians are exact, not estimated.",
            status[exact],
        ),
        Assumption(
            "The layers have no biases, and nothing but positively "
            "homogeneous activations of slope at most 1, and pooling "
            "without overlaps, is between them."
        ),
    ]
    if margin is not None:
        found.append(
            Assumption(
                "The margin is positive and can be attained.",
                status[0 < margin <= math.sqrt(2) * measurements.max_output_norm],
            )
        )
    return found
