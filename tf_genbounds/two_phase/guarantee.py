"""The bound that a frozen activation pattern buys."""

import dataclasses
import hashlib

import keras
import numpy as np

from tf_genbounds import backend
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.data_independent import data_independent_bound
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.rounding import at_most
from tf_genbounds.data.batches import class_indices
from tf_genbounds.functional.margins import margins
from tf_genbounds.layers import gates
from tf_genbounds.network.model import functional_graph
from tf_genbounds.two_phase.logits import end_of
from tf_genbounds.two_phase.logits import logits_of
from tf_genbounds.two_phase.logits import outputs_of
from tf_genbounds.two_phase.path_pass import path_operations
from tf_genbounds.two_phase.paths import path_feature_norms
from tf_genbounds.two_phase.paths import path_weight_norms

# Of the norms, above what float32 may lose in some hundred layers.
_ROUNDING = 1e-4


def bound(model, x, y, *, assumptions, delta, constant, output, batch_size):
    """Applies the data-independent bound: see `TwoPhaseTraining.bound`.

    Args:
        assumptions: Tuple of `Assumption`s on where the gates come from.
    """
    _check_float32(model)
    options = {"output": output, "batch_size": batch_size}
    with backend.full_precision():
        found, differing = _margins(model, x, y, options)
        features = path_feature_norms(model, x, **options)
        weights = path_weight_norms(model, output=output)
    features *= 1 + _ROUNDING
    norm = float(np.max(weights)) * (1 + _ROUNDING)
    # One bound for each margin of the grid; all of them hold at once. Margins
    # that most samples miss could win only where every bound is vacuous, and
    # would hide how far it is from one that is not.
    error = float(np.mean(~(found > 0)))
    candidates = (
        data_independent_bound(
            found,
            margin=2.0**exponent,
            weight_norm=norm,
            num_classes=len(weights),
            feature_norms=features,
            delta=delta,
            constant=constant,
        )
        for exponent in range(-40, 41)
    )
    best = min(
        (each for each in candidates if each.empirical <= max(error, 0.5)),
        key=lambda each: each.value,
    )
    rule = "the largest logit" if len(weights) > 1 else "the sign of the logit"
    return dataclasses.replace(
        best,
        quantity=f"the 0-1 risk of {rule}, ties wrong,",
        assumptions=(
            IID,
            *assumptions,
            Assumption(
                "what float32 (with TF32 off) rounds in the network changes no decision"
            ),
            _decision(end_of(model, output), differing),
            Assumption.of(
                "the path weights of each class have a norm of at most "
                f"{at_most(norm)}",
                bool(np.isfinite(norm)),
            ),
            Assumption(
                "margin and norm lie on a grid fixed in advance, which is paid for",
                "checked",
            ),
        ),
    )


def _margins(model, x, y, options):
    """Returns the margins of the logits, and how often `predict` decides otherwise."""
    logits = logits_of(model, x, **options)
    if logits.ndim != 2:
        raise ValueError(
            "The bound needs an output of shape (samples, classes). "
            f"Received: output shape {(None, *logits.shape[1:])}"
        )
    labels = class_indices(y, logits.shape[1])
    outputs = outputs_of(model, x, **options)
    found, decided = (
        keras.ops.convert_to_numpy(margins(scores, labels))
        for scores in (logits, outputs)
    )
    # A rounded or saturated end makes ties of what the logits tell apart.
    return found, int(np.sum((found > 0) != (decided > 0)))


def _decision(end, differing):
    text = "what `predict` returns decides as the logits do"
    if end is not None:
        text = f"what `predict` returns, the {end}, decides as the logits do"
    if differing:
        return Assumption(f"{text} (on {differing:,} samples it does not)", "failed")
    # Without an end they are the logits; an end may still round other inputs.
    return Assumption(text, "checked" if end is None else "unchecked")


def _check_float32(model):
    """Refuses a model that does not compute what the bound counts."""
    for operation in functional_graph(model).operations:
        policy = getattr(operation, "dtype_policy", None)
        if isinstance(operation, keras.layers.InputLayer) or policy is None:
            dtypes = [operation.dtype] if type(operation).__name__ == "Cast" else []
        else:
            dtypes = [policy.compute_dtype, policy.variable_dtype]
        if any(dtype != "float32" for dtype in dtypes):
            raise ValueError(
                "The bound is of a model in float32, and another dtype would decide "
                "differently: build the model under the policy float32, and set the "
                f"weights. Received: layer {operation.name!r} with dtype {dtypes[0]}"
            )


def gate_digest(model):
    """Hash of all weights that decide the activation pattern."""
    functional = functional_graph(model)
    on_path = path_operations(functional.outputs)
    digest = hashlib.blake2b(digest_size=16)
    for operation in functional.operations:
        if operation not in on_path or isinstance(operation, gates.PReLUGate):
            for array in getattr(operation, "get_weights", list)():
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
