"""The bound that a frozen activation pattern buys."""

import dataclasses
import hashlib

import numpy as np

from tf_genbounds import gates
from tf_genbounds.bounds.complexity import Assumption
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.data_independent import data_independent_bound
from tf_genbounds.functional.path_pass import path_operations
from tf_genbounds.functional.paths import path_feature_norms
from tf_genbounds.functional.paths import path_weight_norms
from tf_genbounds.measure import measure
from tf_genbounds.piecewise_linear import graph

# Of the norms, above what float32 may lose in some hundred layers.
_ROUNDING = 1e-4


def bound(
    model,
    x,
    y,
    *,
    gates_are_frozen,
    disjoint,
    delta,
    constant,
    output,
    batch_size,
):
    """Applies the data-independent bound: see `TwoPhaseTraining.bound`."""
    margins = measure(
        model,
        (x, y),
        quantities=["margins"],
        output=output,
        batch_size=batch_size,
        verbose=0,
    ).margins
    features = path_feature_norms(model, x, output=output, batch_size=batch_size)
    features *= 1 + _ROUNDING
    weights = path_weight_norms(model, output=output)
    norm = float(np.max(weights)) * (1 + _ROUNDING)
    # One bound for each margin of the grid; all of them hold at once. Margins
    # that most samples miss could win only where every bound is vacuous, and
    # would hide how far it is from one that is not.
    error = float(np.mean(~(margins > 0)))
    candidates = (
        data_independent_bound(
            margins,
            margin=2.0**exponent,
            weight_norm=norm,
            num_classes=len(weights),
            feature_norms=features,
            delta=delta,
            constant=constant,
        )
        for exponent in range(-40, 41)
    )
    found = min(
        (each for each in candidates if each.empirical <= max(error, 0.5)),
        key=lambda each: each.value,
    )
    assumptions = (
        IID,
        Assumption(
            "preprocessing, architecture and hyper-parameters do not depend on "
            "the samples of the freeze phase"
        ),
        Assumption("what float32 rounds in the network changes no decision"),
        Assumption.of(
            f"the path weights of each class have a norm of at most {norm:g}",
            bool(np.isfinite(norm)),
        ),
        Assumption(
            "margin and norm lie on a grid fixed in advance, which is paid for",
            "checked",
        ),
        Assumption.of(
            "the gates are those of the end of the standard phase", gates_are_frozen
        ),
        Assumption.of("no sample of the standard phase is counted", disjoint),
    )
    return dataclasses.replace(found, assumptions=assumptions)


def gate_digest(model):
    """Hash of all weights that decide the activation pattern."""
    functional = graph(model)
    on_path = path_operations(functional.outputs)
    digest = hashlib.blake2b(digest_size=16)
    for operation in functional.operations:
        if operation not in on_path or isinstance(operation, gates.PReLUGate):
            for array in getattr(operation, "get_weights", list)():
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
