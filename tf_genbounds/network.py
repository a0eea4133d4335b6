"""The linear maps of a model, and what lies between them.

A Keras kernel is `(in, out)` and acts on rows: the paper's `A` is its
transpose. This module finds, from one watched run, which layers are linear
maps, which batch normalization is folded into which, which activation feeds
which map, and where the logits are.
"""

import collections
import dataclasses
import math
from typing import Any

import keras
from keras import ops

from tf_genbounds import backend, taps
from tf_genbounds.functional.operators import (
    LINEAR_LAYERS,
    linear_operator,
    unsupported_reason,
)
from tf_genbounds.measurements import check_choice

_PROBABILITIES = (
    keras.activations.softmax,
    keras.activations.sigmoid,
    keras.activations.log_softmax,
    keras.activations.log_sigmoid,
)
_ACTIVATION_LAYERS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
)
# Names of the `keras.ops` nodes; the classes are not public.
_PROBABILITY_OPS = {"Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid"}
_ACTIVATION_OPS = _PROBABILITY_OPS - {"Softmax", "LogSoftmax"} | {
    "Celu", "Elu", "Gelu", "HardSigmoid", "HardSilu", "HardTanh", "LeakyRelu",
    "Mish", "Relu", "Relu6", "Selu", "Silu", "Softplus", "Softsign", "Tanh",
}  # fmt: skip


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
        return operator.scaled(_batch_norm_scale(self.batch_norm))

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
            scale = _batch_norm_scale(self.batch_norm)
            outputs = outputs * ops.reshape(scale, shape)
        return outputs


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """What a model is made of.

    Attributes:
        model: The Keras model.
        maps: `LinearMap` by name, in the order of the calls.
        logits: `(key, tensor)`: which call, and whether the logits are its
            `"outputs"`, `"inputs"` or `"pre_activation"`; `None` if the
            model's own output is all that is known.
        output_shapes: Shapes of the output tensors.
        unsupported: Reason by name, for what is not a linear map here.
        notes: What a reader of the numbers must know.
    """

    model: Any
    maps: dict
    logits: tuple | None
    output_shapes: list
    unsupported: dict
    notes: tuple

    @classmethod
    def of(cls, model, inputs=None):
        """Finds the network of a built model.

        Args:
            model: Keras model.
            inputs: Nest of `keras.KerasTensor` with the shapes of a batch.
                By default the shapes that the model was built with.

        Raises:
            ValueError: If the model is not built, or its shapes are unknown.
        """
        check_built(model)
        if inputs is None:
            inputs = _built_inputs(model)
        found = {}

        def watch(values, x):
            output, calls = taps.run(model, values, x)
            found.update(output=output, calls=calls, inputs=x)

        values = [keras.KerasTensor(v.shape, v.dtype) for v in model.variables]
        backend.trace(watch, values, inputs)
        return _Reader(model, **found).network()

    def run(self, values, x):
        """Runs the model; see `taps.run`.

        Returns:
            A pair `(logits, calls)`, the calls by key.
        """
        output, calls = taps.run(self.model, values, x)
        calls = {_key(call): call for call in calls}
        logits = keras.tree.flatten(output)[0]
        if self.logits is not None:
            key, tensor = self.logits
            if tensor == "pre_activation":
                logits = calls[key].pre_activation
            else:
                logits = calls[key].inputs[0]
        return logits, calls

    def choose(self, names=None):
        """Returns the maps of the given names, or all of them.

        Raises:
            ValueError: If there is none, or a name is unknown or that of a
                layer that is not supported.
        """
        if not self.maps:
            raise ValueError(
                "The model has no linear layer that can be measured. "
                f"Received: model={self.model.name!r}, unsupported layers "
                f"{self.unsupported}"
            )
        for name in names or ():
            if name in self.unsupported:
                raise ValueError(
                    f"Layer {name!r} is not supported: "
                    f"{self.unsupported[name]}. Received: layers={names}"
                )
            check_choice("layer", name, self.maps)
        return {name: self.maps[name] for name in names or self.maps}

    def check_classifier(self):
        """Refuses a model whose output is not one matrix of logits."""
        if len(self.output_shapes) != 1 or len(self.output_shapes[0]) != 2:
            raise ValueError(
                "Margins need one output of shape (samples, classes): leave "
                "them out of `quantities`, or pass `x` alone. "
                f"Received: output shapes {self.output_shapes}"
            )


