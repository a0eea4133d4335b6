"""Freezes the activation pattern of a network: gate branch and path branch."""

import dataclasses
import functools
from typing import Any

import keras

from tf_genbounds import backend
from tf_genbounds.functional import pooling
from tf_genbounds.functional.activations import activation_name
from tf_genbounds.functional.activations import leaky_slope
from tf_genbounds.keras_internals import inputs_of
from tf_genbounds.keras_internals import run_through_graph
from tf_genbounds.layers import gates
from tf_genbounds.network.model import functional_graph
from tf_genbounds.two_phase.piecewise_linear import SUPPORTED
from tf_genbounds.two_phase.piecewise_linear import activation_kind
from tf_genbounds.two_phase.piecewise_linear import kind
from tf_genbounds.two_phase.piecewise_linear import slopes


def freeze_activation_pattern(model: keras.Model) -> keras.Model:
    """Makes the activation pattern of a network a fixed function of its input.

    The result has two branches with copies of the weights `w`. The *gate
    branch* is frozen: it says, for an input `x`, which ReLU units are on and
    which unit each max pooling window passes on. The *path branch* is trained,
    and takes that pattern:

    `h_k(x) = sum_paths x_path sigma_path(x) w_path,k = z(x)^T w_k`

    where `sigma_path` is 1 if all units on the path are on (for other slopes
    than 0 and 1, their product) and `w_path,k` is the product of its weights.
    At the moment of freezing both branches have the weights of `model`, so the
    outputs are those of `model` in inference mode.

    The layers of the path branch keep their names; those of the gate branch
    end in `_gate`. The result is an ordinary Functional model, to be compiled
    and trained: it saves, loads and exports. Batch normalization uses its
    moving statistics from now on, also in training; dropout acts on the path
    branch only. A softmax or sigmoid at the end stays, and paths end before
    it. Weights take twice the memory, but optimizer state and gradients only
    once; a prediction costs two forward passes.

    Args:
        model: A built Functional or Sequential model, which may be nested,
            share layers and have several inputs and outputs. It is not
            changed.

    Returns:
        `keras.Model`, not compiled. Its gate branch must stay frozen: set
        `trainable` of single layers only.

    Raises:
        TypeError: If `model` is no Functional or Sequential model.
        ValueError: If it is not built, or a layer is not linear for a fixed
            activation pattern; the message names all such layers.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(8, activation="relu"),
    ...      keras.layers.Dense(3)]
    ... )
    >>> frozen = freeze_activation_pattern(model)
    >>> x = np.ones((2, 4))
    >>> bool(np.all(frozen(x) == model(x)))
    True
    >>> [layer.name.split("_")[-1] for layer in frozen.layers if not
    ...  layer.trainable]
    ['gate']

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """
    functional = functional_graph(model)
    refuse_others(model)
    with backend.scope(model):
        freezer = _Freezer()
        inputs = keras.tree.map_structure(_input, inputs_of(functional))
        flat = [_Pair(t, t) for t in keras.tree.flatten(inputs)]
        for tensor in keras.tree.flatten(inputs):
            freezer.unique(tensor.name)
        outputs = freezer.run(functional, flat)
        outputs = keras.tree.map_structure(lambda pair: pair.path, outputs)
        return keras.Model(inputs, outputs, name=f"{model.name}_frozen")


