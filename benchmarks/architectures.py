"""Measures the architectures of `keras.applications`, and says what is left out.

    python benchmarks/architectures.py            one of each family
    python benchmarks/architectures.py --all      every one
    python benchmarks/architectures.py VGG16 ResNet50

Random weights, the smallest input size, one sample. A row says how many linear
maps and pairs of them were measured, what was not and why, and the seconds.
The exit status is the number of architectures that failed.
"""

import argparse
import inspect
import sys
import time

import keras
import numpy as np

import tf_genbounds as gb

FAMILIES = [
    "VGG16",
    "ResNet50",
    "ResNet50V2",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "Xception",
    "InceptionV3",
    "InceptionResNetV2",
    "NASNetMobile",
    "ConvNeXtTiny",
]
SIZES = (32, 71, 75, 224)  # What is the smallest differs.


def names():
    """Every architecture that Keras has."""
    return [
        name
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value)
    ]


def build(name):
    """Builds an architecture at its smallest size, with random weights."""
    constructor = getattr(keras.applications, name)
    for size in SIZES:
        try:
            return constructor(weights=None, input_shape=(size, size, 3), classes=10)
        except ValueError as error:
            failure = error
    raise failure


def randomize(model, seed=0):
    """Gives batch norms the statistics of random data, so that nothing dies."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith("moving_variance"):
            weight.assign(generator.uniform(0.5, 2.0, weight.shape))
        elif weight.path.endswith("moving_mean"):
            weight.assign(generator.normal(0, 0.1, weight.shape))


def run(name, quantities):
    """Measures one architecture; returns what the row says."""
    model = build(name)
    randomize(model)
    x = np.random.default_rng(0).uniform(-1, 1, (1, *model.input_shape[1:]))
    start = time.perf_counter()
    result = gb.measure(
        model,
        x.astype("float32"),
        quantities=quantities,
        num_probes=2,
        num_draws=1,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    missing = [
        layer.name
        for layer in model._flatten_layers(include_self=False)
        if layer.weights
        and not list(layer._flatten_layers(include_self=False))
        and layer.name not in result.layers
        and not any(name.endswith(layer.name) for name in result.unsupported)
        and not isinstance(layer, keras.layers.BatchNormalization)
    ]
    broken = [
        pair for pair, value in result.interlayer_cushion.items() if np.isnan(value)
    ]
    return result, seconds, missing, broken


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--quantities", nargs="*")
    args = parser.parse_args()
    failures = 0
    print(f"{'':20}{'maps':>6}{'pairs':>7}{'cuts':>6}{'seconds':>9}  left out")
    for name in args.names or (names() if args.all else FAMILIES):
        keras.utils.clear_session()
        try:
            result, seconds, missing, broken = run(name, args.quantities)
        except Exception as error:  # The row of a failure is a row, too.
            failures += 1
            print(f"{name:20} {type(error).__name__}: {str(error)[:300]}")
            continue
        cuts = sum(pair.cut for pair in result.pairs.values())
        reasons = {}
        for reason in result.unsupported.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        left_out = "; ".join(f"{n} x {reason}" for reason, n in reasons.items())
        print(
            f"{name:20}{len(result.layers):6}{len(result.pairs):7}{cuts:6}"
            f"{seconds:9.1f}  {left_out or 'nothing'}",
            flush=True,
        )
        if missing or broken:
            failures += 1
            print(f"{'':20} NOT MEASURED {missing}, NaN {broken[:5]}")
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
