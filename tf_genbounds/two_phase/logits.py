"""What a frozen model says before its end, and what `predict` makes of it."""

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.data.batches import batches
from tf_genbounds.functional.operation_kinds import probability_of
from tf_genbounds.keras_internals import run_through_graph
from tf_genbounds.network.model import functional_graph
from tf_genbounds.two_phase.path_pass import path_operations
from tf_genbounds.two_phase.piecewise_linear import kind


def logits_of(model, x, *, output, batch_size):
    """Runs a model without the softmax or sigmoid at its end.

    The path weights are linear in these numbers, and in no others.

    Args:
        model: Functional model in float32, as `freeze_activation_pattern`
            returns it.
        x: Nest of arrays.
        output: Integer, which of the flat outputs.
        batch_size: Integer.

    Returns:
        Float32 array of shape `(samples, ...)`.
    """
    functional = functional_graph(model)

    def operation_fn(operation):
        # As in the path norms: what follows, a reshape say, takes the logits.
        left_out = kind(operation)[0] in ("probabilities", "penalty")
        return _first if left_out else operation

    def run(values, x):
        with backend.stateless(model.variables, values):
            inputs = [
                ops.cast(array, tensor.dtype)
                for array, tensor in zip(
                    keras.tree.flatten(x), functional.inputs, strict=True
                )
            ]
            found = run_through_graph(functional, inputs, operation_fn)
        return keras.tree.flatten(found)[output]

    compiled, values = backend.jit(run), backend.values(model.variables)
    return np.concatenate(
        [
            ops.convert_to_numpy(compiled(values, batch.x))[: batch.count]
            for batch in batches(x, batch_size=batch_size)
        ]
    )


def outputs_of(model, x, *, output, batch_size):
    """Returns what `predict` says, so that 0 is where a single unit decides."""
    found = model.predict(x, batch_size=batch_size, verbose=0)
    outputs = np.asarray(keras.tree.flatten(found)[output])
    end = end_of(model, output)
    if outputs.shape[1:] != (1,) or end is None:
        return outputs
    # The probability, or its logarithm, that the end gives the logit 0.
    even = keras.activations.get(end)(ops.zeros((1, 1)))
    return outputs - ops.convert_to_numpy(even)


def end_of(model, output):
    """Names the function between the logits and an output, `None` if there is none."""
    for operation in path_operations(
        functional_graph(model).outputs[output : output + 1]
    ):
        if kind(operation)[0] == "probabilities":
            function = getattr(operation, "activation", None)
            if function is not None:
                return function.__name__
            return probability_of(operation)
    return None


def _first(x, *args, **kwargs):
    return x
