"""The one pass behind all path norms: the network with other weights.

| mode | a weight `w` counts as | the input as | gates |
| --- | --- | --- | --- |
| `features` | 1 | `x**2` | slope**2 |
| `gram` | 1 | `x x'` | slope slope' |
| `weights_2` | `w**2` | 1 | all open |
| `weights_1` | `abs(w)` | 1 | all open |
| `count` | 1 | 1 | all open |

An average has the weights `1 / n`. A bias is a weight from the constant 1.
"""

import dataclasses
import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional import long_products
from tf_genbounds.functional import pooling
from tf_genbounds.keras_internals import makers_inputs
from tf_genbounds.keras_internals import run_through_graph
from tf_genbounds.layers import gates
from tf_genbounds.network import taps
from tf_genbounds.network.model import functional_graph
from tf_genbounds.two_phase.piecewise_linear import kind

MODES = {
    "features": ops.ones_like,
    "gram": ops.ones_like,
    "weights_2": ops.square,
    "weights_1": ops.abs,
    "count": ops.ones_like,
}


@dataclasses.dataclass(frozen=True, eq=False)
class _Total:
    """Sums over the paths to each unit: `value * 2**exponent`, and a bias.

    The bias, with its sign, is kept apart until it is known that no batch
    normalization follows, into which it is folded.
    """

    value: Any
    exponent: Any  # Whole numbers in float32, of shape (batch,).
    bias: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Input:
    """An input of the model, as each of the two branches takes it."""

    raw: Any
    total: _Total


def path_pass(model, mode, output):
    """Compiles a pass.

    Returns:
        A function of `(values, x)`: tensors for `model.variables`, and a batch
        of inputs; in mode `gram` a pair of batches, else in the last three
        modes nothing. It returns tensors `value`, of shape `(batch, outputs)`,
        and `exponent`, of shape `(batch,)`: the sums are `value * 2**exponent`.
    """
    functional = functional_graph(model)
    if not 0 <= output < len(functional.outputs):
        raise ValueError(
            f"`output` must lie in [0, {len(functional.outputs)}). "
            f"Received: output={output}"
        )
    on_path = path_operations(functional.outputs[output : output + 1])
    recursion = _Pass(mode)

    def operation_fn(operation):
        if operation in on_path:
            return functools.partial(recursion.apply, operation)
        if recursion.gated:
            return functools.partial(_apply_gate_branch, operation)
        return lambda *args, **kwargs: object()  # Its gates stay open.

    def run(values, x):
        with backend.stateless(model.variables, values), taps.in_float32(functional):
            inputs = recursion.inputs(functional, x)
            found = run_through_graph(functional, inputs, operation_fn)
            total = recursion.commit(keras.tree.flatten(found)[output])
        shape = ops.shape(total.exponent)[0], -1
        return ops.reshape(total.value, shape), total.exponent

    return backend.jit(run)


def path_operations(outputs):
    """Returns the operations behind `outputs`, gate branch left out."""
    found, queue = {}, list(outputs)
    while queue:
        operation, node, _, inputs = makers_inputs(queue.pop())
        if (operation, node) in found or not inputs:
            continue
        found[operation, node] = None
        queue.extend(inputs[:1] if isinstance(operation, gates.GATES) else inputs)
    operations = {operation for operation, _ in found}
    for operation in operations:
        if isinstance(operation, gates.GATES):
            continue
        what, reason = kind(operation)
        if what in ("activation", "max_pooling", "global_max_pooling"):
            reason = "has no frozen activation pattern"
        if reason is not None:
            raise ValueError(
                "Paths need a model as `two_phase.freeze_activation_pattern` "
                f"returns it. Received: layer {operation.name!r}, which {reason}"
            )
    return operations


def _apply_gate_branch(operation, *args, **kwargs):
    args = keras.tree.map_structure(
        lambda item: item.raw if isinstance(item, _Input) else item, args
    )
    return operation(*args, **kwargs)


