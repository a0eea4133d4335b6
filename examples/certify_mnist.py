"""How wrong can a network for MNIST be? A certificate from the training data.

Trains a small network, goes on with rounded weights and the length of their code
as a part of the loss, writes the code, and certifies the decoded network: a
guarantee for unseen data that no test set is needed for. The best published
certificate of this kind is 11.6 % (https://arxiv.org/abs/2211.13609).

The architecture counts as fixed. It was chosen out of some ten on the same images,
which honest accounting prices at four bits.

    TFDS_DATA_DIR=... python examples/certify_mnist.py

With `--data digits` it takes seconds, and proves little: 1437 images are few.
"""

import argparse
import time

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import tf_genbounds as gb


def network(shape, width):
    """Depthwise and pointwise convolutions: few weights, each used often."""
    layers = keras.layers
    relu = dict(activation="relu", padding="same", kernel_initializer="he_normal")
    # Keras counts the channels for the fan of a depthwise kernel: too small.
    initializer = keras.initializers.RandomNormal(stddev=0.2)
    depthwise = dict(
        padding="same", use_bias=False, depthwise_initializer=initializer
    )
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(width, 5, strides=2, **relu),
            layers.DepthwiseConv2D(5, **depthwise),
            layers.Conv2D(2 * width, 1, **relu),
            layers.DepthwiseConv2D(5, strides=2, **depthwise),
            layers.Conv2D(3 * width, 1, **relu),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, use_bias=False),
        ],
        name="small",
    )


def train(model, x, y, epochs, learning_rate, options):
    """Trains with a learning rate that falls to 0."""
    steps = epochs * -(-len(x) // options.batch_size)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, epochs=epochs, batch_size=options.batch_size, verbose=2)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="mnist", help="mnist, digits, ...")
    parser.add_argument("--samples", type=int, default=60000)
    parser.add_argument("--exact-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=75, help="with rounding")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--num-levels", type=int, default=5)
    parser.add_argument("--vector-levels", type=int, default=7)
    parser.add_argument("--factor", type=float, default=2.0)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=None, help="file for the code")
    options = parser.parse_args(arguments)

    x, y = gb.data.load(options.data, "train")
    x, y = x[: options.samples], y[: options.samples]
    test = gb.data.load(options.data, "test")
    keras.utils.set_random_seed(options.seed)
    start = time.perf_counter()
    # With exact weights first: what the encoder does costs no bit.
    model = network(x.shape[1:], options.width)
    train(model, x, y, options.exact_epochs, 1e-2, options)
    training = gb.compression.QuantizedTraining(
        model,
        num_samples=len(x),
        num_levels=options.num_levels,
        vector_levels=options.vector_levels,
        factor=options.factor,
    )
    train(training, x, y, options.epochs, options.learning_rate, options)
    compressed = training.compress((x, y), batch_size=500)
    if options.out:
        compressed.save(options.out)
    certificate = compressed.certificate
    table = Table("weights", "numbers", "levels", "bits", "bits for each")
    for row in compressed.layers:
        table.add_row(
            row["name"].split("/", 1)[-1],
            str(row["numbers"]),
            row["method"].split(", ")[-1],
            f"{row['bits']:.0f}",
            f"{row['bits'] / row['numbers']:.2f}",
        )
    Console(width=100).print(table)
    logits = compressed.model.predict(test[0], batch_size=500, verbose=0)
    print(f"Test error: {100 * np.mean(np.argmax(logits, axis=1) != test[1]):.2f} %")
    print(f"Time: {time.perf_counter() - start:.0f} s")
    print(certificate)
    print(
        f"With probability {1 - certificate.delta:g} the network is wrong on at most "
        f"{100 * certificate.value:.2f} % of unseen data: it is wrong on "
        f"{100 * certificate.train_error:.2f} % of the {certificate.num_samples:,} "
        f"samples, and its code has {certificate.bits:,} bits."
    )


if __name__ == "__main__":
    main()
