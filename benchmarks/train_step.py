"""What do DARC and live stable ranks add to the time of a training step?

Every variant of a model takes turns in one process, in random order, and is
compared with the plain step of the same round: a slow moment of the machine
hits them alike. The table has the median and the quartiles of these ratios.

    python benchmarks/train_step.py --models mlp vgg --modes graph xla
"""

import argparse
import random
import time

import keras
import numpy as np
import rich.console
import rich.table
import tensorflow as tf

import tf_genbounds as gb

CLASSES = 10
SHAPE = (32, 32, 3)


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


# What differs from the plain model: `loss` and `metrics` of compile, the
# `regularizer` of the last layer, and a `layer` after it. Each is built anew
# for each model, hence the functions.
VARIANTS = {
    "plain": lambda: {},
    "plain again (noise)": lambda: {},
    "DARC1 loss": lambda: {"loss": gb.losses.DARC1(cross_entropy())},
    "DARC1 regularizer": lambda: {"regularizer": gb.regularizers.DARC1()},
    "DARC1 layer": lambda: {"layer": gb.layers.DARC1Regularization()},
    "DARC loss, 8 draws": lambda: {"loss": gb.losses.DARC(cross_entropy())},
    "DARC1Penalty metric": lambda: {"metrics": [gb.metrics.DARC1Penalty()]},
    "StableRank": lambda: {"metrics": [gb.metrics.StableRank()]},
    # Its step in ten is seen with `--steps 10`, as the mean of the ten.
    "StableRank, every=10": lambda: {"metrics": [gb.metrics.StableRank(every=10)]},
}


def mlp(x):
    x = keras.layers.Flatten()(x)
    for _ in range(3):
        x = keras.layers.Dense(1024, activation="relu")(x)
    return x


def vgg(x):
    for filters in (32, 64, 128):
        for _ in range(2):
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    return keras.layers.Dense(256, activation="relu")(keras.layers.Flatten()(x))


BODIES = {"mlp": mlp, "vgg": vgg}


def training_step(body, xla, loss=None, regularizer=None, layer=None, metrics=()):
    """A function of an iterator of batches, which trains for one step."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    outputs = keras.layers.Dense(CLASSES, activity_regularizer=regularizer)(
        body(inputs)
    )
    model = keras.Model(inputs, layer(outputs) if layer else outputs)
    model.compile(
        "sgd", loss or cross_entropy(), metrics=list(metrics), jit_compile=xla
    )
    # Builds the metrics of weights, which make states for each layer.
    model.train_on_batch(np.zeros((1, *SHAPE)), np.zeros(1))
    return model.train_function


def batches(size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, *SHAPE)).astype("float32")
    y = rng.integers(CLASSES, size=size)
    return iter(tf.data.Dataset.from_tensors((x, y)).repeat())


def seconds(step, data, steps):
    start = time.perf_counter()
    for _ in range(steps):
        step(data)
    return (time.perf_counter() - start) / steps


def measure(body, xla, arguments):
    """Seconds for a step, an array for each variant, an entry for each round."""
    data = batches(arguments.batch_size)
    steps = {
        name: training_step(body, xla, **variant())
        for name, variant in VARIANTS.items()
    }
    for step in steps.values():  # Traces and compiles.
        seconds(step, data, 3)
    times = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name in random.sample(list(steps), len(steps)):
            times[name].append(seconds(steps[name], data, arguments.steps))
    return {name: np.array(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(BODIES), choices=BODIES)
    modes = ["graph", "xla"]
    parser.add_argument("--modes", nargs="+", default=modes, choices=modes)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--steps", type=int, default=1, help="in each round")
    arguments = parser.parse_args()

    table = rich.table.Table(title="time of a training step over the plain step")
    for column in ("model", "mode", "variant", "ms", "ratio", "quartiles"):
        table.add_column(column)
    for name in arguments.models:
        for mode in arguments.modes:
            times = measure(BODIES[name], mode == "xla", arguments)
            for variant, values in times.items():
                ratios = values / times["plain"]
                low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
                table.add_row(
                    name,
                    mode,
                    variant,
                    f"{1000 * np.median(values):.1f}",
                    f"{middle:.3f}",
                    f"{low:.3f} - {high:.3f}",
                )
    rich.console.Console(width=100).print(table)


if __name__ == "__main__":
    main()
