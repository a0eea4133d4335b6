"""How wrong can a network for MNIST be? A certificate from the training data.

There are four ways, by `--method`: `code`, which this file is about, and `hold_out`,
`pac_bayes` and `pick_to_learn`, for which `certify_network.py` and `pick_to_learn.py`
are called with the other options.

`code` trains a small network, goes on while more and more of its weights are rounded, writes
the code, and certifies the decoded network, for unseen data and without a test set.
The best published certificate of this kind is 11.6 %
(https://arxiv.org/abs/2211.13609), and for CIFAR-10 58.2 %; try that with
`--data cifar10 --width 16 --exact-epochs 20 --vector-levels 31`.

The images are prepared, each by itself: digits lose their slant, and colours become
brightness and two differences (`--no-prepare` leaves them as they are). That and the
architecture were chosen with a look at the same images. The code names them by a word
of the grammar in `architecture_code.py` (some 70 bits), and pays for it. But the
grammar was not written down before these images were known, as the certificate
assumes, and nobody can do that any more: so what is printed is NO GUARANTEE for these
data. With data of your own, write the grammar down first.

    TFDS_DATA_DIR=... python examples/certify_mnist.py

With `--data digits` it takes a minute, and proves little: 1437 images are few.
"""

import argparse
import dataclasses
import functools
import time

import architecture_code
import certify_network
import keras
import numpy as np
import pick_to_learn
from rich.console import Console
from rich.table import Table

import tf_genbounds as gb

BEFORE = "the grammar of architectures was written down before these data were known"


def prepare(images, architecture):
    """Takes the slant out of grey images, or makes opponent colours."""
    if architecture.deskew:
        return deskew(images)
    if not architecture.opponents:
        return images
    red, green, blue = np.moveaxis(images, -1, 0)
    brightness = (red + green + blue) / 3
    opponents = [
        2 * (brightness - 0.5),
        4 * (red - green),
        4 * ((red + green) / 2 - blue),
    ]
    return np.stack(opponents, axis=-1)


def deskew(images):
    """Shears each image of one channel so that rows and columns do not correlate."""
    rows, columns = np.arange(images.shape[1])[:, None], np.arange(images.shape[2])
    mass = images[..., 0] / np.maximum(images.sum((1, 2)), 1e-6)[..., None]

    def mean(values):
        return np.sum(mass * values, axis=(1, 2), keepdims=True)

    row, column = mean(rows), mean(columns)
    slant = mean((rows - row) * (columns - column)) / np.maximum(
        mean((rows - row) ** 2), 1e-6
    )
    # A pixel is read from `slant * (its row - the mean row)` columns further right.
    transforms = np.zeros((len(images), 8), "float32")
    transforms[:, 0] = transforms[:, 4] = 1
    transforms[:, 1] = slant.ravel()
    transforms[:, 2] = (-slant * row).ravel()
    found = [
        keras.ops.image.affine_transform(images[i : i + 1000], transforms[i : i + 1000])
        for i in range(0, len(images), 1000)
    ]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in found])


def crossentropy(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )


def generalized_crossentropy(labels, logits, q=0.5):
    """`(1 - p**q) / q`: between cross-entropy and the probability of an error.

    It is of the errors that the certificate speaks.
    See [Zhang and Sabuncu, 2018](https://arxiv.org/abs/1805.07836).
    """
    return -keras.ops.expm1(-q * crossentropy(labels, logits)) / q


def train(model, x, y, loss, epochs, learning_rate, alpha, options):
    """Trains with a learning rate that falls to a share `alpha` of it."""
    steps = epochs * -(-len(x) // options.batch_size)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha)
        ),
        loss,
        metrics=["accuracy"],
    )
    model.fit(x, y, epochs=epochs, batch_size=options.batch_size, verbose=2)


def by_code(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="mnist", help="mnist, digits, ...")
    parser.add_argument("--samples", type=int, default=60000)
    parser.add_argument(
        "--prepare", action=argparse.BooleanOptionalAction, default=True
    )
    parser.add_argument("--exact-epochs", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=60, help="with rounding")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--num-levels", type=int, default=5)
    parser.add_argument("--vector-levels", type=int, default=15)
    parser.add_argument("--coarseness", type=float, default=1.5)
    parser.add_argument("--learning-rate", type=float, default=0.03)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=None, help="file for the code")
    options = parser.parse_args(arguments)

    x, y = gb.data.load(options.data, "train")
    x, y = x[: options.samples], y[: options.samples]
    test = gb.data.load(options.data, "test")
    keras.utils.set_random_seed(options.seed)
    start = time.perf_counter()
    grey = x.shape[-1] == 1
    architecture = architecture_code.small(
        options.width,
        deskew=options.prepare and grey,
        opponents=options.prepare and not grey,
    )
    x, test = prepare(x, architecture), (prepare(test[0], architecture), test[1])
    # With exact weights first: what the encoder does costs no bit.
    model = architecture_code.network(architecture, x.shape[1:])
    train(model, x, y, crossentropy, options.exact_epochs, 1e-2, 0.0, options)
    training = gb.compression.QuantizedTraining(
        model,
        num_samples=len(x),
        num_levels=options.num_levels,
        vector_levels=options.vector_levels,
        coarseness=options.coarseness,
        exact_fraction=0.0,
        num_stages=250,
    )
    loss = generalized_crossentropy
    train(training, x, y, loss, options.epochs, options.learning_rate, 0.1, options)
    choice = architecture_code.choice(architecture)
    compressed = training.compress((x, y), choice=choice, batch_size=500)
    # Said in the file as well: the bound is what it would be if that were so.
    certificate = compressed.certificate.declaring(BEFORE, "failed")
    compressed = dataclasses.replace(compressed, certificate=certificate)
    if options.out:
        compressed.save(options.out)
    table = Table("weights", "numbers", "levels", "bits", "bits for each")
    for array in compressed.arrays:
        table.add_row(
            array.name.split("/", 1)[-1],
            str(array.numbers),
            array.method.split(", ")[-1],
            f"{array.bits:.0f}",
            f"{array.bits / array.numbers:.2f}",
        )
    Console(width=100).print(table)
    logits = compressed.model.predict(test[0], batch_size=500, verbose=0)
    print(f"Test error: {100 * np.mean(np.argmax(logits, axis=1) != test[1]):.2f} %")
    print(f"Time: {time.perf_counter() - start:.0f} s")
    print(certificate)
    at_most = gb.bounds.at_most(100 * certificate.value, digits=3)
    paid = certificate.items["choice of the architecture"]
    print(
        f"If {BEFORE}, then with probability "
        f"{gb.bounds.confidence(certificate.delta)} the network is wrong on at most "
        f"{at_most} % of unseen data: it is wrong on "
        f"{100 * certificate.train_error:.2f} % of the {certificate.num_samples:,} "
        f"samples, and its code has {certificate.bits:,} bits, {paid:.0f} of them for "
        "the architecture. It was not: this is NO GUARANTEE."
    )


def by_network(method, arguments):
    certify_network.main(["--data", "mnist", "--method", method, *arguments])


METHODS = {
    "code": by_code,
    "hold_out": functools.partial(by_network, "hold_out"),
    "pac_bayes": functools.partial(by_network, "pac_bayes"),
    "pick_to_learn": lambda rest: pick_to_learn.main(["--data", "mnist", *rest]),
}


def main(arguments=None):
    # Its `--help` is that of the method.
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--method", default="code", choices=METHODS)
    chosen, rest = parser.parse_known_args(arguments)
    METHODS[chosen.method](rest)


if __name__ == "__main__":
    main()