def check_built(model):
    """Refuses what is not a built Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a Keras model. Received: model={model!r}"
        )
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on a batch, or `model.build()`. "
            f"Received: model={model.name!r}, which has no weights yet."
        )


class _Reader:
    """Reads the structure off one watched run."""

    def __init__(self, model, output, calls, inputs):
        self.model = model
        self.outputs = keras.tree.flatten(output)
        self.calls = calls
        self.inputs = {id(t) for t in keras.tree.flatten(inputs)}
        self.names = _names(taps.operations(model))
        self.batch_size = keras.tree.flatten(inputs)[0].shape[0]
        # The first call that returned a tensor made it: a dropout that passes
        # its input on, or the nested model around a layer, comes later.
        self.producer = {}
        self.consumers = collections.defaultdict(list)
        for call in calls:
            for tensor in call.outputs:
                self.producer.setdefault(id(tensor), call)
            for tensor in call.inputs:
                self.consumers[id(tensor)].append(call)

    def network(self):
        reasons = self._unsupported()
        folded = set()
        maps, notes = {}, []
        for call in self.calls:
            if not _is_linear(call) or call.operation in reasons:
                continue
            name = self.names[call.operation]
            if call.index:
                name += f"#{call.index + 1}"
            input_shape = tuple(call.inputs[0].shape[1:])
            operator = linear_operator(call.operation, input_shape)
            batch_norm = self._batch_norm(call, operator)
            if batch_norm is not None:
                folded.add(batch_norm.operation)
            activations = self._activations(call.inputs[0])
            if activations is None:
                notes.append(
                    f"The activation that feeds {name!r} cannot be seen, so "
                    "its contraction is not measured: an operation there is "
                    "not a Keras layer."
                )
            maps[name] = LinearMap(
                name=name,
                layer=call.operation,
                key=_key(call),
                input_shape=input_shape,
                output_shape=tuple(call.outputs[0].shape[1:]),
                channel_axis=operator.channel_axis,
                batch_norm=batch_norm and batch_norm.operation,
                activations=activations,
            )
        unsupported = {
            self.names[operation]: reason
            for operation, reason in reasons.items()
            if operation not in folded
        }
        logits, note = self._logits()
        if note:
            notes.append(note)
        return Network(
            model=self.model,
            maps=maps,
            logits=logits,
            output_shapes=[(None, *t.shape[1:]) for t in self.outputs],
            unsupported=unsupported,
            notes=tuple(notes),
        )

    def _unsupported(self):
        """Returns, by operation, why a layer with weights is no linear map."""
        called = collections.defaultdict(list)
        for call in self.calls:
            called[call.operation].append(call)
        reasons = {}
        for operation in self.names:
            if not _has_own_weights(operation):
                continue
            reason = _reason(operation)
            if reason is None and not called[operation]:
                reason = "is not called in inference mode"
            if reason is None and any(
                c.inputs[0].shape[0] != self.batch_size
                for c in called[operation]
            ):
                reason = "its input does not keep the batch axis"
            if reason is not None:
                reasons[operation] = reason
        return reasons

    def _batch_norm(self, call, operator):
        """Returns the call of the batch norm that directly follows, or None."""
        if _has_activation(call):
            return None
        followers = self.consumers[id(call.outputs[0])]
        # The linear map's output must go nowhere else, or the folded map is
        # not what the rest of the network sees. Containers repeat a call.
        followers = [c for c in followers if not _is_container(c.operation)]
        if len(followers) != 1 or id(call.outputs[0]) in map(id, self.outputs):
            return None
        follower = followers[0]
        if not isinstance(follower.operation, keras.layers.BatchNormalization):
            return None
        rank = len(call.outputs[0].shape)
        if follower.operation.axis % rank != operator.channel_axis % rank:
            return None
        try:
            operator.scaled(_batch_norm_scale(follower.operation))
        except ValueError:  # The channels do not index the kernel.
            return None
        return follower

    def _activations(self, tensor):
        """Walks back from a tensor to the linear maps behind it.

        Returns the keys of the activations on the way, or None if an
        operation on the way is not known.
        """
        found, seen, queue = {}, set(), [tensor]
        while queue:
            tensor = queue.pop()
            if id(tensor) in seen or id(tensor) in self.inputs:
                continue
            seen.add(id(tensor))
            call = self.producer.get(id(tensor))
            if call is None or not _is_known(call.operation):
                return None
            if _has_activation(call):
                found[_key(call)] = None
            if not _is_linear(call):
                queue.extend(call.inputs)
        return tuple(found)

    def _logits(self):
        """Returns where the logits are if not in the output, and a note."""
        call = self.producer.get(id(self.outputs[0]))
        if call is None:
            return None, None
        operation = call.operation
        activation = vars(operation).get("activation")
        note = f"The {{}} of {operation.name!r} is removed: margins are of logits."
        if call.pre_activation is not None and activation in _PROBABILITIES:
            name = activation.__name__
            return (_key(call), "pre_activation"), note.format(name)
        kind = type(operation).__name__
        if kind in _PROBABILITY_OPS and type(operation).__module__.startswith(
            "keras."
        ):
            return (_key(call), "inputs"), note.format(kind.lower())
        return None, None


def activation_tensors(call):
    """Returns `(x, phi(x))` of a call that has an activation."""
    if call.pre_activation is not None:
        return call.pre_activation, call.outputs[0]
    return call.inputs[0], call.outputs[0]


def _names(paths):
    """Names layers by their own name, by their path where it is not unique."""
    count = collections.Counter(path[-1] for path in paths.values())
    return {
        operation: path[-1] if count[path[-1]] == 1 else "/".join(path)
        for operation, path in paths.items()
    }


def _key(call):
    return id(call.operation), call.index


def _is_linear(call):
    return isinstance(call.operation, LINEAR_LAYERS)


def _has_activation(call):
    operation = call.operation
    if isinstance(operation, _ACTIVATION_LAYERS):
        return True
    if call.pre_activation is not None:
        return vars(operation)["activation"] is not keras.activations.linear
    return (
        type(operation).__name__ in _ACTIVATION_OPS
        and type(operation).__module__.startswith("keras.src.ops")
    )


def _is_container(operation):
    return bool(getattr(operation, "_layers", ()))


def _is_known(operation):
    """Whether only its recorded activation can lie inside the operation."""
    return type(operation).__module__.startswith(
        "keras."
    ) and not _is_container(operation)


def _has_own_weights(operation):
    """Whether a layer has weights that do not belong to its sublayers."""
    if not isinstance(operation, keras.Layer):
        return False
    if isinstance(operation, taps.LOOPS):
        return bool(operation.weights)
    inner = {id(w) for layer in operation._layers for w in layer.weights}
    return any(id(w) not in inner for w in operation.weights)


def _reason(operation):
    """Why a layer with weights has no linear map, or None if it has one."""
    if isinstance(operation, LINEAR_LAYERS):
        return unsupported_reason(operation)
    kind = type(operation).__name__
    if isinstance(operation, taps.LOOPS):
        return f"{kind} runs in a loop, whose tensors cannot be watched"
    if isinstance(operation, keras.layers.BatchNormalization):
        return (
            "this batch normalization does not directly follow a linear map, "
            "so it is not folded; it counts as part of the activation"
        )
    if isinstance(operation, keras.layers.PReLU):
        return "PReLU is an activation with weights, not a linear map"
    return f"{kind} is not a linear map that can be measured"


def _batch_norm_scale(layer):
    scale = ops.rsqrt(ops.cast(layer.moving_variance, "float32") + layer.epsilon)
    if layer.scale:
        scale = scale * ops.cast(layer.gamma, "float32")
    return scale


def _bias(layer, shape):
    bias = ops.cast(layer.bias, "float32")
    # The bias of an EinsumDense has the shape of its `bias_axes` already.
    return ops.reshape(bias, shape) if len(bias.shape) == 1 else bias


def _built_inputs(model):
    """Returns the inputs with which a model was built, as a batch of one."""

    def one(shape, dtype):
        if any(d is None for d in shape[1:]):
            raise ValueError(
                "The model's input has no fixed shape: measure it on data. "
                f"Received: shape={tuple(shape)}"
            )
        return keras.KerasTensor((1, *shape[1:]), dtype)

    if getattr(model, "inputs", None):
        return keras.tree.map_structure(
            lambda t: one(t.shape, t.dtype), model._inputs_struct
            if hasattr(model, "_inputs_struct") else model.inputs[0]
        )
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise ValueError(
            "The input shape of the model is not known: measure it on data. "
            f"Received: model={model.name!r}"
        )
    return one(shape, keras.config.floatx())
