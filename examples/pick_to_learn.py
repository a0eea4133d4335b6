"""A certificate with no image held out: a network trained on few picked images.

Pick-to-Learn trains on the images that the network finds hardest. All the others,
which it gets right without having seen them, prove how well it does. The statement is
about the network as it is, of any size.

    python examples/pick_to_learn.py
    TFDS_DATA_DIR=... python examples/pick_to_learn.py --data mnist --picks 16 \\
        --steps 200 --rounds 60 --width 16

The settings were chosen with a look at these very data sets, as everybody's are, so
that for MNIST and the digits the statement holds to the letter for nobody. With data
of your own, fix the settings first.
"""

import argparse
import time

import keras
import numpy as np
from keras import layers

import tf_genbounds as gb


def network(shape, width, classes):
    """A small convolutional network."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(width, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(2 * width, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(8 * width, activation="relu"),
            layers.Dense(classes),
        ]
    )


def shifts(most):
    """Returns an augmentation: each image is moved by up to `most` pixels."""

    def augment(x, y, generator):
        rows, columns = generator.integers(0, 2 * most + 1, (2, len(x)))
        padded = np.pad(x, ((0, 0), (most, most), (most, most), (0, 0)))
        height, width = x.shape[1:3]
        row = rows[:, None] + np.arange(height)
        column = columns[:, None] + np.arange(width)
        image = np.arange(len(x))[:, None, None]
        return padded[image, row[:, :, None], column[:, None, :]], y

    return augment


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="digits", help="digits, mnist, ...")
    parser.add_argument("--samples", type=int, default=60000)
    parser.add_argument("--picks", type=int, default=4, help="at once")
    parser.add_argument("--rounds", type=int, default=30, help="the last one")
    parser.add_argument(
        "--every", type=int, default=10, help="the best of each so many rounds counts"
    )
    parser.add_argument("--steps", type=int, default=60, help="in a round")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--average", type=float, default=0.98, help="of the weights")
    parser.add_argument("--shift", type=int, default=1, help="pixels")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backup", default=None, help="directory")
    parser.add_argument("--verify", action="store_true", help="train again, compare")
    parser.add_argument("--verbose", type=int, default=2)
    options = parser.parse_args(arguments)

    x, y = gb.data.load(options.data, "train")
    x, y = x[: options.samples], y[: options.samples]
    test_x, test_y = gb.data.load(options.data, "test")
    keras.utils.set_random_seed(options.seed)
    model = network(x.shape[1:], options.width, int(y.max()) + 1)
    training = gb.pick_to_learn.PickToLearn(
        model, picks=options.picks, seed=options.seed
    )
    training.compile(
        # At the end of each round the weights become their average.
        keras.optimizers.Adam(
            options.learning_rate,
            use_ema=True,
            ema_momentum=options.average,
            ema_overwrite_frequency=options.steps,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    start = time.perf_counter()
    rounds = {*range(options.every, options.rounds, options.every), options.rounds}
    training.fit(
        (x, y),
        rounds=sorted(rounds),
        steps_per_round=options.steps,
        batch_size=options.batch_size,
        augment=shifts(options.shift) if options.shift else None,
        backup_dir=options.backup,
        verbose=options.verbose,
    )
    print(f"Time: {time.perf_counter() - start:.0f} s")
    if options.verify:
        training.verify()
        print(f"Time with verification: {time.perf_counter() - start:.0f} s")
    logits = model.predict(test_x, batch_size=500, verbose=0)
    error = np.mean(np.argmax(logits, axis=1) != test_y)
    print(
        f"Picked: {len(training.picked):,}, wrong outside: {len(training.wrong):,}, "
        f"test error: {100 * error:.2f} %"
    )
    print(training.certificate())


if __name__ == "__main__":
    main()
