"""From weights as they are written to the decoded model and its certificate."""

import numpy as np

from tf_genbounds.certificates import fingerprints
from tf_genbounds.compression.certificate.certificate import Certificate
from tf_genbounds.compression.certificate.compressed import CodedArray
from tf_genbounds.compression.certificate.compressed import Compressed
from tf_genbounds.compression.certificate.fixed import fixed_of
from tf_genbounds.compression.certificate.fixed import warn_of_numbers
from tf_genbounds.compression.codes import weight_code
from tf_genbounds.compression.codes.model_code import architecture_of
from tf_genbounds.compression.codes.model_code import decode
from tf_genbounds.compression.codes.model_code import encode
from tf_genbounds.compression.codes.model_code import encode_subspace
from tf_genbounds.compression.codes.model_code import names_of
from tf_genbounds.compression.codes.model_code import subspace_names
from tf_genbounds.data.repeats import warn_of_repeats
from tf_genbounds.measure.decision import count_errors


def certify(
    compact,
    coded,
    data,
    *,
    delta,
    initial=None,
    batch_size=128,
    choice=(0, 1),
    threshold=None,
):
    """Encodes, decodes, evaluates what was decoded, and certifies it."""
    check_choice_of_architecture(choice)
    code, items = encode(compact, coded, choice, difference=initial is not None)
    architecture = architecture_of(compact.model, compact.seed, num_choices=choice[1])
    decoded, _ = decode(architecture, code, initial)
    certificate = _certificate(
        decoded, architecture, code, items, data, delta, batch_size, threshold
    )
    arrays = []
    for name, label, before, after, array in zip(
        names_of(compact.copy),
        compact.labels(),
        compact.copy.get_weights(),
        decoded.get_weights(),
        coded,
        strict=True,
    ):
        norm = float(np.linalg.norm(before)) or 1.0
        arrays.append(
            CodedArray(
                name=name,
                method=f"{label}, {_levels(array)}",
                numbers=int(before.size),
                bits=items[name],
                relative_error=float(np.linalg.norm(after - before)) / norm,
            )
        )
    return Compressed(decoded, certificate, tuple(arrays), code, architecture, initial)


def certify_subspace(
    model,
    coded,
    origin,
    data,
    *,
    dimension,
    seed,
    delta,
    batch_size,
    choice,
    threshold=None,
):
    """The same for a vector in a subspace; see `compression.RandomSubspace`."""
    check_choice_of_architecture(choice)
    code, items = encode_subspace(model, dimension, coded, choice)
    architecture = architecture_of(model, seed, num_choices=choice[1])
    decoded, _ = decode(architecture, code, origin)
    arrays = tuple(
        CodedArray(
            name=name,
            method=f"{'vector' if name == 'subspace' else 'plain'}, {_levels(array)}",
            numbers=int(array.values().size),
            bits=items[name],
            relative_error=0.0,
        )
        for name, array in zip(subspace_names(model), coded, strict=True)
    )
    certificate = _certificate(
        decoded, architecture, code, items, data, delta, batch_size, threshold
    )
    return Compressed(decoded, certificate, arrays, code, architecture, origin)


def _certificate(
    decoded, architecture, code, items, data, delta, batch_size, threshold
):
    warn_of_numbers(architecture, stacklevel=4)
    warn_of_repeats(data, batch_size=batch_size, stacklevel=4)
    # By what the decoded model's `predict` says: a probability that is 1 in float32
    # decides nothing, whatever the logit behind it.
    count = count_errors(decoded, data, threshold=threshold, batch_size=batch_size)
    return Certificate(
        train_error=count.errors / count.num_samples,
        bits=len(code),
        num_samples=count.num_samples,
        delta=delta,
        items=items,
        fixed=fixed_of(architecture),
        decision=str(count.decision),
        num_compared=count.num_compared,
        threshold=threshold,
        fingerprints=fingerprints.of(decoded, data, batch_size),
    )


def check_choice_of_architecture(choice):
    """Refuses what is no `(index, count)`."""
    index, count = choice
    if not 0 <= index < count:
        raise ValueError(
            "`choice` must be a pair of an index and the length of the list. "
            f"Received: choice={choice}"
        )


def _levels(coded):
    if isinstance(coded, weight_code.Floats):
        return f"float{8 * np.dtype(coded.kind).itemsize}"
    return f"{2 * coded.end + 1} levels"
