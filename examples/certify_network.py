"""How wrong can an ordinary network be? By held-out images, or by PAC-Bayes.

`--method hold_out` trains on a part of the training images, and certifies the network by
the rest, which nothing else has seen: `gb.certify`. `--method pac_bayes` does so too, and
then lets the network draw its weights around those that it has, and learns from the rest
how far: `gb.pac_bayes.PACBayes`. With `--draw` it certifies one network that was drawn.
The test images are for a comparison alone.

    python examples/certify_network.py

takes a minute on the digits. For MNIST:

    TFDS_DATA_DIR=... python examples/certify_network.py --data mnist --width 16 \\
        --epochs 30 --shift 2 --batch-size 128

The settings (network, epochs, shifts) must have been chosen without a look at the images
that are counted. With MNIST nobody can say that any more: take such a number as one of a
benchmark, and fix the settings first for data of your own.
"""

import argparse
import time

import keras
import numpy as np

import tf_genbounds as gb


def network(shape, width, shift, classes=10):
    """Convolutions with batch normalization, on images that are shifted in training."""
    layers = keras.layers

    def block(x, width):
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
        return layers.MaxPooling2D()(x)

    inputs = x = keras.Input(shape)
    if shift:
        share = (shift / shape[0], shift / shape[1])
        x = layers.RandomTranslation(*share, fill_mode="constant")(x)
    x = block(block(x, width), 2 * width)
    x = layers.Flatten()(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Dense(4 * width, activation="relu")(x)
    x = layers.Dropout(0.3)(x)
    return keras.Model(inputs, layers.Dense(classes)(x))


def adam(learning_rate, epochs, samples, batch_size):
    steps = epochs * -(-samples // batch_size)
    return keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(learning_rate, max(steps, 1))
    )


def hold_out(model, x, y, options):
    """Trains on one part, certifies by the other."""
    counted = round(options.held_out * len(x))
    order = np.random.default_rng(options.seed).permutation(len(x))
    rest, held = order[counted:], order[:counted]
    model.compile(
        adam(options.learning_rate, options.epochs, len(rest), options.batch_size),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=compiling(),
    )
    model.fit(
        x[rest],
        y[rest],
        epochs=options.epochs,
        batch_size=options.batch_size,
        verbose=2,
    )
    return model, gb.certify(model, (x[held], y[held]), delta=options.delta)


def pac_bayes(model, x, y, options):
    """Trains the prior on one part, the posterior on the other."""
    training = gb.pac_bayes.PACBayes(
        model,
        prior_fraction=1 - options.held_out,
        prior_std=options.prior_std,
        objective=options.objective,
        seed=options.seed,
    )
    counted = round(options.held_out * len(x))
    training.compile(
        adam(
            options.learning_rate,
            options.epochs,
            len(x) - counted,
            options.batch_size,
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=compiling(),
        posterior_optimizer=adam(
            options.posterior_learning_rate,
            options.posterior_epochs,
            counted,
            options.batch_size,
        ),
    )
    training.fit(
        (x, y),
        prior_epochs=options.epochs,
        posterior_epochs=options.posterior_epochs,
        batch_size=options.batch_size,
        verbose=2,
    )
    if options.draw:
        return training.certify_draw(options.delta)
    start = time.perf_counter()
    certificate = training.certify(options.delta, options.passes, options.blocks)
    print(f"Drew the weights in {time.perf_counter() - start:.0f} s")
    return training.model, certificate


def compiling():
    """On a CPU these convolutions are faster without XLA."""
    return "auto" if keras.backend.backend() == "jax" else False


METHODS = {"hold_out": hold_out, "pac_bayes": pac_bayes}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--method", default="pac_bayes", choices=METHODS)
    parser.add_argument("--data", default="digits", help="digits, mnist, ...")
    parser.add_argument("--samples", type=int, default=60000)
    parser.add_argument("--held-out", type=float, default=0.5, help="share, counted")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--shift", type=int, default=1, help="pixels")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--prior-std", type=float, default=0.003)
    parser.add_argument("--objective", default="quadratic")
    parser.add_argument("--posterior-epochs", type=int, default=5)
    parser.add_argument("--posterior-learning-rate", type=float, default=1e-4)
    parser.add_argument(
        "--draw", action="store_true", help="certify one network that is drawn"
    )
    parser.add_argument("--passes", type=int, default=4, help="over the counted part")
    parser.add_argument(
        "--blocks", type=int, default=60000, help="that have weights of their own"
    )
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=None, help="file for the certificate")
    options = parser.parse_args(arguments)

    x, y = gb.data.load(options.data, "train")
    x, y = x[: options.samples], y[: options.samples]
    keras.utils.set_random_seed(options.seed)
    start = time.perf_counter()
    model = network(x.shape[1:], options.width, options.shift)
    model, certificate = METHODS[options.method](model, x, y, options)
    print(f"Time: {time.perf_counter() - start:.0f} s")
    if options.out:
        certificate.to_json(options.out)
    images, labels = gb.data.load(options.data, "test")
    outputs = model.predict(images, batch_size=500, verbose=0)
    error = np.mean(np.argmax(outputs, axis=1) != labels)
    print(f"Test error: {100 * error:.2f} %")
    print(certificate)


if __name__ == "__main__":
    main()
