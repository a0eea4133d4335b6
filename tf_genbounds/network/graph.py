"""Reads the graph of a model off the tensors of one watched run.

Which layers are linear maps, which batch normalization is folded into which,
which activation feeds which map, and where the logits are: all of it follows
from who made and who took which tensor, for every kind of Keras model.
"""

import collections

import keras

from tf_genbounds.functional.activations import PROBABILITIES
from tf_genbounds.functional.activations import activation_name
from tf_genbounds.functional.operation_kinds import kind_of
from tf_genbounds.functional.operation_kinds import probability_of
from tf_genbounds.functional.operators import LINEAR_LAYERS
from tf_genbounds.functional.operators import linear_operator
from tf_genbounds.functional.operators import unsupported_reason
from tf_genbounds.keras_internals import sublayers
from tf_genbounds.layers import gates
from tf_genbounds.network import taps
from tf_genbounds.network.example_wise import mixes_examples
from tf_genbounds.network.linear_map import LinearMap
from tf_genbounds.network.linear_map import batch_norm_scale

_ACTIVATION_LAYERS = (
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    gates.Gate,
)
# They rescale each example, so that a multiple of their input changes nothing.
_NORMALIZATIONS = (
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)
# Kinds of operations, see `functional.operation_kinds`.
_ACTIVATIONS = {"activation", "other_activation", "sigmoid", "hard_sigmoid"}
# They pass the numbers of each example on, in their order.
_PASSING = {"identity", "dropout", "noise", "penalty", "reshape"}
# Means of probabilities are probabilities, of logits logits.
_MEANS = {"average", "average_pooling", "mean"}
_PRODUCTS = {"product", "quotient"}
# They make logits of logits.
_AFFINE = {"sum", "difference", "negative", "rescaling", "batch_norm", *_PRODUCTS}
# They shrink no norm by a nonlinearity. Others may, as `maximum(x, 0)` does.
_HARMLESS = {
    "identity", "reshape", "rearrangement", "other_rearrangement", "sum", "difference",
    "total", "mean", "average_pooling", "max_pooling", "negative", *_PRODUCTS,
}  # fmt: skip


