"""Is a trained VGG more stable to noise than a random one?

Trains a small VGG on CIFAR-10 with its true labels and again with shuffled
ones, and measures both beside the network before training: figures 1 and 2
and table 1 of the compression paper (https://arxiv.org/abs/1802.05296).

    python examples/noise_stability_vgg.py --epochs 15 --out vgg

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
    """Three blocks of two convolutions, two dense layers, no biases."""
    layers = keras.layers
    stack = [keras.Input(shape)]
    for block in range(3):
        for index in range(2):
            name = f"conv{block + 1}{'ab'[index]}"
            stack += [
                layers.Conv2D(
                    width * 2**block, 3, padding="same", use_bias=False, name=name
                ),
                layers.BatchNormalization(momentum=0.9),
                layers.ReLU(),
            ]
        stack.append(layers.MaxPooling2D(padding="same"))
    stack += [
        layers.Flatten(),
        layers.Dense(4 * width, activation="relu", use_bias=False, name="hidden"),
        layers.Dense(10, use_bias=False, name="logits"),
    ]
    return keras.Sequential(stack)


def train(model, x, y, epochs):
    """Trains a model and returns its error on the training data."""
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(2e-3, max(1, epochs * len(x) // 128))
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, epochs=epochs, batch_size=128, verbose=2)
    return 1 - model.evaluate(x, y, batch_size=512, verbose=0)[1]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="cifar10", help="cifar10, digits, ...")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--samples", type=int, default=10000)
    parser.add_argument("--measured", type=int, default=64)
    parser.add_argument("--probes", type=int, default=16)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="noise-stability")
    options = parser.parse_args(arguments)
    x, y = gb.data.load(options.data, f"train[:{options.samples}]")
    shuffled = np.random.default_rng(options.seed).permutation(y)
    models, errors = {}, {}
    for label, labels in (("random", None), ("true", y), ("shuffled", shuffled)):
        # The same weights at the start, and the same batches.
        keras.utils.set_random_seed(options.seed)
        model = models[f"{label} labels" if labels is not None else label] = network(
            x.shape[1:], options.width
        )
        if labels is not None:
            errors[f"{label} labels"] = train(model, x, labels, options.epochs)
    part = x[: options.measured]
    stability = gb.experiments.noise_stability(
        models,
        part,
        num_samples=None,
        num_probes=options.probes,
        batch_size=options.measured,
    )
    attenuation = {
        label: gb.experiments.noise_attenuation(model, part, num_samples=None)
        for label, model in models.items()
    }
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    stability.plot().savefig(out / "figure2.svg")
    for label, result in attenuation.items():
        result.plot().savefig(out / f"figure1_{label.replace(' ', '_')}.svg")
    show(stability, attenuation, errors, Console())
    print(sentence(stability, attenuation))


def show(stability, attenuation, errors, console):
    """Prints the errors, the medians and the tables of the parameters."""
    for label, error in errors.items():
        console.print(f"Train error with {label}: {100 * error:.1f} %")
    table = Table("median over layers and samples", *stability.measurements)
    for quantity in gb.experiments.QUANTITIES:
        table.add_row(
            quantity.replace("_", " "),
            *(f"{stability.median(k, quantity):.4g}" for k in stability.measurements),
        )
    layers = next(iter(attenuation.values())).layers
    first, last = layers[0], layers[-1]
    table.add_row(
        f"error at {last} of 10 % noise at {first}",
        *(f"{r.errors[first, last][0]:.4g}" for r in attenuation.values()),
    )
    console.print(table)
    for label, measurements in stability.measurements.items():
        table = Table(
            "layer", "effective parameters", "parameters", "%",
            title=f"{label} (a complexity, not a bound)",
        )  # fmt: skip
        for row in measurements.effective_parameters().rows():
            table.add_row(*row)
        console.print(table)


def sentence(stability, attenuation):
    """Says what there is to see, whatever it is."""
    larger = [
        quantity.replace("_", " ")
        for quantity in (
            "layer_cushion",
            "unclipped_interlayer_cushion",
            "interlayer_smoothness",
        )
        if stability.median("true labels", quantity)
        > stability.median("random", quantity)
    ]
    parameters = ", ".join(
        f"{measurements.effective_parameters().value:.2g} ({label})"
        for label, measurements in stability.measurements.items()
    )
    return (
        "Trained on the true labels, the median of "
        f"{', '.join(larger) or 'no cushion'} is larger than in the random "
        f"network; the effective parameters are {parameters}."
    )


if __name__ == "__main__":
    main()
