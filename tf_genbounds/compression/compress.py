"""`compress`: a smaller model, its code, and a certificate."""

import warnings
from typing import Any

import keras
import numpy as np

from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_num_levels
from tf_genbounds.compression.certificate.certify import certify
from tf_genbounds.compression.certificate.certify import check_choice_of_architecture
from tf_genbounds.compression.certificate.compressed import Compressed
from tf_genbounds.compression.codes import weight_code
from tf_genbounds.compression.forms import forms
from tf_genbounds.compression.forms.compact_model import CompactModel
from tf_genbounds.compression.forms.compact_model import compactable
from tf_genbounds.compression.forms.rebuilding import derived_from
from tf_genbounds.compression.forms.rebuilding import float32_copy
from tf_genbounds.compression.search import Goal
from tf_genbounds.compression.search import search_levels
from tf_genbounds.data.batches import batches
from tf_genbounds.data.batches import has_labels
from tf_genbounds.measure.measure import measure
from tf_genbounds.measure.measurer import Measurer
from tf_genbounds.network.initial_weights import initial_values

METHODS = {
    "quantize": forms.Plain,
    "truncate_svd": forms.LowRank,
    "matrix_project": forms.Projected,
    "filter_project": forms.FilterProjected,
}
# By how much the error may rise where nothing can be proved.
_TOLERANCE = 0.01


def compress(
    model: keras.Model,
    data: Any,
    method: Any = "quantize",
    *,
    delta: float = 0.05,
    keep: float = 0.5,
    num_levels: Any = None,
    budget: float | None = None,
    tolerance: float | None = None,
    initial_weights: Any = None,
    seed: int = 0,
    choice: tuple[int, int] = (0, 1),
    threshold: float | None = None,
    search_samples: int = 2000,
    batch_size: int = 128,
) -> Compressed:
    """Compresses a model, and certifies what comes out.

    The weights are rounded to few levels, which an adaptive arithmetic code
    writes; with methods other than `"quantize"` the layers are made compact
    before. What is returned was decoded from the code word, and the
    certificate is of that model: see `compression.Certificate`.

    How many levels an array of weights gets is found by a greedy search for the
    least certificate, or for the fewest bits within `tolerance`, or for few
    errors within `budget`. Where no certificate says anything, errors are not traded
    for bits: then it is the fewest bits within a tolerance of 0.01. Which array
    becomes coarser next is decided by the layer cushions, which predict what a layer
    bears. All of this is free: the certificate counts what the decoder needs, and
    that is in the code. So the best of several methods and settings may be taken.
    What is not in the code is not free: of several architectures, seeds or initial
    weights the best one has to be named in the code; see `choice`.

    Args:
        model: A built Functional or Sequential model, a classifier.
        data: The sample with labels, in any form that `measure` takes: the one
            that the model was trained on, or another.
        method: `"quantize"`; `"truncate_svd"`: Dense and convolution layers
            become two layers of few units between them; `"matrix_project"`: they
            store inner products with random matrices; `"filter_project"`: so do
            convolutions, with other errors at each position, and slowly (other
            layers as in `"matrix_project"`). Or a dict of these by layer name, for
            layers that get another than `"quantize"`.
        delta: Float in (0, 1), the failure probability of the certificate.
        keep: Float in (0, 1], which share of a layer's numbers the other
            methods keep. A layer that would not become smaller stays as it is;
            `Compressed.layers` tells.
        num_levels: Odd integer, the levels of every array, or `"float16"`, in
            place of the search. The statistics of `Normalization` are exact.
        budget: Bits at most, or a float below 1: a share of 32 bits a weight.
        tolerance: Float, how much the error on the search samples may rise.
        initial_weights: As for `measure`: what the weights were before training,
            independent of the sample. The difference is coded (`"quantize"`
            only).
        seed: Integer, of the random matrices, fixed before the sample.
        choice: Pair of integers `(index, count)`: this architecture (or seed, or
            preprocessing) is one of `count` that were listed before the sample,
            and was chosen by it. The code says which, for `log2(count)` bits.
        threshold: Float, for a model with one output whose end does not say which
            values mean class 1, see `measure`.
        search_samples: Integer, how many samples the search looks at.
        batch_size: Integer, for arrays.

    Returns:
        `compression.Compressed`.

    Raises:
        ValueError: If an argument is out of range, the data has no labels or
            the weights are not finite.
        TypeError: If the model is of another kind.

    Warns:
        UserWarning: If `budget` or `tolerance` cannot be kept.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model.layers[0].set_weights([np.eye(2), np.zeros(2)])
    >>> found = compress(model, (x, (x[:, 1] > x[:, 0]).astype(int)))
    >>> found.certificate.train_error, len(found.code) == found.certificate.bits
    (0.0, True)
    >>> found.certificate.value < 0.4
    True

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296)
        - [Langford, 2005](https://jmlr.org/papers/v6/langford05a.html)
    """
    _check(delta, keep, num_levels, budget, tolerance)
    check_choice_of_architecture(choice)
    model = float32_copy(model)  # Refuses what cannot be rebuilt.
    if not has_labels(data):
        raise ValueError(
            "A certificate counts errors: pass data with labels, `(x, y)`. "
            "Received: data without labels"
        )
    methods = _methods(model, method)
    if initial_weights is not None and {*methods.values()} - {"quantize"}:
        raise ValueError(
            "`initial_weights` go with quantization: other methods change the "
            f"weights. Received: method={method!r}"
        )
    compact = CompactModel(
        model,
        [METHODS[name].of(layer, keep) for layer, name in methods.items()],
        seed,
    )
    compact.fill()
    initial = _initial(model, initial_weights)
    arrays = [np.asarray(w, "float32") for w in compact.copy.get_weights()]
    if initial is not None:
        arrays = [a - b for a, b in zip(arrays, initial, strict=True)]
    if num_levels is not None:
        derived = _derived(compact.copy)
        coded = [
            weight_code.exact(a) if i in derived else _coded(a, num_levels)
            for i, a in enumerate(arrays)
        ]
    else:
        if budget is not None and budget < 1:
            budget = budget * 32 * sum(a.size for a in arrays)
        coded = _search(
            compact, arrays, initial, data, search_samples, batch_size,
            delta, budget, tolerance, threshold,
        )  # fmt: skip
    return certify(
        compact,
        coded,
        data,
        delta=delta,
        initial=initial,
        batch_size=batch_size,
        choice=choice,
        threshold=threshold,
    )


