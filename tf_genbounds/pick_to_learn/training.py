"""`PickToLearn`: a certificate for any network, with no example held out."""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tf_genbounds import backend
from tf_genbounds.certificates.fingerprints import of_weights
from tf_genbounds.checks import check_positive
from tf_genbounds.data.reading import read_pair
from tf_genbounds.data.repeats import warn_of_repeats
from tf_genbounds.network.model import check_built
from tf_genbounds.pick_to_learn import state
from tf_genbounds.pick_to_learn.certificate import PickToLearnCertificate
from tf_genbounds.pick_to_learn.certificate import certificate_of
from tf_genbounds.pick_to_learn.picking import Sample
from tf_genbounds.pick_to_learn.run import Run
from tf_genbounds.pick_to_learn.run import Settings
from tf_genbounds.pick_to_learn.run import different

_STEERING = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


class PickToLearn:
    """Trains a model on few picked examples, certified by all others.

    The training begins with no examples. After each round the `picks` examples with
    the largest loss (wrong ones first) join those that the next round trains on. With
    `T` the picked examples and `E` the others that the model gets wrong at the end,
    the result depends on `T + E` alone, and its size bounds the risk: see
    `bounds.sample_compression_bound`. It is a bound for the model as it is, of any
    size, and none of the examples is held out.

    It rests on this: nothing but the picking sees an example before it is picked. So
    the weights that `model` comes with must not depend on the data (fresh ones, or
    trained on other data), nor the settings, statistics of a normalization, class
    weights, callbacks or validation data. Each call of `fit` begins anew with the
    weights that `model` had when this object was made.

    Args:
        model: A built Keras model, a classifier of one example at a time.
        picks: Integer, how many examples are picked at once. Defaults to `32`.
        seed: Integer, of the order of the batches, the augmentation and the random
            layers of the model. Defaults to `0`.
        threshold: Float, for one output whose end does not say which values mean
            class 1.

    Attributes:
        model: The model; after `fit` with the weights that are certified.
        picked: Integer array, indices of the examples that it was trained on.

    Raises:
        ValueError: If the model is not built, or a number is out of range.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(300, 2)).astype("float32")
    >>> y = (x[:, 0] > 0).astype(int)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> training = PickToLearn(model, picks=2)
    >>> training.compile(
    ...     keras.optimizers.SGD(1.0),
    ...     keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> history = training.fit(
    ...     (x, y), rounds=20, steps_per_round=20, batch_size=8, verbose=0
    ... )
    >>> training.verify()
    >>> training.certificate().vacuous
    False

    References:
        - [Paccagnan, Campi and Garatti, 2023](https://openreview.net/forum?id=40L3viVWQN)
        - [Campi and Garatti, 2023](https://jmlr.org/papers/v24/22-0605.html)
    """

    def __init__(
        self,
        model: keras.Model,
        picks: int = 32,
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        check_built(model)
        check_positive("picks", picks)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(
                f"`seed` must be a non-negative integer. Received: seed={seed!r}"
            )
        self.model = model
        self.picks = picks
        self.seed = seed
        self.threshold = threshold
        self._first = state.values(model.variables)
        self._optimizer = None
        self._settings = None
        self._sample = None
        self._initial = None
        self._augment = None
        self._run = None
        self._runs = []
        self._compiled = 0
        self._verified = False

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        **options: Any,
    ) -> None:
        """Says how to train, as `keras.Model.compile` does.

        Args:
            optimizer: As for `keras.Model.compile`; each `fit` begins with the state
                that it has now.
            loss: One loss, by which the examples are ranked as well.
            metrics: As for `keras.Model.compile`: of the picked examples.
            **options: Others of `keras.Model.compile`, such as `jit_compile`.
        """
        if loss is None:
            raise ValueError("`loss` is needed. Received: loss=None")
        with backend.scope(self.model):
            self.model.compile(optimizer, loss, metrics=metrics, **options)
            self.model.optimizer.build(self.model.trainable_variables)
        self._optimizer = state.values(self.model.optimizer.variables)
        self._compiled += 1

    def fit(
        self,
        data: Any,
        *,
        rounds: int | Iterable[int],
        steps_per_round: int,
        batch_size: int | None = None,
        augment: Callable | None = None,
        initial_data: Any = None,
        initial_steps: int | None = None,
        callbacks: Any = None,
        validation_data: Any = None,
        backup_dir: str | None = None,
        verbose: int | str = "auto",
    ) -> keras.callbacks.History:
        """Trains and picks, and ends with the best of the listed rounds.

        The run ends after the last round, or when no example outside the picked ones
        is wrong. No other rule is allowed: "stop when few are wrong" may stop earlier
        on a part of the data, and the bound would not hold.

        Args:
            data: A tuple `(x, y)` of arrays, or a `tf.data.Dataset` or
                `keras.utils.PyDataset` of batches, which is read once, into memory.
            rounds: Integer, or several in increasing order, such as
                `range(5, 101, 5)`: the one with the smallest bound is taken, and the
                list is paid for. Fixed before the data was seen.
            steps_per_round: Integer, training steps in a round.
            batch_size: Integer. Defaults to 32, or the dataset's.
            augment: Function of a batch's inputs and labels and a
                `np.random.Generator`, seeded by the step, that returns inputs and
                labels. It must depend on nothing else.
            initial_data: Data of the same kind, none of it in `data`, for training
                before the first round. They are not counted, and prove nothing.
            initial_steps: Integer, steps on `initial_data`.
            callbacks: List of callbacks that watch. What one changes in the training
                (`verify` trains without them) belongs into the optimizer, as a
                learning rate schedule does.
            validation_data: Other data, for the logs alone.
            backup_dir: Directory in which the run is saved after each round, or
                `None`. A run that was killed goes on from there when it is started
                again in the same way, and ends at the same weights.
            verbose: As for `keras.Model.fit`.

        Returns:
            `keras.callbacks.History` by round, with `picked`, `errors_outside` and
            `bound` (with `delta=0.05`).

        Raises:
            RuntimeError: Before `compile`.
            ValueError: If a callback may end the training, initial data is in the
                data, a backup is of another run, or a number is out of range.
        """
        if self._optimizer is None:
            raise RuntimeError("Call `compile` before `fit`.")
        self._refuse_replicas()
        _refuse(callbacks or ())
        if batch_size is not None:
            check_positive("batch_size", batch_size)
        (x, y), batch_size = read_pair(data, batch_size)
        settings = Settings(
            picks=self.picks,
            seed=self.seed,
            rounds=_listed(rounds),
            steps_per_round=steps_per_round,
            batch_size=batch_size,
            initial_steps=initial_steps or 0,
            threshold=self.threshold,
        )
        check_positive("steps_per_round", steps_per_round)
        if (initial_data is None) != (initial_steps is None):
            raise ValueError(
                "`initial_data` and `initial_steps` belong together. Received: "
                f"initial_steps={initial_steps}"
            )
        warn_of_repeats((x, y), stacklevel=2)
        sample, initial = Sample.of((x, y)), None
        if initial_data is not None:
            check_positive("initial_steps", initial_steps)
            initial = Sample.of(read_pair(initial_data, batch_size)[0])
            _refuse_shared(sample, initial)
        self._sample, self._initial = sample, initial
        self._settings, self._augment, self._run = settings, augment, None
        self._verified = False
        key = {
            "data": sample.key(),
            "initial data": initial and initial.key(),
            "settings": repr(settings),
            "first weights": state.digest(self.model, self._first),
        }
        choice = key, self._compiled, augment
        if choice not in self._runs:
            self._runs.append(choice)

        run = self._new_run(sample, settings, augment, initial)
        history = keras.callbacks.History()
        saved = None if backup_dir is None else state.load(backup_dir)
        watching = [*(callbacks or ()), history]
        if saved is not None:
            others = [name for name in key if saved[0]["key"].get(name) != key[name]]
            if others:
                raise ValueError(
                    f"The backup in {backup_dir!r} is of a run with other data or "
                    f"arguments. Received: other {', '.join(others)}"
                )
            history.history = saved[0]["history"]
        if backup_dir is not None:
            watching.append(_Backup(backup_dir, run, history, key))
        run.start(saved, verbose=verbose)
        run.fit(watching, validation_data=validation_data, verbose=verbose)
        history.epoch = list(range(run.done))
        self._run = run
        if backup_dir is not None:
            state.delete(backup_dir)
        return history

    @property
    def picked(self) -> np.ndarray:
        """Indices of the examples that the model was trained on, in their order."""
        return self._finished().best.picked

    @property
    def wrong(self) -> np.ndarray:
        """Indices of the other examples that the model decides wrongly."""
        return self._finished().best.wrong

    def verify(self) -> None:
        """Trains again on the compression set alone, and compares bit for bit.

        It takes as long as `fit`, but for the examples that need not be ranked. The
        model keeps its weights.

        Raises:
            ValueError: If other examples are picked or wrong, or any weight differs:
                the training is not a function of the compression set (kernels that
                are not deterministic, a callback, an `augment` with a state), and
                the bound does not hold.
        """
        run = self._finished()
        part = self._sample.part(run.best.compression_set())
        again, _ = self.retrain(
            part,
            self._settings,
            run.best.number,
            augment=self._augment,
            initial=self._initial,
        )
        differences = different(self._sample, run.best, part, again)
        if differences:
            raise ValueError(
                "Trained again on the compression set alone the result is another "
                "one, so that the bound does not hold. Received: "
                + "; ".join(differences)
            )
        self._verified = True

    def retrain(
        self,
        sample: Any,
        settings: Any,
        number: int,
        *,
        augment: Callable | None = None,
        initial: Any = None,
    ) -> Any:
        """Runs on another sample; the model keeps its weights.

        Args:
            sample: `Sample`.
            settings: `Settings`, but for the rounds.
            number: Integer, the round at which the run ends.
            augment: As for `fit`.
            initial: `Sample` of the initial data, or `None`.

        Returns:
            A pair of the `Outcome`, and sha256 of the weights.
        """
        if self._optimizer is None:
            raise RuntimeError("Call `compile` first.")
        kept = state.values(state.variables(self.model))
        settings = dataclasses.replace(settings, rounds=(number,))
        try:
            run = self._new_run(sample, settings, augment, initial)
            run.start()
            run.fit(verbose=0)
            return run.best, of_weights(self.model)
        finally:
            state.assign(state.variables(self.model), kept)

    def certificate(
        self, delta: float = 0.05, *, num_models: float = 1
    ) -> PickToLearnCertificate:
        """Returns the certificate of the model.

        Args:
            delta: Float in (0, 1), the failure probability. Defaults to `0.05`.
            num_models: Number of the runs (settings, seeds) of which this one was or
                could have been chosen. It is at least that of the different calls of
                `fit` of this object.

        Returns:
            `PickToLearnCertificate`, a `Certificate`: print it.

        Raises:
            RuntimeError: Before `fit` came to its end.
            ValueError: If there were more runs than `num_models`.
        """
        run = self._finished()
        if not num_models >= len(self._runs):
            raise ValueError(
                f"{len(self._runs)} different runs of `fit` could have been compared: "
                f"pay for them. Received: num_models={num_models}"
            )
        return certificate_of(
            self.model,
            self._sample,
            run,
            self._settings,
            delta=delta,
            num_models=num_models,
            initial=self._initial,
            verified=self._verified,
        )

    def _new_run(self, sample, settings, augment, initial):
        """Returns a run that begins with the first weights."""
        state.assign(self.model.variables, self._first)
        state.assign(self.model.optimizer.variables, self._optimizer)
        state.seed_layers(self.model, settings.seed)
        return Run(self.model, sample, settings, augment, initial)

    def _finished(self):
        if self._run is None:
            raise RuntimeError("Call `fit` first, to its end.")
        return self._run

    def _refuse_replicas(self):
        with backend.scope(self.model):
            replicas = backend.num_replicas()
        if replicas > 1:
            raise ValueError(
                "Several replicas add gradients in no fixed order, so that the result "
                "is no function of the picked examples. Train on one device. "
                f"Received: {replicas} replicas"
            )


