"""Whether a model is a function of one example, whatever else is in the batch.

Risk is about one example at a time. A model that looks at the other examples of a
batch has none, and what it gets right may be right for their sake.
"""

import keras
import numpy as np

from tf_genbounds.keras_internals import layers_in
from tf_genbounds.network import taps

# How many samples are predicted in another order, and one by one.
_COMPARED = 32
_SINGLE = 8
# Of the largest output: what another order of the sums, or another compiler, may change
# in the coarsest type that a layer computes in.
_TOLERANCES = {"float16": 8e-3, "bfloat16": 6e-2}
_TOLERANCE = 1e-4
# What `keras.ops` do without an axis to all entries at once; classes by name, which
# are not public.
_OVER_ALL = {
    "All", "Amax", "Amin", "Any", "Argmax", "Argmin", "Average", "CountNonzero",
    "Cumprod", "Cumsum", "Logsumexp", "Max", "Mean", "Median", "Min", "Norm", "Prod",
    "Quantile", "Ravel", "Repeat", "Roll", "Std", "Sum", "Take", "Var",
}  # fmt: skip
_AXES = ("axis", "axes", "axis1", "axis2", "source", "destination")


def mixes_examples(call):
    """Whether an operation can be seen to work along the batch axis.

    Args:
        call: `taps.Call`.
    """
    operation = call.operation
    if isinstance(
        operation, (keras.layers.BatchNormalization, keras.layers.Normalization)
    ):
        return False  # By stored statistics: the axes only say of what.
    if not call.inputs or isinstance(operation, keras.layers.Dot):
        return False  # `Dot` refuses the batch axis by itself.
    kind = type(operation).__name__
    if not isinstance(operation, keras.Layer):
        if kind == "Transpose" and not operation.axes:
            return len(call.inputs[0].shape) > 1
        if kind == "Transpose":
            return operation.axes[0] != 0
        if kind in _OVER_ALL and getattr(operation, "axis", None) is None:
            return True
    # `ExpandDims` and `Stack` count the axes of what they return.
    of = call.outputs if kind in ("ExpandDims", "Stack") else call.inputs
    rank = len(of[0].shape)
    axes = [getattr(operation, name, None) for name in _AXES]
    flat = [a for a in keras.tree.flatten(axes) if isinstance(a, (int, np.integer))]
    return any(axis % max(rank, 1) == 0 for axis in flat)


def check_example_wise(network, batch):
    """Refuses a model whose output for an example depends on the others.

    What its graph shows is refused for certain. For the rest some samples are
    predicted in another order, and one by one.

    Args:
        network: `Network`.
        batch: `Batch`.

    Returns:
        Integer, the number of samples that were compared.

    Raises:
        ValueError: If it does, or if its predictions are random or have a memory.
    """
    model = network.model
    if network.mixing:
        raise ValueError(
            f"The operation {network.mixing[0]!r} works along the batch axis. A "
            "statement about unseen examples needs a model that decides each by "
            f"itself. Received: model={model.name!r}"
        )
    for layer in taps.operations(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"The layer {layer.name!r} carries a state from batch to batch. A "
                "statement about unseen examples needs a model that decides each by "
                f"itself. Received: model={model.name!r}"
            )
    count = min(batch.count, _COMPARED)
    order = np.arange(len(batch))
    order[:count] = order[:count][::-1]
    order[count:] = 0
    expected = _predict(model, batch.x)
    _compare(model, expected[order], _predict(model, _rows(batch.x, order)))
    if all(t.shape[0] is None for t in getattr(model, "inputs", None) or ()):
        single = np.linspace(0, count - 1, min(count, _SINGLE)).astype(int)
        found = [_flat(model(_rows(batch.x, [i]), training=False)) for i in single]
        _compare(model, expected[single], np.concatenate(found))
    return count


def _predict(model, x):
    return _flat(model.predict_on_batch(x))


def _flat(outputs):
    """All outputs of each example, a row each."""
    parts = [
        keras.ops.convert_to_numpy(t).astype("float64")
        for t in keras.tree.flatten(outputs)
    ]
    if any(part.ndim == 0 or len(part) != len(parts[0]) for part in parts):
        raise ValueError(
            "Each output must have a row for each example. Received: outputs of "
            f"shape {[part.shape for part in parts]}"
        )
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _rows(x, index):
    return keras.tree.map_structure(lambda a: a[index], x)


def _compare(model, expected, found):
    scale = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
    dtypes = {layer.compute_dtype for layer in layers_in(model)}
    tolerance = max(_TOLERANCES.get(dtype, _TOLERANCE) for dtype in dtypes)
    if expected.shape == found.shape and np.allclose(
        found, expected, rtol=0, atol=tolerance * scale, equal_nan=True
    ):
        return
    raise ValueError(
        "The model's output for an example changes with the rest of the batch, or "
        "from call to call. A statement about unseen examples needs a model that "
        f"decides each by itself. Received: model={model.name!r}"
    )
