"""Can the layers tell real labels from random ones?

Trains the same network twice on the digits, with the true labels and with
labels drawn at random, and watches the layer cushions and stable ranks while
it learns. Both runs fit their training data if they have epochs enough; only
one of them can generalize.

    python examples/random_labels.py --epochs 60
"""

import argparse

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import tf_genbounds as gb


def network():
    dense = keras.layers.Dense
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            dense(256, activation="relu", name="first"),
            dense(256, activation="relu", name="second"),
            dense(10, name="logits"),
        ]
    )


def train(x, y, epochs, seed):
    """Returns the history of a run: losses, errors, cushions and ranks."""
    keras.utils.set_random_seed(seed)
    model = network()
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    monitor = gb.callbacks.GeneralizationMonitor(
        (x, y), metrics=["stable_rank", "layer_cushion", "margin"]
    )
    return model.fit(
        x, y, epochs=epochs, batch_size=64, verbose=0, callbacks=[monitor]
    ).history


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--samples", type=int, default=1437)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    x, y = gb.data.load("digits", f"train[:{options.samples}]")
    random = np.random.default_rng(options.seed).integers(0, 10, len(y))
    true, shuffled = (
        train(x, labels, options.epochs, options.seed) for labels in (y, random)
    )
    table = Table("after the last epoch", "true labels", "random labels")
    for key in true:
        table.add_row(key, f"{true[key][-1]:.4f}", f"{shuffled[key][-1]:.4f}")
    Console().print(table)
    larger = sum(
        true[key][-1] > shuffled[key][-1]
        for key in true
        if key.startswith("layer_cushion/")
    )
    print(f"The layer cushion is larger with true labels in {larger} of 3 layers.")


if __name__ == "__main__":
    main()