class Graph:
    """The graph of a model.

    Args:
        model: Keras model.
        output: What it returned in a watched run.
        calls: The `taps.Call`s of the run.
        inputs: Nest of the tensors that it received.
        index: Which of the flat outputs the logits are.

    Attributes:
        maps: `LinearMap` by name, in the order of the calls.
        logits: `(key, tensor)`: the call and which tensor of it the logits
            are, `"inputs"` or `"pre_activation"`; `None`: the output itself.
        end: What the output is: `"logits"`, one of `functional.logits.PROBABILITIES`,
            or `None` if that cannot be seen.
        mixing: Names of operations that work along the batch axis.
        outputs: The output tensors, flat.
        normalizations: Keys of the calls that normalize each example.
        unsupported: Reason by name, for layers with weights that are neither
            a linear map nor folded into one.
        notes: What a reader of the numbers must know, a sentence each.
    """

    def __init__(self, model, output, calls, inputs, index=0):
        self.outputs = keras.tree.flatten(output)
        self.notes = []
        self._calls = calls
        self._inputs = {id(t) for t in keras.tree.flatten(inputs)}
        parts = keras.tree.flatten(inputs)
        self._batch_sizes = {parts[0].shape[0]}
        if any(keras.backend.standardize_dtype(t.dtype) == "string" for t in parts):
            self._batch_sizes.add(None)  # What text layers return has no fixed size.
        self._names = _names(taps.operations(model))
        # The first call that returned a tensor made it: a dropout that passes
        # its input on, or the nested model around a layer, comes later.
        self._producer = {}
        self._consumers = collections.defaultdict(list)
        for call in calls:
            # What a call only received, such as an input of the model that an
            # identity returns, it did not make.
            received = {id(tensor) for tensor in call.inputs}
            made = [t for t in (call.pre_activation, *call.outputs) if t is not None]
            for tensor in made:
                if id(tensor) not in received:
                    self._producer.setdefault(id(tensor), call)
            for tensor in call.inputs:
                self._consumers[id(tensor)].append(call)
        reasons = self._reasons()
        self.maps = {}
        for call in calls:
            if _is_linear(call.operation) and call.operation not in reasons:
                linear = self._linear_map(call)
                self.maps[linear.name] = linear
        folded = {linear.batch_norm for linear in self.maps.values()}
        self.unsupported = {
            self._names[operation]: reason
            for operation, reason in reasons.items()
            if operation not in folded
        }
        self.normalizations = tuple(
            c.key for c in calls if isinstance(c.operation, _NORMALIZATIONS)
        )
        self.logits = self._logits(self.outputs[index])
        self.end = self._end(self.outputs[index])
        self.mixing = tuple(
            dict.fromkeys(c.operation.name for c in calls if mixes_examples(c))
        )
        for name in self.mixing:
            self.notes.append(
                f"{name!r} works along the batch axis, so what is measured of an "
                "example depends on the rest of its batch."
            )

    def _linear_map(self, call):
        name = self._names[call.operation]
        if call.index:
            name += f"#{call.index + 1}"
        input_shape = tuple(call.inputs[0].shape[1:])
        operator = linear_operator(call.operation, input_shape)
        behind = self._behind(call.inputs[0])
        if behind is None:
            self.notes.append(
                f"The activation that feeds {name!r} cannot be seen, so its "
                "contraction is not measured: an operation there is unknown."
            )
        return LinearMap(
            name=name,
            layer=call.operation,
            key=call.key,
            input_shape=input_shape,
            output_shape=tuple(call.outputs[0].shape[1:]),
            channel_axis=operator.channel_axis,
            batch_norm=self._batch_norm(call, operator),
            activations=None if behind is None else behind[0],
            sources=None if behind is None else behind[1],
        )

    def _reasons(self):
        """Returns, by operation, why a layer with weights is no linear map."""
        called = collections.defaultdict(list)
        for call in self._calls:
            called[call.operation].append(call)
        reasons = {}
        for operation in self._names:
            if not _has_own_weights(operation):
                continue
            reason = _reason(operation)
            if reason is None and not called[operation]:
                reason = "is not called in inference mode"
            if reason is None and any(
                c.inputs[0].shape[0] not in self._batch_sizes for c in called[operation]
            ):
                reason = "its input does not keep the batch axis"
            if reason is not None:
                reasons[operation] = reason
        return reasons

    def _batch_norm(self, call, operator):
        """Returns the batch norm that directly follows a call, or None."""
        if _has_activation(call):
            return None
        followers = self._consumers[id(call.outputs[0])]
        # The linear map's output must go nowhere else, or the folded map is
        # not what the rest of the network sees. Containers repeat a call.
        followers = [c for c in followers if not _is_container(c.operation)]
        if len(followers) != 1 or id(call.outputs[0]) in map(id, self.outputs):
            return None
        follower = followers[0].operation
        if not isinstance(follower, keras.layers.BatchNormalization):
            return None
        if sum(c.operation is follower for c in self._calls) > 1:
            return None  # Shared: it may not be folded everywhere.
        rank = len(call.outputs[0].shape)
        if follower.axis % rank != operator.channel_axis % rank:
            return None
        try:
            operator.scaled(batch_norm_scale(follower))
        except ValueError:  # The channels do not index the kernel.
            return None
        return follower

    def _behind(self, tensor):
        """Walks back from a tensor to the linear layers behind it.

        Returns the keys of the activations on the way, and of those layers, or
        None if an operation on the way is not known.
        """
        activations, sources, seen, queue = {}, {}, set(), [tensor]
        while queue:
            tensor = queue.pop()
            if id(tensor) in seen or id(tensor) in self._inputs:
                continue
            seen.add(id(tensor))
            call = self._producer.get(id(tensor))
            if call is None or not _is_known(call.operation):
                return None
            if _has_activation(call):
                activations[call.key] = None
            if isinstance(call.operation, gates.GATES):
                queue.append(call.inputs[0])  # The path; then comes the gate.
            elif _is_linear(call.operation):
                sources[call.key] = None
            else:
                queue.extend(call.inputs)
        return tuple(activations), tuple(sources)

    def _logits(self, output):
        """Returns where the logits are, if not in the output."""
        call = self._producer.get(id(output))
        while call is not None and _passes_on(call):
            call = self._producer.get(id(call.inputs[0]))
        name = _probability(call)
        if name is None:
            return None
        self.notes.append(
            f"The {name} of {call.operation.name!r} is removed: margins are of logits."
        )
        tensor = "inputs" if call.pre_activation is None else "pre_activation"
        return call.key, tensor

    def _end(self, tensor):
        """Says what a tensor is, by what made it."""
        call = self._producer.get(id(tensor))
        if call is None:
            return None
        name = _probability(call)
        if name is not None:
            return name
        operation, kind = call.operation, kind_of(call.operation)
        if not _is_known(operation):
            return None
        # Layers of ours that have an activation stand for linear ones.
        ours = _is_ours(operation) and "activation" in vars(operation)
        if ours or _is_linear(operation):
            return None if _has_activation(call) else "logits"
        if _passes_on(call) or kind in _MEANS:
            ends = {self._end(t) for t in call.inputs}
            return ends.pop() if len(ends) == 1 else None
        if kind in _AFFINE:
            # Constants have no producer among the calls.
            made = [t for t in call.inputs if id(t) in self._producer]
            product = kind in _PRODUCTS and len(made) != 1
            if made and not product and {self._end(t) for t in made} == {"logits"}:
                return "logits"
        return None


