"""Which pre-activation reaches which, and past what: cuts and normalizations.

Read off the backend's own record of the computation, not off the layers, so
that a `+` in the `call` of a subclassed model counts like an `Add` layer.
"""

import dataclasses

import keras

from tf_genbounds import backend


@dataclasses.dataclass(frozen=True)
class Pair:
    """How the pre-activation of one linear map reaches that of another.

    Attributes:
        source: Name of the earlier map, `i`.
        target: Name of the later map, `j`.
        cut: Whether every path from the model's inputs to `x^j` goes through
            `x^i`, so that `x^j` is a function of `x^i` alone.
        normalized: Whether every path from `x^i` to `x^j` goes through a
            layer that normalizes each example.
    """

    source: str
    target: str
    cut: bool
    normalized: bool


def find_pairs(network):
    """Finds the pairs of linear maps of which the first reaches the second.

    Args:
        network: `Network`.

    Returns:
        Dict from `(source, target)` to `Pair`, in the order of the targets.
    """
    maps = list(network.maps.values())
    marked = [linear.tap for linear in maps] + list(network.normalizations)

    def run(values, x, markers):
        # Adding a marker to a tensor shows where the tensor is in the record.
        perturb = {
            key: lambda inputs, x, marker=marker: marker
            for key, marker in zip(marked, markers, strict=True)
        }
        _, calls = network.run(values, x, perturb)
        return [calls[linear.tap].value for linear in maps]

    values = [keras.KerasTensor(v.shape, v.dtype) for v in network.model.variables]
    markers = [keras.KerasTensor((), "float32") for _ in marked]
    steps, arguments, results = backend.dependencies(
        run, values, network.inputs, markers
    )
    first = len(arguments) - len(markers)
    state = _follow(
        steps,
        arguments[len(values) : first],
        {t: i for i, t in enumerate(arguments[first:])},
        len(maps),
    )
    pairs = {}
    for j, result in enumerate(results):
        reached, bypassed, free = state[result]
        for i, source in enumerate(maps):
            if i != j and reached >> i & 1:
                pairs[source.name, maps[j].name] = Pair(
                    source=source.name,
                    target=maps[j].name,
                    cut=not bypassed >> i & 1,
                    normalized=not free >> i & 1,
                )
    return pairs


def pair_notes(pairs):
    """Yields what a reader of the interlayer numbers must know."""
    crossed = [names for names, pair in pairs.items() if not pair.cut]
    if crossed:
        yield (
            f"{len(crossed)} of {len(pairs)} pairs of layers have a path around "
            "the first: their interlayer numbers are outside the theorems "
            "(`pairs[i, j].cut` is False)."
        )
    normalized = {i: None for (i, _), pair in pairs.items() if pair.normalized}
    if normalized:
        yield (
            "Each example is normalized between these layers and a later one; "
            "the size of what is normalized is of (almost) no matter, so that "
            f"an interlayer cushion is (almost) 0: {', '.join(normalized)}."
        )


def _follow(steps, inputs, markers, num_taps):
    """Follows the computation, with a set of taps as bits, a bit for each.

    Returns:
        Dict from a tensor to `(reached, bypassed, free)`: the taps that reach
        it, those that some path from the inputs to it avoids, and those from
        which some path to it avoids every normalization.
    """
    everything = (1 << num_taps) - 1
    state = {t: (0, everything, 0) for t in inputs}
    nothing = (0, 0, 0)
    for sources, outputs in steps:
        reached = bypassed = free = 0
        for tensor in sources:
            before = state.get(tensor, nothing)
            reached |= before[0]
            bypassed |= before[1]
            free |= before[2]
        index = next((markers[t] for t in sources if t in markers), None)
        if index is not None and not reached | bypassed:
            # Something was done to the marker before it was added.
            markers |= dict.fromkeys(outputs, index)
            continue
        if index is not None and index >= num_taps:  # A normalization.
            free = 0
        elif index is not None:
            reached |= 1 << index
            bypassed &= ~(1 << index)
            free |= 1 << index
        for tensor in outputs:
            state[tensor] = (reached, bypassed, free)
    return state