class _Pass:
    """The rules, one for each kind of operation."""

    def __init__(self, mode):
        self.weight = MODES[mode]
        self.gated = mode in ("features", "gram")
        self._in_pairs = mode == "gram"

    def inputs(self, functional, x):
        """Returns the `_Input` for each input of the model."""
        if not self.gated:
            return [_Input(None, self._one(tensor)) for tensor in functional.inputs]
        left = keras.tree.flatten(x[0] if self._in_pairs else x)
        right = keras.tree.flatten(x[1] if self._in_pairs else x)
        found = []
        for a, b in zip(left, right, strict=True):
            a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
            raw = ops.concatenate([a, b]) if self._in_pairs else a
            found.append(_Input(raw, _product(a, b)))
        return found

    def commit(self, total):
        """Adds the paths that start at a bias."""
        if total.bias is None:
            return total
        return _plus(dataclasses.replace(total, bias=None), self.weight(total.bias))

    def apply(self, operation, *args, **kwargs):
        args = keras.tree.map_structure(
            lambda item: item.total if isinstance(item, _Input) else item, args
        )
        if isinstance(operation, gates.GATES):
            total, gate = args[0]
            total = self.commit(total)
            if isinstance(operation, gates.Gate):
                return self._gate(operation, total, gate)
            return self._select(operation, total, gate)
        what = kind(operation)[0]
        if what == "batch_norm":
            return self._batch_norm(operation, args[0])
        args = keras.tree.map_structure(
            lambda item: self.commit(item) if _is_total(item) else item, args
        )
        if what in ("identity", "dropout", "penalty", "probabilities"):
            return args[0]
        return getattr(self, f"_{what}")(operation, *args, **kwargs)

    def _one(self, tensor):
        shape = tensor.shape[1:]
        if None in shape:
            raise ValueError(
                "The sizes of the input must be known to count its paths. "
                f"Received: shape={tensor.shape}"
            )
        return _Total(ops.ones((1, *shape)), ops.zeros(1))

    def _gate(self, layer, total, gate):
        if not self.gated:
            if not layer.has_offset:
                return total
            return _plus(total, ops.ones_like(total.value))
        total = _normal(total.value * self._both(layer.slope(gate)), total.exponent)
        if not layer.has_offset:
            return total
        return _plus(total, self._both(layer.offset(gate)))

    def _both(self, array):
        """The product over the two examples of a pair, or a square."""
        if not self._in_pairs:
            return ops.square(array)
        left, right = ops.split(array, 2)
        return left * right

    def _select(self, layer, total, gate):
        if not self.gated:  # Every path through the window is a path.
            if isinstance(layer, gates.GlobalMaxPoolingGate):
                shape = layer.compute_output_shape([total.value.shape])
                value = _global_sum(layer, total.value, shape)
            else:
                value = functools.reduce(
                    ops.add, pooling.slices(layer, total.value, 0.0)
                )
            return _normal(value, total.exponent)
        if not self._in_pairs:
            return _Total(layer([total.value, gate]), total.exponent)
        left, right = ops.split(gate, 2)
        # A path is on for both examples only where both take the same unit.
        size = math.prod(left.shape[1:])
        place = ops.reshape(ops.arange(size, dtype="float32"), (1, *left.shape[1:]))
        place = ops.broadcast_to(place, ops.shape(left))
        same = ops.equal(layer([place, left]), layer([place, right]))
        chosen = layer([total.value, left])
        return _normal(ops.where(same, chosen, 0.0), total.exponent)

    def _linear(self, layer, total):
        bias = getattr(layer, "bias", None)
        weights = [
            (v, ops.zeros_like(v.value) if v is bias else self.weight(v.value))
            for v in layer.variables
        ]
        shaped = None
        if bias is not None:
            shaped = ops.convert_to_tensor(bias.value)
            if getattr(layer, "data_format", None) == "channels_first":
                shaped = ops.reshape(shaped, (-1, *[1] * (len(total.value.shape) - 2)))
        with keras.StatelessScope(state_mapping=weights):
            if isinstance(layer, keras.layers.Dense):
                # All terms are positive: what a long sum loses is lost of a norm
                # that must not be too small.
                value = long_products.matmul(
                    total.value, ops.convert_to_tensor(layer.kernel)
                )
            else:
                value = layer.call(total.value)
        return dataclasses.replace(_normal(value, total.exponent), bias=shaped)

    def _batch_norm(self, layer, total):
        mean, variance, gamma, beta = (
            None if v is None else ops.convert_to_tensor(v.value)
            for v in (layer.moving_mean, layer.moving_variance, layer.gamma, layer.beta)
        )
        scale = ops.rsqrt(variance + layer.epsilon)
        scale = scale if gamma is None else scale * gamma
        shift = -mean * scale
        shift = shift if beta is None else shift + beta
        rank = len(total.value.shape)
        axis = layer.axis % rank
        shape = [-1 if i == axis else 1 for i in range(1, rank)]
        scale, shift = ops.reshape(scale, shape), ops.reshape(shift, shape)
        if total.bias is not None:
            shift = shift + scale * total.bias
        value = total.value * self.weight(scale)
        return dataclasses.replace(_normal(value, total.exponent), bias=shift)

    def _average_pooling(self, operation, total):
        count = pooling.window_sizes(operation, total.value.shape)
        value = operation(total.value) * count * self.weight(1 / count)
        return _normal(value, total.exponent)

    def _mean(self, operation, total):
        value = operation(total.value)
        count = math.prod(total.value.shape[1:]) / math.prod(value.shape[1:])
        share = self.weight(ops.convert_to_tensor(1 / count))
        return _normal(value * count * share, total.exponent)

    def _merge(self, operation, *args):
        items = keras.tree.flatten(args)
        values, exponent = _aligned([item for item in items if _is_total(item)])
        value = functools.reduce(ops.add, values)
        if isinstance(operation, keras.layers.Average):
            value = value * self.weight(ops.convert_to_tensor(1 / len(values)))
        total = _normal(value, exponent)
        for item in items:
            if not _is_total(item):  # A constant is a bias.
                total = _plus(total, self.weight(ops.cast(item, "float32")))
        return total

    def _scale(self, operation, *args):
        total = next(item for item in args if _is_total(item))
        if isinstance(operation, keras.layers.Rescaling):
            total = self._times(total, operation.scale)
            if not np.any(operation.offset):
                return total
            return _plus(total, self.weight(ops.cast(operation.offset, "float32")))
        constants = [item for item in args if not _is_total(item)]
        if not constants:  # A change of sign.
            return total
        constant = ops.cast(constants[0], "float32")
        if type(operation).__name__ != "Multiply":
            constant = 1 / constant
        return self._times(total, constant)

    def _times(self, total, constant):
        constant = self.weight(ops.cast(constant, "float32"))
        return _normal(total.value * constant, total.exponent)

    def _rearrangement(self, operation, *args, **kwargs):
        totals = [item for item in keras.tree.flatten(args) if _is_total(item)]
        values, exponent = _aligned(totals)
        aligned = dict(zip(map(id, totals), values, strict=True))
        args = keras.tree.map_structure(
            lambda item: aligned[id(item)] if _is_total(item) else item, args
        )
        return _normal(operation(*args, **kwargs), exponent)


