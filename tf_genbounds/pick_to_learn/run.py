"""One run of Pick-to-Learn on one sample."""

import dataclasses

import keras
import numpy as np

from tf_genbounds.bounds import sample_compression_bound
from tf_genbounds.pick_to_learn import state
from tf_genbounds.pick_to_learn.picking import pick
from tf_genbounds.pick_to_learn.scores import Scorer
from tf_genbounds.pick_to_learn.steps import Steps

_SHOWN_DELTA = 0.05


@dataclasses.dataclass(frozen=True)
class Settings:
    """All numbers that decide a run beside the model and the sample.

    Attributes:
        picks: Integer, how many examples are picked at once.
        seed: Integer.
        rounds: Tuple of integers, increasing: after which rounds the run may end.
        steps_per_round: Integer.
        batch_size: Integer.
        initial_steps: Integer, steps on other data before the first round.
        threshold: Float or `None`, see `decision_of`.
    """

    picks: int
    seed: int
    rounds: tuple
    steps_per_round: int
    batch_size: int
    initial_steps: int
    threshold: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What a run has come to after a round.

    Attributes:
        number: Integer, the round.
        picked: Integer array, indices of the picked examples in their order.
        wrong: Integer array, indices of the other examples that are decided wrongly.
        weights: List of arrays, the values of all variables of the model.
    """

    number: int
    picked: np.ndarray
    wrong: np.ndarray
    weights: list

    @property
    def size(self):
        """The size of the compression set."""
        return len(self.picked) + len(self.wrong)

    def compression_set(self):
        """Returns the indices of the compression set, in increasing order."""
        return np.sort(np.concatenate([self.picked, self.wrong]))


class Run(keras.callbacks.Callback):
    """Picks examples after each round, and keeps the best outcome.

    A round is an epoch of `fit`. The callback says what it is made of.

    Args:
        model: A compiled Keras model, with the weights that a run begins with.
        sample: `Sample`.
        settings: `Settings`.
        augment: See `Steps`.
        initial: `Sample` for the steps before the first round, or `None`.

    Attributes:
        best: `Outcome` with the smallest compression set, after a listed round.
        done: Integer, how many rounds are behind.
        finished: Whether the run is at its end.
    """

    def __init__(self, model, sample, settings, augment=None, initial=None):
        super().__init__()
        self._trained = model
        self._sample = sample
        self._settings = settings
        self._augment = augment
        self._initial = initial
        self.scorer = Scorer(model, sample, settings.threshold)
        self._steps = self._batches(sample, settings.steps_per_round)
        self.picked = np.array([], "int64")
        self.best = None
        self.done = 0
        self.finished = False

    def start(self, saved=None, verbose=0):
        """Begins, or goes on from what `saved_state` and `saved_arrays` returned."""
        if saved is not None:
            self._load(*saved)
            return
        if self._initial is not None:
            steps = self._batches(self._initial, self._settings.initial_steps)
            steps.begin(0, np.argsort(self._initial.rank, kind="stable"))
            self._trained.fit(steps, epochs=1, shuffle=False, verbose=verbose)
            # With `use_ema` JAX leaves weights and averages in the same buffers, which
            # the next `fit` cannot donate twice.
            variables = self._trained.variables
            state.assign(variables, state.values(variables))
        self._pick(*self.scorer())

    def fit(self, callbacks=(), **options):
        """Trains for all rounds that are left; the model ends with the best weights.

        Args:
            callbacks: List of callbacks that watch.
            **options: Others of `keras.Model.fit`.
        """
        last = self._settings.rounds[-1]
        if not self.finished:
            self._steps.begin(self.done + 1, self.picked)
            self._trained.fit(
                self._steps,
                initial_epoch=self.done,
                epochs=last,
                shuffle=False,
                callbacks=[self, *callbacks, Guard(self)],
                **options,
            )
        if not self.finished:
            raise RuntimeError(
                "The training has to go on to the end of the last round. Received: "
                f"{self.done} rounds of {last}"
            )
        state.assign(self._trained.variables, self.best.weights)

    def on_epoch_begin(self, epoch, logs=None):
        self._steps.begin(epoch + 1, self.picked)

    def on_epoch_end(self, epoch, logs=None):
        settings = self._settings
        right, losses = self.scorer()
        self.done = epoch + 1
        wrong = np.flatnonzero(~right & self._outside())
        # A rule that gives the same on the compression set alone: see `picking`.
        self.finished = not len(wrong) or self.done == settings.rounds[-1]
        size = len(self.picked) + len(wrong)
        if logs is not None:
            logs["picked"] = len(self.picked)
            logs["errors_outside"] = len(wrong)
            logs["bound"] = sample_compression_bound(
                size,
                num_samples=len(self._sample),
                delta=_SHOWN_DELTA,
                num_choices=len(settings.rounds),
            ).value
        # After the end of a run all rounds that follow are as this one.
        if self.done in settings.rounds or self.finished:
            if self.best is None or size < self.best.size:
                weights = state.values(self._trained.variables)
                self.best = Outcome(self.done, self.picked, wrong, weights)
        if self.finished:
            self._trained.stop_training = True
        else:
            self._pick(right, losses)

    def _pick(self, right, losses):
        new = pick(
            self._settings.picks,
            outside=self._outside(),
            right=right,
            losses=losses,
            rank=self._sample.rank,
        )
        self.picked = np.concatenate([self.picked, new])

    def _outside(self):
        outside = np.ones(len(self._sample), bool)
        outside[self.picked] = False
        return outside

    def _batches(self, sample, num_steps):
        settings = self._settings
        return Steps(
            sample, settings.batch_size, num_steps, settings.seed, self._augment
        )

    def saved_state(self):
        """Returns what a file holds of the run beside arrays, as JSON takes it."""
        return {
            "done": self.done,
            "finished": self.finished,
            "best": self.best and self.best.number,
        }

    def saved_arrays(self):
        """Returns the arrays that go with it."""
        best = self.best
        parts = [] if best is None else [best.picked, best.wrong, *best.weights]
        return [self.picked, *state.values(state.variables(self._trained)), *parts]

    def _load(self, saved, arrays):
        self.done, self.finished = saved["done"], saved["finished"]
        self.picked, *arrays = arrays
        variables = state.variables(self._trained)
        state.assign(variables, arrays[: len(variables)])
        if saved["best"] is not None:
            picked, wrong, *weights = arrays[len(variables) :]
            self.best = Outcome(saved["best"], picked, wrong, weights)


class Guard(keras.callbacks.Callback):
    """Refuses that another callback ends the training."""

    def __init__(self, run):
        super().__init__()
        self._run = run

    def on_train_batch_end(self, batch, logs=None):
        self._check()

    def on_epoch_end(self, epoch, logs=None):
        self._check()

    def _check(self):
        if self.model.stop_training and not self._run.finished:
            raise ValueError(
                "A callback ended the training. The certificate allows a run to end "
                "after rounds that were listed beforehand, or when no example outside "
                "the picked ones is wrong: by another rule it could end earlier on "
                "a part of the sample that has all of the compression set. List "
                "several rounds instead, as in `rounds=[20, 40, 60]`, and the best "
                f"is taken. Received: an end in round {self._run.done + 1}"
            )


def content(sample, indices):
    """Returns the digests of some examples, in the order of the indices."""
    return [sample.digests[i] for i in indices]


def different(sample, outcome, other_sample, other):
    """Returns in words what differs between outcomes of a sample and a part of it."""
    differences = []
    if outcome.number != other.number:
        differences.append(f"the last round is {other.number}, not {outcome.number}")
    if content(sample, outcome.picked) != content(other_sample, other.picked):
        differences.append("other examples are picked")
    if sorted(content(sample, outcome.wrong)) != sorted(
        content(other_sample, other.wrong)
    ):
        differences.append("other examples are wrong")
    same = all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(outcome.weights, other.weights, strict=True)
    )
    if not same:
        differences.append("the weights differ")
    return differences