def _coded(array, num_levels):
    if num_levels == "float16":
        return weight_code.half(array)
    return weight_code.levels(array, num_levels // 2)


def _derived(model):
    """Which weights, by index, a layer derives a state from: they are not rounded.

    Such statistics differ in scale within an array, and a compiled trial would not
    see them change.
    """
    derived = derived_from(model)
    return {i for i, weight in enumerate(model.weights) if id(weight) in derived}


def _methods(model, method):
    """Returns the method of each layer that has compact forms."""
    layers = compactable(model)
    if not isinstance(method, dict):
        check_choice("method", method, METHODS)
        return dict.fromkeys(layers, method)
    for name, each in method.items():
        check_choice("layer", name, [layer.name for layer in layers])
        check_choice("method", each, METHODS)
    return {layer: method.get(layer.name, "quantize") for layer in layers}


def _search(
    compact,
    arrays,
    initial,
    data,
    samples,
    batch_size,
    delta,
    budget,
    tolerance,
    threshold,
):
    """Finds the levels, with trials in the compact model."""
    copy = compact.copy
    cushions = measure(
        compact.model,
        data,
        quantities=["layer_cushion"],
        num_samples=min(samples, 256),
        batch_size=batch_size,
        verbose=0,
    ).layers
    sensitivity = []
    for variable in copy.weights:
        # Two layers in the place of one carry its name too.
        parts = [cushions.get(part) for part in variable.path.split("/")]
        cushion = next((part.layer_cushion for part in parts if part), None)
        sensitivity.append(1 / cushion if cushion else 1.0)
    measurer = Measurer(copy, quantities=["margins"], threshold=threshold)
    before = copy.get_weights()

    def evaluate(values):
        if initial is not None:
            values = [a + b for a, b in zip(initial, values, strict=True)]
        copy.set_weights(values)  # What a state derives from is as it was.
        found = measurer(data, num_samples=samples, batch_size=batch_size)
        return found.train_error

    count = sum(b.count for b in batches(data, batch_size=batch_size))
    error = evaluate(arrays)
    exact = _derived(copy)
    goal = Goal(count, delta, budget, tolerance, error)
    try:
        found = search_levels(arrays, sensitivity, evaluate, goal, exact)
        if budget is None and tolerance is None and not goal.proved:
            tolerated = Goal(count, delta, None, _TOLERANCE, error)
            found = search_levels(arrays, sensitivity, evaluate, tolerated, exact)
    finally:
        copy.set_weights(before)
    if not goal.kept:
        warnings.warn(
            "No setting of the levels keeps to the goal. Received: "
            f"budget={budget}, tolerance={tolerance}",
            stacklevel=3,
        )
    return found


def _initial(model, weights):
    if weights is None:
        return None
    values = dict(
        zip(map(id, model.variables), initial_values(model, weights), strict=True)
    )
    return [
        keras.ops.convert_to_numpy(values[id(w)]).astype("float32")
        for w in model.weights
    ]


def _check(delta, keep, num_levels, budget, tolerance):
    check_delta(delta)
    if not 0 < keep <= 1:
        raise ValueError(f"`keep` must lie in (0, 1]. Received: keep={keep}")
    if num_levels not in (None, "float16"):
        check_num_levels("num_levels", num_levels)
    if sum(option is not None for option in (num_levels, budget, tolerance)) > 1:
        raise ValueError(
            "Pass at most one of `num_levels`, `budget` and `tolerance`. Received: "
            f"num_levels={num_levels}, budget={budget}, tolerance={tolerance}"
        )
    if budget is not None and not budget > 0:
        raise ValueError(f"`budget` must be positive. Received: budget={budget}")
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(
            f"`tolerance` must not be negative. Received: tolerance={tolerance}"
        )
