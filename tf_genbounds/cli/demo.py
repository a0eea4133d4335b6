"""The demonstration: digits, with DARC1 and without, and in two phases."""

import dataclasses
import math

import keras
import numpy as np

from tf_genbounds import backend
from tf_genbounds.callbacks import GeneralizationMonitor
from tf_genbounds.certificates import Certificate
from tf_genbounds.certificates import certify
from tf_genbounds.checks import check_positive
from tf_genbounds.compression import Compressed
from tf_genbounds.compression import compress
from tf_genbounds.data.datasets import load
from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.losses import DARC1
from tf_genbounds.measure.measure import measure
from tf_genbounds.metrics import DARC1Penalty
from tf_genbounds.metrics import StableRank
from tf_genbounds.pick_to_learn import PickToLearn
from tf_genbounds.report.numbers import number
from tf_genbounds.report.numbers import percent
from tf_genbounds.report.report import Report
from tf_genbounds.report.report import report
from tf_genbounds.report.table import Table
from tf_genbounds.two_phase import TwoPhaseTraining

BATCH_SIZE = 64
# What the authors of DARC1 used, 0.001 for each sample of a batch.
FACTOR = 0.001 * BATCH_SIZE
INTERLAYER_SAMPLES = 32
# How much of the data finds the activation pattern in two-phase training.
STANDARD_FRACTION = 0.3
# Of Pick-to-Learn: the rounds are a few more than the epochs of the others.
PICKS, MORE_ROUNDS, STEPS = 8, 5, 60


@dataclasses.dataclass(frozen=True, eq=False)
class Demo:
    """The result of `run`.

    Attributes:
        report: `Report` of the model with DARC1; the one without is its
            baseline.
        models: The four trained models, by file name.
        certificate: What the test images prove of the one with DARC1.
        picked: What Pick-to-Learn proves, with no image held out.
        compressed: `Compressed`, of the one with DARC1.
        penalties: DARC1 penalty of the first two on the training data.
        two_phase_error: Test error of the one that was trained in two phases.
    """

    report: Report
    models: dict
    certificate: Certificate
    picked: Certificate
    compressed: Compressed
    penalties: tuple
    two_phase_error: float


def run(*, epochs=15, seed=0, console=None) -> Demo:
    """Trains a small convolutional network on digits, and measures it.

    The runs with DARC1 and without start from the same weights and see the same
    batches. The one with DARC1 is certified by the test images, and compressed, for
    the certificate of its code. A third one trains on the few images that
    Pick-to-Learn picks, a fourth in two phases, for the bound that this buys.

    Args:
        epochs: Integer, passes over the 1437 training images.
        seed: Integer, of weights and batches.
        console: A `rich` console to show the training on if it is a terminal,
            or `None`.

    Returns:
        `Demo`.
    """
    check_positive("epochs", epochs)
    if not 0 <= seed < 2**32:
        raise ValueError(
            f"`seed` must lie between 0 and 2**32 - 1. Received: seed={seed}"
        )
    train, test = load("digits", "train"), load("digits", "test")
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    runs = {
        "without DARC1": plain,
        "with DARC1": DARC1(plain, factor=FACTOR),
    }
    found, models, penalties, compressed = None, {}, [], None
    for title, loss in runs.items():
        keras.utils.set_random_seed(seed)
        model = network()
        history = _fit(model, loss, train, test, epochs, title, console)
        if found is not None:
            compressed = compress(model, train, seed=seed)
        found = report(
            model,
            train,
            test,
            title=title,
            compressed=compressed,
            history=history,
            baseline=found,
            interlayer_samples=INTERLAYER_SAMPLES,
            verbose=0,
        )
        models[title.lower().replace(" ", "_") + ".keras"] = model
        logits = model.predict(train[0], batch_size=256, verbose=0)
        penalties.insert(0, float(darc1_penalty(logits)))
    training = _two_phases(plain, train, epochs, seed)
    models["two_phases.keras"] = training.model
    picked = _picked(plain, train, epochs, seed)
    models["picked.keras"] = picked.model
    # Neither a model nor an epoch was chosen by the test error.
    certificate = certify(model, test)
    bounds = {
        title: certificate.bound,
        "picked": picked.certificate().bound,
        "in two phases": training.bound(),
        **found.bounds,
    }
    measured = measure(training.model, test, quantities=["margins"], verbose=0)
    return Demo(
        dataclasses.replace(found, bounds=bounds),
        models,
        certificate,
        picked.certificate(),
        compressed,
        tuple(penalties),
        measured.train_error,
    )


def network():
    """Builds the network of the demonstration; its outputs are logits."""
    layers = keras.layers
    same = dict(padding="same", activation="relu")
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, name="conv1", **same),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, name="conv2", **same),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dense(10, name="logits"),
        ],
        name="digits",
    )