def _is_total(item):
    return isinstance(item, _Total)


def _normal(value, exponent):
    """Scales each example's array to a largest entry from 1 to 2."""
    sizes = value.shape[0], getattr(exponent, "shape", (None,))[0]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            "Paths are of single examples. Received: an operation that makes "
            f"{sizes[0]} examples of {sizes[1]}"
        )
    axes = tuple(range(1, len(value.shape)))
    largest = ops.max(ops.abs(value), axis=axes, keepdims=True)
    shift = ops.floor(ops.log2(ops.where(largest > 0, largest, 1.0)))
    return _Total(_scaled(value, -shift), exponent + ops.reshape(shift, (-1,)))


def _scaled(value, exponent):
    # Exact, other than a product with a power or an exponential.
    return ops.ldexp(value, ops.cast(exponent, "int32"))


def _product(a, b):
    """`a * b`, of which no product leaves the range of float32."""
    a, b = (_normal(t, ops.zeros(ops.shape(t)[:1])) for t in (a, b))
    return _normal(a.value * b.value, a.exponent + b.exponent)


def _plus(total, array):
    """Adds an array that is not scaled."""
    one = _normal(
        ops.broadcast_to(array, ops.shape(total.value)),
        ops.zeros_like(total.exponent),
    )
    values, exponent = _aligned([total, one])
    return _normal(values[0] + values[1], exponent)


def _aligned(totals):
    """Returns the values of several sums on one scale, and that scale."""
    exponent = functools.reduce(ops.maximum, (total.exponent for total in totals))
    values = []
    for total in totals:
        shape = (-1, *[1] * (len(total.value.shape) - 1))
        change = ops.reshape(total.exponent - exponent, shape)
        # Below that nothing of a float32 is left.
        values.append(_scaled(total.value, ops.maximum(change, -150.0)))
    return values, exponent


def _global_sum(layer, x, shape):
    last = layer.data_format == "channels_last"
    axes = range(1, len(x.shape) - 1) if last else range(2, len(x.shape))
    return ops.reshape(ops.sum(x, axis=tuple(axes)), shape)
