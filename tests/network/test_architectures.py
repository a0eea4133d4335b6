"""Half of the families of `keras.applications`, at their smallest size.

`benchmarks/architectures.py` runs all of them, with every pair of layers.
"""

import keras
import numpy as np
import pytest

import tf_genbounds as gb
from tf_genbounds.network import Network

pytestmark = pytest.mark.slow

# Name, input size, whether every pair of layers is a cut, what is left out.
ARCHITECTURES = [
    ("VGG16", 32, True, set()),
    ("MobileNet", 32, True, set()),
    ("ResNet50", 32, False, set()),
    ("MobileNetV3Small", 32, False, set()),
    ("EfficientNetB0", 32, False, {"Normalization"}),
    ("Xception", 71, False, set()),
    ("ConvNeXtTiny", 32, False, {"LayerNormalization", "LayerScale"}),
]


@pytest.mark.parametrize("name, size, chain, left_out", ARCHITECTURES)
def test_architecture(name, size, chain, left_out):
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=7
    )
    generator = np.random.default_rng(0)
    x = generator.uniform(-1, 1, (2, size, size, 3)).astype("float32")
    network = Network.of(model)
    # Every layer with weights is measured, folded, or named with a reason.
    assert {r.split(" is ")[0] for r in network.unsupported.values()} == left_out
    leaves = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if layer.weights and not list(layer._flatten_layers(include_self=False))
    ]
    measured = {linear.layer for linear in network.maps.values()}
    folded = {linear.batch_norm for linear in network.maps.values()}
    for layer in leaves:
        named = any(key.endswith(layer.name) for key in network.unsupported)
        assert layer in measured | folded or named, layer.name
    assert all(pair.cut for pair in network.pairs.values()) is chain

    names = list(network.maps)
    chosen = [names[0], names[len(names) // 2], names[-1]]
    result = gb.measure(
        model,
        x,
        quantities=["layer_cushion", "interlayer_cushion"],
        layers=chosen,
        num_probes=8,
        verbose=0,
    )
    assert list(result.pairs) == [
        (chosen[0], chosen[1]), (chosen[0], chosen[2]), (chosen[1], chosen[2])
    ]  # fmt: skip
    for (source, target), cushion in result.interlayer_cushion.items():
        pixels = np.prod(result.layers[source].output_shape[:-1])
        assert 0 <= cushion <= np.sqrt(pixels), (source, target)
    # Seven classes take fewer vectors than the eight probes: these are exact.
    assert result.pairs[chosen[0], chosen[2]].num_probes is None
