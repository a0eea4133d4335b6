"""What do random projections cost, and compressed models?

First `matrix_project` of a large kernel, whose random matrices would not fit into
memory: time over the ideal, the multiply-adds at the rate of a large matrix product
in the same run, and how much the memory of the process grew. Then the size of
compressed models, and the time of `predict`, over the original's.
"""

import argparse
import resource
import time

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.table import Table

import tf_genbounds as gb
from tf_genbounds import backend
from tf_genbounds.compression import project

METHODS = ("quantize", "truncate_svd", "matrix_project", "filter_project")


def network():
    same = dict(padding="same", activation="relu")
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(32, 3, **same),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, **same),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(10),
        ]
    )


def seconds(function, rounds=3):
    """The shortest time of some calls, after one that compiles."""
    function()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def projection(side, count):
    """Projects a kernel, and back; prints times, ratios and memory."""
    a = keras.ops.convert_to_tensor(np.ones((2048, 2048), "float32"))
    product = backend.jit(lambda: keras.ops.sum(keras.ops.matmul(a, a)))
    rate = 2048**3 / seconds(lambda: float(product()))
    kernel = np.random.default_rng(0).normal(size=(side, side)).astype("float32")
    project(kernel, 8, seed=0).kernel()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = project(kernel, count, seed=0)
    there = time.perf_counter()
    found.kernel()
    back = time.perf_counter()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    ideal = side * side * count / rate
    print(
        f"matrix_project, {side} by {side}, k = {count:,}; {rate / 1e9:.1f} G "
        f"multiply-adds a second in a matrix product, ideal {ideal:.1f} s"
    )
    for name, elapsed in {"numbers": there - start, "kernel": back - there}.items():
        print(f"  {name}: {elapsed:.1f} s, {elapsed / ideal:.1f} times the ideal")
    stored = side * side * count * 4 / 2**30
    print(f"  memory grew by {grown:.0f} MiB; all signs: {stored:.0f} GiB\n")


def compressed(samples):
    """Compresses a network in every way; prints size and speed."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, size=samples)
    keras.utils.set_random_seed(0)
    model = network()

    def run(model):
        return seconds(lambda: model.predict(x, batch_size=64, verbose=0))

    original = run(model)
    numbers = model.count_params()
    table = Table("method", "numbers", "bits", "size", "predict, ratio", "compress, s")
    table.add_row("original", f"{numbers:,}", f"{32 * numbers:,}", "1", "1", "-")
    for method in METHODS:
        start = time.perf_counter()
        # Their time is proportional to numbers times kernel.
        options = {"keep": 0.0005} if "project" in method else {"keep": 0.25}
        found = gb.compress(model, (x, y), method, num_levels=15, **options)
        elapsed = time.perf_counter() - start
        table.add_row(
            method,
            f"{sum(array.numbers for array in found.arrays):,}",
            f"{found.certificate.bits:,}",
            f"{found.certificate.bits / (32 * numbers):.4f}",
            f"{run(found.model) / original:.2f}",
            f"{elapsed:.1f}",
        )
    Console(width=100).print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--samples", type=int, default=256)
    options = parser.parse_args()
    projection(options.side, options.count)
    compressed(options.samples)


if __name__ == "__main__":
    main()
