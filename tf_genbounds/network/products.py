"""What the kernels of a network make of their inputs, before a bias is added.

Not the difference of a pre-activation and the bias: beside a large bias float32 has
nothing left of the product.
"""

import contextlib

from keras import ops

from tf_genbounds import backend
from tf_genbounds.network import taps
from tf_genbounds.network.linear_map import batch_norm_scale


def run_with_products(network, maps, values, x):
    """Runs a network, and keeps the product `A v` of each linear map.

    The layers run without their biases, which are added behind them: the rest of
    the network sees what it always does, and nothing is computed twice.

    Args:
        network: `Network`.
        maps: Those of its maps whose products are asked for, by name.
        values: Tensors for the variables of the model.
        x: Nest of tensors, a batch.

    Returns:
        A triple: the output and the calls, as `Network.run` returns them, and a
        dict from the name of a map to `A v`, with the batch norm's scale.
    """
    layers = {linear.layer for linear in maps.values()}
    biases = {layer: layer.bias for layer in layers if layer.bias is not None}
    found, perturb = {}, {}
    for linear in network.maps.values():  # Every call of these layers.
        if linear.layer in biases:
            bias = biases[linear.layer]
            perturb[linear.key] = _bias_added(linear, bias, found)
    with contextlib.ExitStack() as stack:
        for layer, bias in biases.items():
            stack.enter_context(
                taps.replaced(layer, "bias", ops.zeros(bias.shape, "float32"))
            )
        output, calls = network.run(values, x, perturb)
    products = {}
    with backend.stateless(network.model.variables, values):
        for name, linear in maps.items():
            call = calls[linear.key]
            product = found.get(linear.key, call.value)
            if linear.batch_norm is not None:
                scale = batch_norm_scale(linear.batch_norm)
                product = product * linear.channels(scale)
            products[name] = product
    return output, calls, products


def _bias_added(linear, bias, found):
    def change(inputs, x):
        found[linear.key] = x
        added = ops.cast(bias, "float32")
        # That of an EinsumDense has the shape of its `bias_axes` already.
        return linear.channels(added) if len(bias.shape) == 1 else added

    return change
