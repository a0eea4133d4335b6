"""How wrong can a network for MNIST be? A certificate from the training data.

Trains a small network, goes on while more and more of its weights are rounded, writes
the code, and certifies the decoded network: a guarantee for unseen data that no test
set is needed for. The best published certificate of this kind is 11.6 %
(https://arxiv.org/abs/2211.13609), and for CIFAR-10 58.2 %; try that with
`--data cifar10 --width 16 --exact-epochs 20 --vector-levels 31`.

The images are prepared, each by itself: digits lose their slant, and colours become
brightness and two differences (`--no-prepare` leaves them as they are). That and the
architecture were chosen with a look at the same images, out of less than 128 (kind and
width, prepared or not); the code pays seven bits for that. To be strict: the list was
not written down before the images were known, as the certificate assumes. Nobody can
do that for these data any more; with data of your own, write it down first.

    TFDS_DATA_DIR=... python examples/certify_mnist.py

With `--data digits` it takes a minute, and proves little: 1437 images are few.
"""

import argparse
import math
import time

import keras
import numpy as np
import scipy.fft
from rich.console import Console
from rich.table import Table

import tf_genbounds as gb


@keras.saving.register_keras_serializable(package="certify_mnist")
class CosineConv2D(keras.layers.Layer):
    """A convolution whose kernels are sums of few cosines.

    The kernels are smooth, and few numbers say which: those of the cosines of a
    discrete cosine transform whose two frequencies add up to `order` at most. The
    cosines are fixed, so they cost no bits.

    Args:
        size: Integer, side of the kernels.
        order: Integer.
        strides: Integer.
        filters: Integer, of an ordinary convolution; `None`: each channel has a
            kernel of its own.
    """

    def __init__(self, size=5, order=3, strides=1, filters=None, **kwargs):
        super().__init__(**kwargs)
        self.size, self.order = size, order
        self.strides, self.filters = strides, filters

    def build(self, input_shape):
        cosines = scipy.fft.idct(np.eye(self.size), norm="ortho", axis=0)
        self._basis = np.stack(
            [
                np.outer(cosines[:, u], cosines[:, v])
                for u in range(self.size)
                for v in range(self.size)
                if u + v <= self.order
            ],
            axis=-1,
        ).astype("float32")
        shape = (self._basis.shape[-1], input_shape[-1])
        self.kernel = self.add_weight(
            shape=shape + (self.filters,) * bool(self.filters),
            initializer=keras.initializers.RandomNormal(stddev=0.4),
            name="kernel",
        )

    def call(self, inputs):
        kernel = keras.ops.tensordot(self._basis, self.kernel, 1)
        if self.filters:
            return keras.ops.conv(inputs, kernel, self.strides, "same")
        return keras.ops.depthwise_conv(
            inputs, kernel[..., None], self.strides, "same"
        )

    def get_config(self):
        return super().get_config() | {
            "size": self.size,
            "order": self.order,
            "strides": self.strides,
            "filters": self.filters,
        }


@keras.saving.register_keras_serializable(package="certify_mnist")
class Bias(keras.layers.Layer):
    """Adds a number to each channel."""

    def build(self, input_shape):
        self.bias = self.add_weight(shape=input_shape[-1:], initializer="zeros")

    def call(self, inputs):
        return inputs + self.bias


def network(shape, width):
    """Convolutions of each channel and of each pixel: few weights, used often."""
    layers = keras.layers

    def mix(filters):
        return layers.Conv2D(
            filters, 1, activation="relu", kernel_initializer="he_normal"
        )

    return keras.Sequential(
        [
            keras.Input(shape),
            CosineConv2D(strides=2, filters=width),
            Bias(),
            layers.ReLU(),
            CosineConv2D(),
            mix(2 * width),
            CosineConv2D(strides=2),
            mix(3 * width),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, use_bias=False),
        ],
        name="small",
    )


def prepare(images):
    """Takes the slant out of grey images, and makes opponent colours of others."""
    if images.shape[-1] == 1:
        return deskew(images)
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
        keras.ops.image.affine_transform(
            images[i : i + 1000], transforms[i : i + 1000]
        )
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


def main(arguments=None):
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
    if options.prepare:
        x, test = prepare(x), (prepare(test[0]), test[1])
    # With exact weights first: what the encoder does costs no bit.
    model = network(x.shape[1:], options.width)
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
    compressed = training.compress((x, y), choice=(0, 128), batch_size=500)
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
    percent = math.ceil(1e4 * certificate.value) / 100  # Never less than was proved.
    print(
        f"With probability {1 - certificate.delta:g} the network is wrong on at most "
        f"{percent:g} % of unseen data: it is wrong on "
        f"{100 * certificate.train_error:.2f} % of the {certificate.num_samples:,} "
        f"samples, and its code has {certificate.bits:,} bits."
    )


if __name__ == "__main__":
    main()
