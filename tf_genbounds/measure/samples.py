"""The step over data: what one inference pass says of every sample."""

import functools
import math

from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional.noise_stability import activation_contraction
from tf_genbounds.functional.noise_stability import layer_cushion
from tf_genbounds.functional.operators import keep_nan
from tf_genbounds.network.linear_map import activation_tensors
from tf_genbounds.network.products import run_with_products


def sample_quantities(network, maps, wanted, values, x):
    """Measures the samples of a batch.

    Args:
        network: `Network`.
        maps: Those of its maps that are measured, by name.
        wanted: Set of quantities, of those of samples or not.
        values: Tensors for the variables of the model.
        x: Nest of tensors, a batch.

    Returns:
        A tuple: the logits and the output, float32; and a dict from
        `(quantity, name)` to a float32 tensor of shape `(samples,)`.
    """
    measured = maps if "layer_cushion" in wanted else {}
    output, calls, products = run_with_products(network, measured, values, x)
    logits = network.logits_of(output, calls)
    found = {}
    taps = {linear.key: linear.tap for linear in network.maps.values()}
    with backend.stateless(network.model.variables, values):
        for name, linear in maps.items():
            call = calls[linear.key]
            if "layer_cushion" in wanted:
                found["layer_cushion", name] = layer_cushion(
                    linear.operator(),
                    call.inputs[0],
                    outputs=products[name],
                )
            if "activation_contraction" in wanted and linear.activations:
                contractions = [
                    activation_contraction(*activation_tensors(calls[key]))
                    for key in linear.activations
                ]
                found["activation_contraction", name] = keep_nan(
                    functools.reduce(ops.maximum, contractions),
                    functools.reduce(ops.add, contractions),
                )
            if "activation_contraction" in wanted and linear.sources:
                found["pooled_contraction", name] = activation_contraction(
                    _joined(taps, calls, linear.sources), call.inputs[0]
                )
    return ops.cast(logits, "float32"), ops.cast(output, "float32"), found


def _joined(taps, calls, keys):
    """Returns the pre-activations of several calls as one vector a sample."""
    # A folded batch norm, whose output is the pre-activation, is no activation.
    values = [calls[taps.get(key, key)].value for key in keys]
    return ops.concatenate(
        [ops.reshape(value, (-1, math.prod(value.shape[1:]))) for value in values],
        axis=1,
    )
