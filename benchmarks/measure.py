"""What does `measure` cost, next to `model.predict` on the same data?

Prints the ratio of their times, both warm, interleaved in one run, and the
peak memory that more data adds.
"""

import argparse
import statistics
import time
import tracemalloc

import keras
import numpy as np

from tf_genbounds.measure.measurer import Measurer
from tf_genbounds.measure.quantities import OF_SAMPLES


def mlp():
    dense = keras.layers.Dense
    return keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten()]
        + [dense(1024, activation="relu") for _ in range(3)]
        + [dense(10)]
    )


def vgg():
    stack = [keras.Input((32, 32, 3))]
    for filters in (32, 64, 128):
        for _ in range(2):
            stack += [
                keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
            ]
        stack.append(keras.layers.MaxPooling2D())
    stack += [keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential(stack)


MODELS = {"mlp": mlp, "vgg": vgg}


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    shape = (options.samples, 32, 32, 3)
    x = generator.normal(size=shape).astype("float32")
    y = generator.integers(0, 10, options.samples)
    print(f"backend {keras.backend.backend()}, {options.samples} samples")
    print("model  predict (s)  measure (s)  ratio  weights once (s)")
    for name in options.models:
        model = MODELS[name]()
        of_samples = Measurer(model, quantities=OF_SAMPLES)
        everything = Measurer(model)

        def predict(model=model):
            model.predict(x, batch_size=128, verbose=0)

        def measure(measurer=of_samples):
            measurer((x, y), batch_size=128)

        predict(), measure(), everything((x[:128], y[:128]))
        rounds = [(seconds(predict), seconds(measure)) for _ in range(options.rounds)]
        first, second = (statistics.median(t) for t in zip(*rounds, strict=True))
        ratio = statistics.median(b / a for a, b in rounds)
        # Cold power iterations, warm compilation.
        everything._weight_norms._vectors.clear()
        weights = seconds(lambda: everything((x[:128], y[:128])))
        print(f"{name:5}{first:13.3f}{second:13.3f}{ratio:7.2f}{weights:18.3f}")
        peaks = []
        for samples in (options.samples // 4, options.samples):
            tracemalloc.start()
            of_samples((x[:samples], y[:samples]), batch_size=128)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        print(
            f"      Python memory at its peak: {peaks[0] / 1e6:.1f} MB for a "
            f"quarter of the data, {peaks[1] / 1e6:.1f} MB for all of it"
        )


if __name__ == "__main__":
    main()