def refuse_others(model):
    """Raises, naming them all, if layers of `model` cannot be frozen."""
    reasons = {}

    def visit(functional):
        for operation in functional.operations:
            if isinstance(operation, keras.Model):
                visit(functional_graph(operation))
                continue
            reason = kind(operation)[1]
            if reason is None and _has_activation(operation):
                reason = activation_kind(operation.activation)[1]
            if reason is not None:
                name = f"{operation.name!r} ({type(operation).__name__})"
                reasons[name] = reason

    visit(functional_graph(model))
    if reasons:
        raise ValueError(
            "The activation pattern of these layers cannot be frozen: "
            + "; ".join(f"{name} {reason}" for name, reason in reasons.items())
            + f". Supported: {SUPPORTED}. Received: model={model.name!r}"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Pair:
    """A tensor of the model in both branches; after a softmax it has no gate."""

    path: Any
    gate: Any


class _Freezer:
    """Walks a model once, and builds both branches on the way."""

    def __init__(self):
        # By operation and branch, so that a shared layer stays shared.
        self._copies = {}
        self._names = set()

    def unique(self, name):
        """Returns a name that no other layer of the result has."""
        found, count = name, 1
        while found in self._names:
            found, count = f"{name}_{count}", count + 1
        self._names.add(found)
        return found

    def run(self, functional, pairs):
        """Runs a graph whose tensors are pairs."""
        return run_through_graph(
            functional, pairs, lambda op: functools.partial(self._apply, op)
        )

    def _apply(self, operation, *args, **kwargs):
        if isinstance(operation, keras.Model):
            return self.run(functional_graph(operation), keras.tree.flatten(args[0]))
        what = kind(operation)[0]
        flat = keras.tree.flatten((args, kwargs))
        pairs = [item for item in flat if isinstance(item, _Pair)]
        if any(pair.gate is None for pair in pairs):
            if what not in ("identity", "rearrangement"):
                raise ValueError(
                    "A softmax or sigmoid must be the end of the network. "
                    f"Received: layer {operation.name!r} after one"
                )
            return self._both(operation, args, kwargs, end=True)
        if what == "scale":
            _check_scale(operation, args, pairs)
        if what in ("activation", "probabilities"):
            return self._activation(operation, pairs[0])
        if what in ("max_pooling", "global_max_pooling"):
            return self._max_pooling(operation, pairs[0], what)
        if what in ("dropout", "penalty"):
            path = self._call(operation, "path", pairs[0].path)
            return _Pair(path, pairs[0].gate)
        pair = self._both(operation, args, kwargs)
        if _has_activation(operation):
            return self._activation(operation, pair)
        return pair

    def _both(self, operation, args, kwargs, end=False):
        """Runs a copy of an operation that is linear as it is, in each branch."""
        results = []
        for branch in ("path",) if end else ("path", "gate"):
            branch_args, branch_kwargs = keras.tree.map_structure(
                lambda item: getattr(item, branch) if _is_pair(item) else item,
                (args, kwargs),
            )
            results.append(self._call(operation, branch, *branch_args, **branch_kwargs))
        if end:
            return _Pair(results[0], None)
        # Most return one tensor, a split returns several.
        return keras.tree.map_structure(_Pair, *results)

    def _activation(self, operation, pair):
        """Replaces an activation, or that of a linear layer, by a gate."""
        function = vars(operation).get("activation", operation)
        split = _has_activation(operation)
        end = (activation_kind(function) if split else kind(operation))[
            0
        ] == "probabilities"
        of_function = split or isinstance(operation, keras.layers.Activation)
        if end and not of_function:
            return _Pair(self._call(operation, "path", pair.path), None)
        options = {}
        if isinstance(operation, keras.Layer):
            options["dtype"] = operation.dtype_policy
            options["activity_regularizer"] = operation.activity_regularizer
        name = f"{operation.name}_activation" if split else operation.name
        name = options["name"] = self.unique(name)
        if end:
            return _Pair(_activation_layer(function, **options)(pair.path), None)
        if isinstance(operation, keras.layers.PReLU):
            gate = gates.PReLUGate(operation.shared_axes, **options)
        else:
            gate = gates.Gate(**slopes(function), **options)
        path = gate([pair.path, pair.gate])
        gate.set_weights(operation.get_weights() if gate.weights else [])
        if of_function:
            frozen = _activation_layer(
                function,
                name=self.unique(f"{name}_gate"),
                dtype=operation.dtype_policy,
            )(pair.gate)
        else:
            frozen = self._call(operation, "gate", pair.gate)
        return _Pair(path, frozen)

    def _max_pooling(self, operation, pair, what):
        if what == "max_pooling":
            cls, options = (
                gates.MaxPoolingGate,
                pooling.options(operation, len(pair.path.shape)),
            )
        else:
            cls, options = (
                gates.GlobalMaxPoolingGate,
                {
                    "data_format": operation.data_format,
                    "keepdims": operation.keepdims,
                },
            )
        if isinstance(operation, keras.Layer):
            options["dtype"] = operation.dtype_policy
        gate = cls(**options, name=self.unique(operation.name))
        path = gate([pair.path, pair.gate])
        return _Pair(path, self._call(operation, "gate", pair.gate))

    def _call(self, operation, branch, *args, **kwargs):
        """Calls the branch's copy of an operation, and makes it if need be."""
        copy = self._copies.get((operation, branch))
        if copy is not None:
            return copy(*args, **kwargs)
        copy = self._copies[operation, branch] = self._copy(operation, branch)
        output = copy(*args, **kwargs)
        if isinstance(operation, keras.Layer):
            copy.set_weights(operation.get_weights())
        return output

    def _copy(self, operation, branch):
        config = operation.get_config()
        cls = type(operation)
        if isinstance(operation, keras.layers.BatchNormalization):
            cls = gates.FixedStatisticsBatchNormalization
        if _has_activation(operation):
            config["activation"] = "linear"
            config["activity_regularizer"] = None  # It goes to the gate.
        if branch == "gate":
            if "activity_regularizer" in config:
                config["activity_regularizer"] = None
            config["name"] = f"{operation.name}_gate"
        config["name"] = self.unique(config["name"])
        copy = cls.from_config(config)
        if branch == "gate" and isinstance(copy, keras.Layer):
            copy.trainable = False
        return copy


def _activation_layer(function, **options):
    """A layer that is the same function when it was saved and loaded.

    Keras saves the functions of other modules by a name, which may be that of
    another function, or in a form that it cannot load.
    """
    slope = leaky_slope(function)
    if slope is not None:
        return keras.layers.LeakyReLU(slope, **options)
    return keras.layers.Activation(activation_name(function) or function, **options)


def _check_scale(operation, args, pairs):
    """Refuses products of tensors, and constants divided by a tensor."""
    if len(pairs) > 1:
        raise ValueError(
            "A product of two tensors is not linear. "
            f"Received: operation {operation.name!r}"
        )
    if type(operation).__name__ != "Multiply" and not _is_pair(args[0]):
        raise ValueError(
            "A constant divided by a tensor is not linear. "
            f"Received: operation {operation.name!r}"
        )


def _is_pair(item):
    return isinstance(item, _Pair)


def _has_activation(operation):
    """Whether a linear layer has an activation of its own to split off."""
    activation = vars(operation).get("activation")
    return (
        kind(operation)[0] == "linear"
        and callable(activation)
        and activation_name(activation) != "linear"
    )


def _input(tensor):
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
