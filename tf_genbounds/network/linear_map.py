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
        sources: Keys of the calls of linear layers that feed this map with no other
            in between, or `None` likewise.
    """

    name: str
    layer: Any
    key: tuple
    input_shape: tuple
    output_shape: tuple
    channel_axis: int
    batch_norm: Any
    activations: tuple | None
    sources: tuple | None

    @property
    def tap(self):
        """Key of the call whose value is the pre-activation `x^i`.

        With a folded batch norm this is what the batch norm returns.
        """
        return self.key if self.batch_norm is None else (id(self.batch_norm), 0)

    @property
    def num_channels(self):
        return self.output_shape[self.channel_axis - (self.channel_axis > 0)]

    @property
    def num_pixels(self):
        """Number of positions of the output, 1 for a vector."""
        return math.prod(self.output_shape) // self.num_channels

    def pixel_sums(self, x):
        """Sums over the channels of a tensor of the output's shape.

        Returns:
            Tensor of shape `(samples, num_pixels)`.
        """
        sums = ops.sum(x, axis=self.channel_axis)
        return ops.reshape(sums, (-1, self.num_pixels))

    def facts(self):
        """Returns what `LayerMeasurements` says of the map besides numbers."""
        operator = self.operator()
        weights = [w for w in self.layer.weights if w is not self.layer.bias]
        return {
            "name": self.name,
            "kind": type(self.layer).__name__,
            "input_shape": self.input_shape,
            "output_shape": self.output_shape,
            "num_parameters": sum(math.prod(w.shape) for w in weights),
            "num_channels": self.num_channels,
            "patch_overlap": operator.structure.patch_overlap(operator.kernel),
            "batch_norm": self.batch_norm and self.batch_norm.name,
        }

    def operator(self):
        """Returns the `LinearOperator` of the current weights."""
        operator = linear_operator(self.layer, self.input_shape)
        if self.batch_norm is None:
            return operator
        return operator.scaled(batch_norm_scale(self.batch_norm))

    def channels(self, values):
        """Reshapes one number for each channel to fit a batch of outputs."""
        shape = [1] * (len(self.output_shape) + 1)
        shape[self.channel_axis] = -1
        return ops.reshape(values, shape)


def perturbation(linear, change):
    """Returns entries of `perturb` of `taps.run`, for one map.

    Args:
        linear: `LinearMap`.
        change: Function of the map's input and its pre-activation, which
            returns what is added to the latter.
    """
    if linear.batch_norm is None:
        return {linear.tap: lambda inputs, x: change(inputs[0], x)}
    received = []

    def record(inputs, x):
        received[:] = inputs
        return ops.zeros_like(x)

    # The pre-activation is the batch norm's, but the input the linear map's.
    return {
        linear.key: record,
        linear.tap: lambda _, x: change(received[0], x),
    }


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