def summary(demo) -> Table:
    """Compares the two models in one short table."""
    runs = (demo.report, demo.report.baseline)
    rows = [
        ("Train error", *(f"{100 * r.train.train_error:.2f} %" for r in runs)),
        ("Test error", *(f"{100 * r.validation.train_error:.2f} %" for r in runs)),
        ("DARC1 penalty on the training data", *map(number, demo.penalties)),
        (
            "Train margin, 10th percentile",
            *(number(r.train.margin(10)) for r in runs),
        ),
    ]
    for part, field, term in (
        ("train", "layer_cushion", "Layer cushion"),
        ("train", "stable_rank", "Stable rank"),
        ("stability", "unclipped_interlayer_cushion", "Interlayer cushion"),
    ):
        for name in demo.report.train.layers:
            values = [getattr(getattr(r, part).layers[name], field) for r in runs]
            if None not in values:  # The last layer has none after it.
                rows.append((f"{term} of {name}", *map(number, values)))
    return Table("", ("", *(r.title for r in runs)), tuple(rows))


def conclusion(demo) -> str:
    """Says in sentences what came out, for better or worse."""
    wrong, wrong_before = (
        ~(r.validation.margins > 0)  # NaN is an error.
        for r in (demo.report, demo.report.baseline)
    )
    gained = int(np.sum(wrong_before & ~wrong))
    lost = int(np.sum(wrong & ~wrong_before))
    # The sign test: without a difference, gained - lost has this deviation.
    if abs(gained - lost) <= 2 * math.sqrt(gained + lost):
        verdict = "which chance alone can explain: try other seeds"
    else:
        verdict = "more than chance explains"
    before, after = demo.report.compression.bits
    test = demo.report.compression.validation_error
    others = {
        label: bound
        for label, bound in demo.report.bounds.items()
        if bound not in (demo.certificate.bound, demo.picked.bound)
    }
    return (
        f"{demo.certificate}\n\n"
        f"With no image held out, of a network of the same kind: {demo.picked}\n\n"
        f"With DARC1 the penalty is {number(demo.penalties[0])} instead of "
        f"{number(demo.penalties[1])}; of {len(wrong)} test images it gets "
        f"{gained} right that were wrong without it and {lost} wrong that were "
        f"right, {verdict}. Trained in two phases, with "
        f"{100 * STANDARD_FRACTION:g} % of the data for the activation pattern, "
        f"the network has a test error of {100 * demo.two_phase_error:.2f} %. "
        f"Compressed from {before:,} to {after:,} bits, the network with DARC1 has a "
        f"test error of {percent(test[1])} instead of {percent(test[0])}.\n\n"
        + "\n".join(f"{label}: {bound}" for label, bound in others.items())
    )


def _picked(loss, train, epochs, seed):
    keras.utils.set_random_seed(seed)
    training = PickToLearn(network(), PICKS, seed)
    training.compile("adam", loss)
    rounds = epochs + MORE_ROUNDS
    training.fit(train, rounds=rounds, steps_per_round=STEPS, batch_size=32, verbose=0)
    training.verify()
    return training


def _two_phases(loss, train, epochs, seed):
    keras.utils.set_random_seed(seed)
    training = TwoPhaseTraining(network(), STANDARD_FRACTION, seed=seed)
    training.compile("adam", loss)
    training.fit(train, epochs, epochs, batch_size=BATCH_SIZE, verbose=0)
    return training


def _fit(model, loss, train, test, epochs, title, console):
    metrics = ["accuracy", DARC1Penalty()]
    monitored = ["layer_cushion"]
    # On JAX, Keras gives the metrics of `compile` no access to the weights.
    if backend.name == "tensorflow":
        metrics.append(StableRank())
    else:
        monitored.append("stable_rank")
    monitor = GeneralizationMonitor(train, metrics=monitored, num_samples=256)
    model.compile("adam", loss, metrics=metrics)
    callbacks = [monitor]
    if console is not None and console.is_terminal:
        callbacks.append(_Live(console, title))
    return model.fit(
        *train,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation_data=test,
        callbacks=callbacks,
        verbose=0,
    )


class _Live(keras.callbacks.Callback):
    """Shows a progress bar above the latest values of each layer.

    The line of Keras' own bar is too long for a terminal with two values for
    each layer, and a line that wraps is printed anew at every step.
    """

    def __init__(self, console, title):
        from rich.live import Live

        super().__init__()
        self._live = Live(console=console, refresh_per_second=8)
        self._title = title
        self._logs = {}
        self._epoch = 0

    def on_train_begin(self, logs=None):
        self._live.start()

    def on_train_end(self, logs=None):
        self._live.stop()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._show(batch + 1, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._show(self.params["steps"], logs)

    def _show(self, step, logs):
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        self._logs |= logs
        epochs, steps = self.params["epochs"], self.params["steps"]
        heading = f"{self._title}: epoch {self._epoch + 1}/{epochs}"
        for key in ("loss", "darc1", "val_accuracy"):
            if key in self._logs:
                heading += f", {key} {number(float(self._logs[key]))}"
        table = Table(box=None, pad_edge=False)
        layers = [
            key.partition("/")[2]
            for key in self._logs
            if key.startswith("stable_rank/")
        ]
        table.add_column()
        for name in layers:
            table.add_column(name, justify="right")
        for quantity in ("stable_rank", "layer_cushion"):
            values = (self._logs.get(f"{quantity}/{name}") for name in layers)
            table.add_row(
                quantity,
                *(number(None if v is None else float(v)) for v in values),
            )
        display = Table.grid()
        display.add_row(Text(heading))
        display.add_row(
            ProgressBar(epochs * steps, self._epoch * steps + step, width=60)
        )
        display.add_row(table)
        self._live.update(display)
