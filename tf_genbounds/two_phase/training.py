"""Training in two phases: `TwoPhaseTraining`."""

import dataclasses
from typing import Any

import keras
import numpy as np

from tf_genbounds import backend
from tf_genbounds.bounds import Bound
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.certificates.independence import Origin
from tf_genbounds.data.reading import read
from tf_genbounds.data.reading import take
from tf_genbounds.two_phase import backup
from tf_genbounds.two_phase.freeze import freeze_activation_pattern
from tf_genbounds.two_phase.freeze import refuse_others
from tf_genbounds.two_phase.guarantee import bound
from tf_genbounds.two_phase.guarantee import gate_digest
from tf_genbounds.two_phase.split import Batches
from tf_genbounds.two_phase.split import PhaseData


class TwoPhaseTraining:
    """Trains a model, freezes its activation pattern, and trains on.

    The *standard phase* trains `model` in the usual way on a fraction of the
    data. Then the pattern of active units becomes a fixed function of the
    input (see `freeze_activation_pattern`), and the *freeze phase* trains the
    path weights on the rest. If the pattern does not depend on the rest, a
    bound holds for all path weights: `bound`.

    The split is decided by the seed, before training and without a look at the
    samples. A sample of one phase is never seen in the other. The two phases
    have an optimizer state each.

    For the bound, nothing that decides the pattern may depend on the samples of
    the freeze phase: not the weights that the model comes with (take fresh ones,
    or such as were trained on other data), nor the callbacks, validation data,
    class weights and sample weights of the standard phase, nor preprocessing
    (the statistics of a normalization), architecture and hyper-parameters. What
    the run sees of that is in the assumptions of the bound; the rest is up to
    you.

    Args:
        model: A built Functional or Sequential model that
            `freeze_activation_pattern` supports. The standard phase trains it.
            Its weights must not depend on the samples of the freeze phase.
        standard_fraction: Float in [0, 1], the share of the samples for the
            standard phase. With 0 the pattern is that of the weights as they
            are; 1 is ordinary training. Defaults to `0.1`.
        seed: Integer, of the split and the order of the samples. Defaults to
            `0`.

    Attributes:
        model: The model that is trained: `model`, after the switch the frozen
            one.
        phase: `"standard"` or `"freeze"`.
        phase_data: `PhaseData` with the indices of both parts, after `fit` has
            begun.
        history: `keras.callbacks.History` of all epochs; its key `"phase"` has
            the name of the phase.

    Raises:
        ValueError: If the model cannot be frozen, or an argument is out of
            range.

    Example:

    >>> x, y = np.random.rand(60, 4), np.arange(60) % 3
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(8, activation="relu"),
    ...      keras.layers.Dense(3)]
    ... )
    >>> training = TwoPhaseTraining(model, standard_fraction=0.2)
    >>> training.compile(
    ...     "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ... )
    >>> history = training.fit((x, y), 2, 3, verbose=0)
    >>> history.history["phase"]
    ['standard', 'standard', 'freeze', 'freeze', 'freeze']
    >>> training.bound().vacuous
    True

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(
        self, model: keras.Model, standard_fraction: float = 0.1, seed: int = 0
    ) -> None:
        if not 0 <= standard_fraction <= 1:
            raise ValueError(
                "`standard_fraction` must lie in [0, 1]. "
                f"Received: standard_fraction={standard_fraction}"
            )
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(
                f"`seed` must be a non-negative integer. Received: seed={seed!r}"
            )
        refuse_others(model)
        self.model = model
        self.standard_fraction = standard_fraction
        self.seed = seed
        self.phase = "standard"
        self.phase_data = None
        self.history = keras.callbacks.History()
        self.history.epoch = []  # As Keras does when training begins.
        self._options = None
        self._data = None
        self._done = {"standard": 0, "freeze": 0}
        self._gates = None
        self._origin = Origin("the standard phase", "the samples of the freeze phase")
        self._origin.see_model(model)  # Before `compile` replaces its optimizer.

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        **options: Any,
    ) -> None:
        """Says how to train, as `keras.Model.compile` does.

        Args:
            optimizer: An optimizer or its name, of which each phase gets a
                fresh copy, or a pair of them, one for each phase.
            loss: As for `keras.Model.compile`.
            metrics: As for `keras.Model.compile`; each phase gets copies.
            **options: Others of `keras.Model.compile`.
        """
        both = isinstance(optimizer, (tuple, list))
        if both and len(optimizer) != 2:
            raise ValueError(
                "`optimizer` must be one, or a pair for the two phases. "
                f"Received: {len(optimizer)} optimizers"
            )
        self._options = {
            "optimizer": dict(
                zip(self._done, optimizer if both else [optimizer] * 2, strict=True)
            ),
            "loss": loss,
            "metrics": metrics,
            **options,
        }
        self._compile_model()

    def fit(
        self,
        data: Any,
        standard_epochs: int = 1,
        freeze_epochs: int = 1,
        *,
        batch_size: int | None = None,
        validation_data: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        callbacks: Any = None,
        verbose: int | str = "auto",
        backup_dir: str | None = None,
    ) -> keras.callbacks.History:
        """Trains for both phases.

        Epochs are counted through. Callbacks see the frozen model from the
        second phase on: `set_model`, `on_train_begin` and `on_train_end` are
        called for each phase. A second call of `fit`, on the same data, goes
        on: with the standard phase if that was interrupted, else with
        `freeze_epochs` more of the freeze phase and `standard_epochs=0`.

        Validation data, callbacks and weights that depend on samples of the
        freeze phase are for the freeze phase only: in the standard phase they
        could tell the gates about these. To give each phase its own, call `fit`
        twice, first with `freeze_epochs=0`.

        Args:
            data: A tuple `(x, y)` or `(x, y, sample_weight)` of arrays, or a
                `tf.data.Dataset` or `keras.utils.PyDataset` of batches. A
                dataset is read once, into memory: a sample that is shuffled
                or augmented anew in each epoch could not be kept in its phase.
            standard_epochs: Integer, epochs of the standard phase.
            freeze_epochs: Integer, epochs of the freeze phase.
            batch_size: Integer. Defaults to 32, or the dataset's.
            validation_data: As for `keras.Model.fit`. In the standard phase the
                bound fails if an input of it is one of the freeze phase.
            class_weight: As for `keras.Model.fit`.
            shuffle: Boolean, whether the order of the samples changes in each
                epoch.
            callbacks: List of `keras.callbacks.Callback`. Those of the standard
                phase are named in the bound.
            verbose: As for `keras.Model.fit`.
            backup_dir: Directory in which the run is saved at the end of each
                epoch, or `None`. A run that was killed goes on from there when
                it is started again in the same way, and ends at the same
                weights. At the end the backup is deleted.

        Returns:
            `keras.callbacks.History` of all epochs so far.

        Raises:
            RuntimeError: Before `compile`.
            ValueError: If the data is not that of the first call or of the
                backup.
        """
        if self._options is None:
            raise RuntimeError("Call `compile` before `fit`.")
        self._data, batch_size = read(data, batch_size)
        if self.phase_data is None:
            self._origin.see_model(self.model)
        self._split()
        if self.phase == "freeze" and standard_epochs:
            raise ValueError(
                "The activation pattern is frozen already: pass "
                f"`standard_epochs=0`. Received: standard_epochs={standard_epochs}"
            )
        # What each phase is to have behind it at the end.
        goal = {
            "standard": self._done["standard"] + standard_epochs,
            "freeze": self._done["freeze"] + freeze_epochs,
        }
        if backup_dir is not None:
            self._restore(backup_dir, goal)
        for phase in ("standard", "freeze"):
            indices = getattr(self.phase_data, phase)
            if not len(indices):
                continue
            if phase == "freeze" and self.phase == "standard":
                self._switch()
            if self.phase != phase or self._done[phase] >= goal[phase]:
                continue
            if phase == "standard":
                self._origin.see_fit(
                    take(self._data[0], self.phase_data.freeze),
                    callbacks=callbacks,
                    validation_data=validation_data,
                    class_weight=class_weight,
                    weights=len(self._data) == 3,
                )
            start = sum(self._done.values())
            saving = []
            if backup_dir is not None:
                saving.append(backup.Backup(backup_dir, self._state))
            self._fit_phase(
                Batches(
                    self._data,
                    indices,
                    batch_size,
                    seed=self.seed,
                    epoch=start,
                    shuffle=shuffle,
                ),
                initial_epoch=start,
                epochs=start + goal[phase] - self._done[phase],
                validation_data=validation_data,
                class_weight=class_weight,
                callbacks=[*(callbacks or ()), _Recorder(self), *saving],
                verbose=verbose,
            )
        if backup_dir is not None:
            backup.delete(backup_dir)
        return self.history

    def bound(
        self,
        delta: float = 0.05,
        *,
        constant: str = "4k",
        output: int | str | None = 0,
        batch_size: int = 128,
    ) -> Bound:
        """Bounds the risk of `model` by the samples of the freeze phase.

        `bounds.data_independent_bound` in the form of the sample, with the
        margins, path features and path weights of the frozen model in float32,
        with TF32 off. The margin `rho` is the power of two with the least bound:
        that choice is paid for. It speaks of the logits, before a softmax or
        sigmoid at the end: the largest one decides, or the sign of a single one.

        Args:
            delta: Float in (0, 1). Defaults to `0.05`.
            constant: See `bounds.data_independent_bound`.
            output: Index of the output, for a model with several.
            batch_size: Integer. Defaults to `128`.

        Returns:
            `bounds.Bound`, which may be vacuous. What the run can see of its
            assumptions is checked: whether the gates moved, whether validation
            data of the standard phase has inputs of the freeze phase, and whether
            `predict` decides as the logits do. The others are named: that
            weights, callbacks and preprocessing do not depend on the samples.

        Raises:
            RuntimeError: Before the freeze phase.
            ValueError: If the model computes in another dtype than float32, as
                under a mixed policy: what is counted would not be what `model`
                computes.
        """
        if self.phase != "freeze":
            raise RuntimeError(
                "The bound is on a model with a frozen activation pattern, by "
                "samples that the pattern does not depend on. Call `fit` with "
                "a `standard_fraction` below 1. "
                f"Received: standard_fraction={self.standard_fraction}"
            )
        x, y = take(self._data[:2], self.phase_data.freeze)
        return bound(
            self.model,
            x,
            y,
            assumptions=self._assumptions(x),
            delta=delta,
            constant=constant,
            output=output,
            batch_size=batch_size,
        )

    def _assumptions(self, x):
        """What the gates depend on, given the inputs of the freeze phase."""
        found = [
            *self._origin.assumptions(),
            Assumption.of(
                "the gates are those of the end of the standard phase",
                gate_digest(self.model) == self._gates,
            ),
            Assumption.of(
                "no sample of the standard phase is counted",
                not np.intersect1d(
                    self.phase_data.standard, self.phase_data.freeze
                ).size,
            ),
        ]
        seen = take(self._data[0], self.phase_data.standard)
        return (*found, *self._origin.copies(x, seen))

    def _compile_model(self):
        options = dict(self._options)
        optimizer = keras.optimizers.get(options.pop("optimizer")[self.phase])
        with backend.scope(self.model):
            self.model.compile(
                optimizer=type(optimizer).from_config(optimizer.get_config()),
                **{
                    key: keras.tree.map_structure(_fresh, value)
                    for key, value in options.items()
                },
            )

    def _split(self):
        found = PhaseData.of(self._data, self.standard_fraction, self.seed)
        if self.phase_data is not None and found.digest != self.phase_data.digest:
            raise ValueError(
                "`data` must be what the first `fit` had, or samples of one phase "
                "would come into the other. Received: other data"
            )
        self.phase_data = found

    def _switch(self):
        self.model = freeze_activation_pattern(self.model)
        self.phase = "freeze"
        self._gates = gate_digest(self.model)
        self._compile_model()

    def _fit_phase(self, batches, callbacks, **options):
        for callback in callbacks:
            # The second phase would begin the file anew.
            if isinstance(callback, keras.callbacks.CSVLogger) and sum(
                self._done.values()
            ):
                callback.append = True
        # `Batches` shuffles itself.
        self.model.fit(batches, callbacks=callbacks, shuffle=False, **options)

    def _state(self, finished):
        """What a backup holds beside the variables of the model."""
        return {
            "phase": self.phase,
            "finished": finished,
            "done": self._done,
            "epoch": self.history.epoch,
            "history": self.history.history,
            "gates": self._gates,
            "origin": dataclasses.asdict(self._origin),
            "digest": self.phase_data.digest,
            "seed": self.seed,
            "standard_fraction": self.standard_fraction,
        }

    def _restore(self, directory, goal):
        found = backup.load(directory)
        if found is None:
            return
        state, arrays = found
        expected = self._state(False)
        for key in ("digest", "seed", "standard_fraction"):
            if state[key] != expected[key]:
                raise ValueError(
                    f"The backup in {directory!r} is of a run with other data or "
                    f"arguments. Received: {key}={expected[key]}, and in the "
                    f"backup {state[key]}"
                )
        if state["phase"] == "freeze" and self.phase == "standard":
            self._switch()
        backup.restore(self.model, arrays)
        self._done = state["done"]
        self._gates = state["gates"]
        self._origin = Origin(**state["origin"])
        self.history.epoch = state["epoch"]
        self.history.history = state["history"]
        if state["finished"]:  # A callback may have stopped it early.
            goal[state["phase"]] = self._done[state["phase"]]


class _Recorder(keras.callbacks.Callback):
    """Joins the histories of both phases into one."""

    def __init__(self, training):
        super().__init__()
        self._training = training

    def on_epoch_end(self, epoch, logs=None):
        training = self._training
        training._done[training.phase] += 1
        history = training.history
        history.epoch.append(epoch)
        count = len(history.epoch)
        logs = {key: float(value) for key, value in (logs or {}).items()}
        for key in {**history.history, **logs, "phase": None}:
            values = history.history.setdefault(key, [])
            # What only one phase has is NaN in the other.
            values += [float("nan")] * (count - 1 - len(values))
            values.append(training.phase if key == "phase" else logs.get(key, np.nan))


def _fresh(thing):
    """A metric of its own for each phase; anything else as it is."""
    if isinstance(thing, keras.metrics.Metric):
        return type(thing).from_config(thing.get_config())
    return thing
