"""The complexities of what was measured, with their assumptions."""

import dataclasses
import math

from tf_genbounds import bounds
from tf_genbounds.bounds import Assumption
from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds import norm_based_complexities


def effective_parameters(measurements, constants, *, margin, delta, from_init):
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
    if constants != "ignore":
        # With what pooling takes away, since that noise went through it as well.
        fields["contractions"] = "pooled_contraction"
    columns = _columns(measurements, fields)
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
    result = bounds.effective_parameters(
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


def complexities(measurements, *, margin, scale_inputs, variant, from_init):
    """See `Measurements.complexities`."""
    layers = measurements.layers.values()
    margin = measurements.margin() if margin is None else margin
    of_code = variant == "neyshabur-code" and from_init
    fields = {
        "spectral_norms": "kernel_spectral_norm",
        "frobenius_norms": "frobenius_norm",
        "l1_inf_norms": "l1_inf_norm",
        "l21_norms": "l21_distance_from_init" if of_code else "l21_norm",
        "num_units": "num_channels",
        "distances": "distance_from_init" if of_code else "frobenius_norm",
    }
    input_norm = measurements.max_input_norm if scale_inputs else 1.0
    if input_norm is None:
        raise ValueError(
            "`scale_inputs` needs inputs of floats, whose norms were measured. "
            "Received: max_input_norm=None"
        )
    num_parameters = sum(layer.num_parameters for layer in layers)
    seen = tuple(
        Assumption(f"The layer counts. Received: {name}, {reason}", "failed")
        for name, reason in measurements.unsupported.items()
    )
    found = norm_based_complexities(
        **_columns(measurements, fields),
        margin=margin,
        input_norm=input_norm,
        variant=variant,
        num_samples=measurements.num_samples,
        num_inputs=math.prod(next(iter(layers)).input_shape),
        num_parameters=num_parameters,
        assumptions=seen,
    )
    if variant != "paper":
        return found
    found["parameters"] = Complexity(
        name="parameters",
        value=float(num_parameters),
        unit="samples",
        formula="number of weights of the linear layers",
        reference="https://arxiv.org/abs/1703.02930",
        assumptions=seen,
    )
    ours = effective_parameters(
        measurements, "ignore", margin=margin, delta=None, from_init=from_init
    )
    scale = math.inf
    if margin > 0:
        scale = (measurements.max_output_norm / margin) ** 2
    found["effective_parameters"] = dataclasses.replace(
        ours,
        name="effective parameters",
        value=ours.value * scale if ours.value else 0.0,
        unit="samples",
        formula=f"max_x ||f(x)||^2 / gamma^2 {ours.formula}",
        layers=(),
        assumptions=(*ours.assumptions, *seen),
    )
    return found


def _columns(measurements, fields):
    """Returns a list over the layers for each field; none may be missing."""
    columns = {
        key: [getattr(layer, field) for layer in measurements.layers.values()]
        for key, field in fields.items()
    }
    missing = [fields[key] for key, values in columns.items() if None in values]
    if missing:
        raise ValueError(
            "A complexity needs all of "
            f"{sorted(set(fields.values()))} at every layer. "
            f"Received: no {', '.join(missing)} at some layer"
        )
    return columns


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
