"""What a reader of measured numbers must know, a sentence each."""

import math


def notes_of_biases(maps):
    """Yields which layers were measured without their bias."""
    biased = [name for name, linear in maps.items() if linear.layer.bias is not None]
    if biased:
        yield (
            "The theorems are about layers without biases; of these the kernel "
            f"alone was measured: {', '.join(biased)}."
        )


def notes_of_layers(layers):
    """Yields which layers are dead."""
    dead = [name for name, layer in layers.items() if layer.layer_cushion == math.inf]
    if dead:
        yield (
            "These layers are dead: their kernel, or their input for every sample, "
            "is 0. Their cushion is inf, so that they seem to need no parameters: "
            f"{', '.join(dead)}."
        )


def notes_of_probes(pairs):
    """Yields how many interlayer cushions are estimates."""
    counts = [pair.num_probes for pair in pairs.values() if pair.num_probes]
    if counts:
        yield (
            f"{len(counts)} of {len(pairs)} pairs of layers have a Jacobian whose "
            f"norm was estimated from {counts[0]} random vectors. The least of such "
            "cushions may be too large (3 to 4 % were seen with 16 vectors) as well "
            "as too small; with `exact=True` it is neither."
        )