class _Backup(keras.callbacks.Callback):
    """Saves the run after each round."""

    def __init__(self, directory, run, history, key):
        super().__init__()
        self._directory = directory
        self._of = run
        self._logs = history
        self._key = key

    def on_epoch_end(self, epoch, logs=None):
        saved = {
            **self._of.saved_state(),
            "key": self._key,
            "history": self._logs.history,
        }
        state.save(self._directory, saved, self._of.saved_arrays())


def _listed(rounds):
    """Returns the rounds after which a run may end, as a tuple."""
    if isinstance(rounds, (int, np.integer)) and not isinstance(rounds, bool):
        rounds = [rounds]
    if callable(rounds) or not hasattr(rounds, "__iter__"):
        raise ValueError(
            "`rounds` must be an integer, or several in a list that was fixed before "
            "the data was seen: the bound holds for no other rule. "
            f"Received: rounds={rounds!r}"
        )
    rounds = list(rounds)
    for number in rounds:
        check_positive("rounds", number)
    if not rounds or sorted(set(rounds)) != rounds:
        raise ValueError(
            f"`rounds` must be in increasing order. Received: rounds={rounds}"
        )
    return tuple(int(number) for number in rounds)


def _refuse(callbacks):
    """Refuses callbacks that steer the training by what they see."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.EarlyStopping):
            raise ValueError(
                "Early stopping is no rule under which the bound holds: on a part of "
                "the data it may stop earlier. List several rounds instead, as in "
                "`rounds=[20, 40, 60]`, and the best is taken. "
                f"Received: {type(callback).__name__}"
            )
        if isinstance(callback, _STEERING):
            raise ValueError(
                "A training step may depend on the picked examples and its number "
                "alone: give the optimizer a learning rate schedule. "
                f"Received: {type(callback).__name__}"
            )


def _refuse_shared(sample, initial):
    shared = len(set(sample.digests) & set(initial.digests))
    if shared:
        raise ValueError(
            "What is counted must not be in the initial data. Received: "
            f"{shared:,} examples that are in both"
        )
