"""One linear map of a network: a layer, and the batch norm folded into it.

A Keras kernel is `(in, out)` and acts on rows: the paper's `A` is its
transpose.
"""

import dataclasses
import math
from typing import Any

from keras import ops

from tf_genbounds.functional.operators import linear_operator


@dataclasses.dataclass(frozen=True, eq=False)
class LinearMap:
    """One call of one linear layer, with the batch norm folded into it.

    Attributes:
        name: Unique name in the network.
        layer: The Keras layer.
        key: Which call of which operation it is, see `taps.Call`.
        input_shape: Shape of its input, without the batch axis.
        output_shape: Shape of its output, without the batch axis.
        channel_axis: Axis of its output, with the batch axis, of the bias.
        batch_norm: The `BatchNormalization` that directly follows, or `None`.
        activations: Keys of the calls whose activation feeds this map, or
            `None` if that cannot be seen.
    """

    name: str
    layer: Any
    key: tuple
    input_shape: tuple
    output_shape: tuple
    channel_axis: int
    batch_norm: Any
    activations: tuple | None

    def facts(self):
        """Returns what `LayerMeasurements` says of the map besides numbers."""
        weights = [w for w in self.layer.weights if w is not self.layer.bias]
        return {
            "name": self.name,
            "kind": type(self.layer).__name__,
            "input_shape": self.input_shape,
            "output_shape": self.output_shape,
            "num_parameters": sum(math.prod(w.shape) for w in weights),
            "batch_norm": self.batch_norm and self.batch_norm.name,
        }

    def operator(self):
        """Returns the `LinearOperator` of the current weights."""
        operator = linear_operator(self.layer, self.input_shape)
        if self.batch_norm is None:
            return operator
        return operator.scaled(batch_norm_scale(self.batch_norm))

    def outputs(self, call):
        """Returns `A v` of a watched call: no bias, the batch norm's scale."""
        outputs = call.pre_activation
        if outputs is None:  # The layer has no activation.
            outputs = call.outputs[0]
        shape = [1] * len(outputs.shape)
        shape[self.channel_axis] = -1
        if self.layer.bias is not None:
            outputs = outputs - _bias(self.layer, shape)
        if self.batch_norm is not None:
            scale = batch_norm_scale(self.batch_norm)
            outputs = outputs * ops.reshape(scale, shape)
        return outputs


def activation_tensors(call):
    """Returns `(x, phi(x))` of a call that has an activation."""
    if call.pre_activation is not None:
        return call.pre_activation, call.outputs[0]
    return call.inputs[0], call.outputs[0]


def batch_norm_scale(layer):
    scale = ops.rsqrt(ops.cast(layer.moving_variance, "float32") + layer.epsilon)
    if layer.scale:
        scale = scale * ops.cast(layer.gamma, "float32")
    return scale


def _bias(layer, shape):
    bias = ops.cast(layer.bias, "float32")
    # The bias of an EinsumDense has the shape of its `bias_axes` already.
    return ops.reshape(bias, shape) if len(bias.shape) == 1 else bias