def _names(paths):
    """Names layers by their own name, by their path where it is not unique."""
    count = collections.Counter(path[-1] for path in paths.values())
    return {
        operation: path[-1] if count[path[-1]] == 1 else "/".join(path)
        for operation, path in paths.items()
    }


def _probability(call):
    """Names the function by which a call made probabilities, or returns None."""
    if call is None or not (_is_keras(call.operation) or _is_ours(call.operation)):
        return None
    if call.pre_activation is not None:
        name = activation_name(vars(call.operation)["activation"])
        return name if name in PROBABILITIES else None
    return probability_of(call.operation)


def _passes_on(call):
    """Whether a call returns the numbers that it received, in their order."""
    operation = call.operation
    if isinstance(operation, keras.layers.Activation):
        return activation_name(vars(operation)["activation"]) == "linear"
    return kind_of(operation) in _PASSING


def _is_keras(operation):
    return type(operation).__module__.startswith("keras.")


def _is_ours(operation):
    return type(operation).__module__.startswith("tf_genbounds.")


def _is_linear(operation):
    return isinstance(operation, LINEAR_LAYERS)


def _is_container(operation):
    """Whether an operation calls others, whose calls are recorded too."""
    return bool(getattr(operation, "_layers", ())) and not _is_linear(operation)


def _has_activation(call):
    operation = call.operation
    if isinstance(operation, _ACTIVATION_LAYERS):
        return True
    if call.pre_activation is not None:
        return activation_name(vars(operation)["activation"]) != "linear"
    return kind_of(operation) in _ACTIVATIONS


def _is_known(operation):
    """Whether no activation can hide in an operation, unrecorded."""
    known = _is_ours(operation) or _is_keras(operation)
    if not known or _is_container(operation):
        return False
    if isinstance(operation, keras.Layer):
        return not isinstance(operation, keras.layers.Lambda)
    return kind_of(operation) in _ACTIVATIONS | _HARMLESS


def _has_own_weights(operation):
    """Whether a layer has weights that do not belong to its sublayers."""
    if not isinstance(operation, keras.Layer):
        return False
    if isinstance(operation, taps.LOOPS):
        return bool(operation.weights)
    if isinstance(operation, keras.layers.SpectralNormalization):
        return False  # It writes into the kernel of its layer, while it trains.
    inner = {id(w) for layer in sublayers(operation) for w in layer.weights}
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
