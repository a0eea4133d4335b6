"""Runs a Keras model while watching its layers: the one interception point.

The paper's `x^i` is the pre-activation, which `Dense(64, activation="relu")`
hides. So for the length of one run, `call` of every layer (and of every
`keras.ops` node of a Functional model) and `activation` of the layers that
have one are wrapped, and restored afterwards. The model may be Functional,
Sequential, nested, shared or subclassed; nothing is copied.

A wrapped call can also be perturbed. Derivatives in the perturbations are the
Jacobians between layers, of any model, without cutting it into pieces.
"""

import contextlib
import dataclasses
import functools
from typing import Any

import keras

from tf_genbounds import backend
from tf_genbounds.functional.pooling import is_max_pooling
from tf_genbounds.functional.pooling import max_pool
from tf_genbounds.keras_internals import sublayers

# These run their inner layer inside a loop, whose tensors cannot leave it.
LOOPS = (
    keras.layers.RNN,
    keras.layers.Bidirectional,
    keras.layers.TimeDistributed,
)
_FLOAT32 = keras.DTypePolicy("float32")


@dataclasses.dataclass(eq=False)
class Call:
    """One call of one operation, in the order in which the calls end.

    Attributes:
        operation: The Keras layer or operation.
        index: 0 for the first call of this operation in the run, 1 for the
            second, ...
        inputs: Tensors that it received, flat.
        outputs: Tensors that it returned, flat.
        pre_activation: What its `activation` received, or `None`.
    """

    operation: Any
    index: int
    inputs: list
    outputs: list
    pre_activation: Any = None

    @property
    def key(self):
        """What tells this call from the others, in every run."""
        return id(self.operation), self.index

    @property
    def value(self):
        """What the call computes before its activation, perturbation included."""
        if self.pre_activation is None:
            return self.outputs[0]
        return self.pre_activation


def operations(model):
    """Returns every layer and operation below `model`, once each, by path.

    Returns:
        Dict from operation to its path from the model, a tuple of names.
        Layers inside a recurrent or time-distributed layer are left out: the
        tensors of a loop cannot be watched.
    """
    found = {}

    def visit(parent, path):
        # `sublayers` also holds what a subclassed model keeps in attributes;
        # `operations` also holds the `keras.ops` nodes of a Functional model.
        children = [*getattr(parent, "operations", ()), *sublayers(parent)]
        for child in children:
            if child in found:
                continue
            found[child] = (*path, child.name)
            if isinstance(child, keras.Layer) and not isinstance(child, LOOPS):
                visit(child, found[child])

    visit(model, ())
    return found


def run(model, values, x, perturb=None, slice_pooling=False):
    """Runs `model` on `x` in inference mode and float32, and watches it.

    Args:
        model: A built Keras model. Its variables, attributes and random state
            are the same afterwards, also if the run raises.
        values: Tensors to use for `model.variables`, in that order.
        x: A batch of inputs, in the structure that the model takes.
        perturb: Dict from the key of a call to a function. It takes the
            call's flat inputs and its `value`, and returns what is added to
            that value before the run goes on.
        slice_pooling: Boolean, whether max pooling runs as a maximum of slices.

    Returns:
        A pair `(output, calls)`: what the model returned, and the list of
        `Call`.
    """
    calls = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(backend.stateless(model.variables, values))
        stack.enter_context(in_float32(model))
        for operation in (model, *operations(model)):
            if slice_pooling and is_max_pooling(operation):
                pool = functools.partial(max_pool, operation)
                stack.enter_context(replaced(operation, "call", pool))
            if operation is not model:
                stack.enter_context(_watch(operation, calls, perturb or {}))
        output = model(x, training=False)
    return output, calls


@contextlib.contextmanager
def in_float32(model):
    """Lets every layer of a model compute in float32."""
    with contextlib.ExitStack() as stack:
        for operation in (model, *operations(model)):
            stack.enter_context(_float32(operation))
        yield


@contextlib.contextmanager
def replaced(instance, name, value):
    """Shadows an attribute, past Keras' tracking of attributes."""
    missing = object()
    before = vars(instance).get(name, missing)
    vars(instance)[name] = value
    try:
        yield
    finally:
        if before is missing:
            del vars(instance)[name]
        else:
            vars(instance)[name] = before


@contextlib.contextmanager
def _float32(operation):
    """Lets a layer compute in float32, whatever its dtype policy."""
    compute = getattr(operation, "compute_dtype", "float32")
    if compute == "float32" or "float" not in str(compute):
        yield
    else:
        with replaced(operation, "_dtype_policy", _FLOAT32):
            yield


@contextlib.contextmanager
def _watch(operation, calls, perturb):
    """Appends a `Call` to `calls` whenever `operation` is called."""
    seen = []  # What `activation` received in the current call.
    inputs = []
    count = 0
    call = operation.call
    activation = vars(operation).get("activation")

    def perturbed(x):
        change = perturb.get((id(operation), count))
        if change is None:
            return x
        # As a sum TensorFlow would fuse it into the layer before, fail to
        # where the value has another reader, and say so on every trace.
        return x - -1.0 * change(inputs, x)

    def watched_call(*args, **kwargs):
        nonlocal count, inputs
        seen.clear()
        inputs = _tensors((args, kwargs))
        outputs = call(*args, **kwargs)
        if not seen:
            outputs = perturbed(outputs)
        calls.append(
            Call(
                operation=operation,
                index=count,
                inputs=inputs,
                outputs=_tensors(outputs),
                pre_activation=seen[0] if len(seen) == 1 else None,
            )
        )
        count += 1
        return outputs

    def watched_activation(x, *args, **kwargs):
        x = perturbed(x)
        seen.append(x)
        return activation(x, *args, **kwargs)

    with contextlib.ExitStack() as stack:
        stack.enter_context(replaced(operation, "call", watched_call))
        if callable(activation):
            stack.enter_context(replaced(operation, "activation", watched_activation))
        yield


def _tensors(nest):
    return [t for t in keras.tree.flatten(nest) if keras.ops.is_tensor(t)]
