"""A certificate for an ordinary network, with no example held out.

Pick-to-Learn begins with an untrained network, and trains it on few examples: after
each round those with the largest loss join them. How many there are at the end, with
those of the others that are still decided wrongly, bounds the error on unseen data
(https://openreview.net/forum?id=40L3viVWQN). The network may be of any size, and the
bound is for the network as it is.

    python examples/pick_to_learn.py

takes half a minute on the digits. For MNIST:

    TFDS_DATA_DIR=... python examples/pick_to_learn.py --data mnist --picks 16 \\
        --rounds 70 --steps 200 --shift 2

The settings (network, rounds, shifts) must have been chosen without a look at the data
that are certified. With MNIST nobody can say that any more: take such a number as one
of a benchmark, and fix the settings first for data of your own.
"""

import argparse
import time

import keras
import numpy as np

import tf_genbounds as gb


def network(shape, width):
    """A LeNet for small images."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(width, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(2 * width, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(8 * width, activation="relu"),
            layers.Dense(10),
        ]
    )


def shifts(pixels):
    """Returns an augmentation that moves each image by at most so many pixels."""

    def augment(x, y, generator):
        size = x.shape[1:3]
        around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(x, around), size, axis=(1, 2)
        )
        row, column = generator.integers(0, 2 * pixels + 1, (2, len(x)))
        moved = windows[np.arange(len(x)), row, column]
        return np.ascontiguousarray(np.moveaxis(moved, 1, -1)), y

    return augment if pixels else None


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="digits", help="digits, mnist, ...")
    parser.add_argument("--samples", type=int, default=60000)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--picks", type=int, default=4, help="after each round")
    parser.add_argument("--rounds", type=int, default=30, help="the last one")
    parser.add_argument(
        "--every", type=int, default=10, help="the best of each so many rounds counts"
    )
    parser.add_argument("--steps", type=int, default=60, help="in a round")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--average", type=float, default=0.98, help="of the weights")
    parser.add_argument("--shift", type=int, default=1, help="pixels")
    parser.add_argument(
        "--initial-fraction",
        type=float,
        default=0.0,
        help="of the examples, for training beforehand: they are not counted",
    )
    parser.add_argument("--initial-rounds", type=int, default=50)
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backup", default=None, help="directory")
    parser.add_argument(
        "--verify", action="store_true", help="train again, and compare"
    )
    parser.add_argument("--out", default=None, help="file for the certificate")
    options = parser.parse_args(arguments)

    x, y = gb.data.load(options.data, "train")
    # Which examples are for the beginning is decided without a look at them.
    order = np.random.default_rng(options.seed).permutation(len(x))[: options.samples]
    first, rest = np.split(order, [round(options.initial_fraction * len(order))])
    initial = {}
    if len(first):
        initial = {
            "initial_data": (x[first], y[first]),
            "initial_steps": options.initial_rounds * options.steps,
        }
    keras.utils.set_random_seed(options.seed)
    model = network(x.shape[1:], options.width)
    training = gb.pick_to_learn.PickToLearn(model, options.picks, seed=options.seed)
    training.compile(
        # At the end of each round the weights become their average.
        keras.optimizers.Adam(
            options.learning_rate,
            use_ema=True,
            ema_momentum=options.average,
            ema_overwrite_frequency=options.steps,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # On a CPU these convolutions are faster without XLA.
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    # Listed before the training: of these the best is taken, and the list paid for.
    listed = {*range(options.every, options.rounds, options.every), options.rounds}
    start = time.perf_counter()
    training.fit(
        (x[rest], y[rest]),
        rounds=sorted(listed),
        steps_per_round=options.steps,
        batch_size=options.batch_size,
        augment=shifts(options.shift),
        backup_dir=options.backup,
        verbose=2,
        **initial,
    )
    print(f"Trained in {time.perf_counter() - start:.0f} s")
    if options.verify:
        start = time.perf_counter()
        training.verify()
        print(
            "Trained again on the compression set alone, to the same weights, in "
            f"{time.perf_counter() - start:.0f} s"
        )
    certificate = training.certificate(options.delta)
    if options.out:
        certificate.to_json(options.out)
    images, labels = gb.data.load(options.data, "test")
    outputs = model.predict(images, batch_size=500, verbose=0)
    error = np.mean(np.argmax(outputs, axis=1) != labels)
    print(
        f"Picked: {len(training.picked):,}, wrong outside: {len(training.wrong):,}, "
        f"test error: {100 * error:.2f} %"
    )
    print(certificate)


if __name__ == "__main__":
    main()
