"""What does a step of the freeze phase cost next to a standard step?

Both train on the same batches by `fit`, in turns, and the ratio is taken within
each round. The gate branch adds a forward pass, of three such units of work in
a standard step: four thirds would be expected of a branch of the same speed.

    python benchmarks/two_phase.py --modes graph xla
    KERAS_BACKEND=jax python benchmarks/two_phase.py
"""

import argparse
import time

import keras
import numpy as np
import rich.console
import rich.table

import tf_genbounds as gb

SHAPE = (32, 32, 3)
# How each network pools: window, stride, padding.
MODELS = {"vgg": (2, 2, "valid"), "vgg overlapping": (3, 2, "same"), "mlp": None}


def build(pooling):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(SHAPE)])
    if pooling is None:
        model.add(keras.layers.Flatten())
        for _ in range(3):
            model.add(keras.layers.Dense(1024, activation="relu"))
    else:
        for filters in (32, 64, 128):
            for _ in range(2):
                model.add(keras.layers.Conv2D(filters, 3, padding="same"))
                model.add(keras.layers.BatchNormalization())
                model.add(keras.layers.ReLU())
            model.add(keras.layers.MaxPooling2D(*pooling))
        model.add(keras.layers.Flatten())
        model.add(keras.layers.Dense(256, activation="relu"))
    model.add(keras.layers.Dense(10))
    return model


def compiled(model, xla):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=xla)
    return model


def seconds(model, data, batch_size):
    start = time.perf_counter()
    model.fit(*data, batch_size=batch_size, shuffle=False, verbose=0)
    return (time.perf_counter() - start) / (len(data[0]) // batch_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    jax = keras.backend.backend() == "jax"
    modes = ["xla"] if jax else ["graph", "xla"]
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--modes", nargs="+", default=modes, choices=modes)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=8, help="in each round")
    arguments = parser.parse_args()

    rng = np.random.default_rng(0)
    size = arguments.batch_size * arguments.steps
    x = rng.normal(size=(size, *SHAPE)).astype("float32")
    data = x, rng.integers(10, size=size)
    table = rich.table.Table(
        title=f"freeze step over standard step, {keras.backend.backend()}"
    )
    for column in ("model", "mode", "standard ms", "freeze ms", "ratio", "quartiles"):
        table.add_column(column)
    for name in arguments.models:
        for mode in arguments.modes:
            model = build(MODELS[name])
            frozen = gb.two_phase.freeze_activation_pattern(model)
            pair = [compiled(m, mode == "xla") for m in (model, frozen)]
            for each in pair:  # Traces and compiles.
                seconds(each, data, arguments.batch_size)
            times = np.array(
                [
                    [seconds(each, data, arguments.batch_size) for each in pair]
                    for _ in range(arguments.rounds)
                ]
            )
            ratios = times[:, 1] / times[:, 0]
            low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
            table.add_row(
                name,
                mode,
                *(f"{1000 * t:.1f}" for t in np.median(times, axis=0)),
                f"{middle:.3f}",
                f"{low:.3f} - {high:.3f}",
            )
    rich.console.Console(width=100).print(table)


if __name__ == "__main__":
    main()
