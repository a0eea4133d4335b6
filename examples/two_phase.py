"""How much training does the activation pattern need?

Two-phase training uses a fraction `alpha` of the data to find the pattern of
active units, and the rest to train the path weights. This draws the ratio of
test accuracies, two-phase over ordinary training on all the data, against
`alpha`: the experiment of https://arxiv.org/abs/1710.05468. A control stops
after the first phase, and so shows what the second one adds.

    TFDS_DATA_DIR=... python examples/two_phase.py --samples 10000 --seeds 3

With `--data digits` it takes seconds.
"""

import argparse
import pathlib

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import tf_genbounds as gb


def network(shape, width):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(width, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(2 * width, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(8 * width, activation="relu"),
            layers.Dense(10),
        ]
    )


def compiled(thing):
    """Compiles a model or a `TwoPhaseTraining`."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    thing.compile("adam", loss, metrics=["accuracy"])
    return thing


def accuracy(model, test):
    return model.evaluate(*test, batch_size=500, verbose=0, return_dict=True)[
        "accuracy"
    ]


def run(train, test, alpha, seed, options):
    """Returns the test accuracies after both phases and after the first."""
    keras.utils.set_random_seed(seed)
    model = network(train[0].shape[1:], options.width)
    training = compiled(gb.two_phase.TwoPhaseTraining(model, alpha, seed=seed))
    training.fit(
        train,
        options.epochs if alpha > 0 else 0,
        options.epochs,
        batch_size=options.batch_size,
        verbose=0,
    )
    bound = training.bound() if alpha < 1 else None
    return accuracy(training.model, test), accuracy(compiled(model), test), bound


def shown(bound):
    """What is proved, rounded up, and what it is worth."""
    worth = " failed" * bool(bound.failed) or " vacuous" * bound.vacuous
    return gb.bounds.at_most(bound.value, digits=3) + worth


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="mnist", help="mnist, digits, cifar10, ...")
    parser.add_argument("--samples", type=int, default=10000, help="for training")
    parser.add_argument("--epochs", type=int, default=8, help="in each phase")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        *("--alphas", "-a"), type=float, nargs="+", default=[0, 0.05, 0.1, 0.25, 0.5]
    )
    parser.add_argument("--out", default="two-phase", help="folder of the plot")
    options = parser.parse_args(arguments)
    x, y = gb.data.load(options.data, "train")
    train = x[: options.samples], y[: options.samples]
    test = gb.data.load(options.data, "test")

    alphas = [*options.alphas, 1.0]  # The last is ordinary training.
    both, first = np.zeros((2, len(alphas), options.seeds))
    bounds = {}
    for j in range(options.seeds):
        for i, alpha in enumerate(alphas):
            both[i, j], first[i, j], bounds[alpha] = run(train, test, alpha, j, options)
            print(f"seed {j}, alpha {alpha:g}: test accuracy {both[i, j]:.4f}")
    table = Table(
        *("alpha", "test accuracy", "over base", "after phase 1", "over base", "bound"),
        title=f"Two-phase training on {options.data}, {len(train[0])} samples, "
        f"{options.epochs} epochs a phase, {options.seeds} seeds",
    )
    for i, alpha in enumerate(alphas):
        bound = bounds[alpha]
        table.add_row(
            f"{alpha:g}",
            *(
                f"{np.mean(values):.4f}"
                for values in (
                    both[i],
                    both[i] / both[-1],
                    first[i],
                    first[i] / both[-1],
                )
            ),
            "" if bound is None else shown(bound),
        )
    Console(width=100).print(table)
    plot(options, both[:-1] / both[-1], first[:-1] / both[-1])
    i = int(np.argmin(np.abs(np.array(options.alphas) - 0.1)))
    print(
        f"With {100 * options.alphas[i]:g} % of the data for the pattern, two-phase "
        f"training reaches {100 * np.mean(both[i] / both[-1]):.1f} % of the test "
        "accuracy of ordinary training on all of it."
    )


def plot(options, both, first):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots()
    for values, label in ((both, "two phases"), (first, "first phase alone")):
        axes.errorbar(
            options.alphas, values.mean(1), values.std(1), marker="o", label=label
        )
    axes.axhline(1, color="gray", linewidth=0.8)
    axes.set_xlabel("alpha, the share of the data for the activation pattern")
    axes.set_ylabel("test accuracy / that of ordinary training")
    axes.legend()
    figure.savefig(out / "two_phase.svg")


if __name__ == "__main__":
    main()
