"""`GeneralizationMonitor`: what `measure` measures, during `fit`."""

import sys
import warnings
from typing import Any

import keras

from tf_genbounds.checks import check_positive
from tf_genbounds.data.batches import has_labels
from tf_genbounds.measure.measurer import Measurer
from tf_genbounds.metrics import get

__all__ = ["GeneralizationMonitor"]

# They write down what is in the logs when it is their turn.
_RECORDERS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)


class GeneralizationMonitor(keras.callbacks.Callback):
    """Measures the model on a fixed probe set while it is trained.

    The values are those of `measure` and enter `logs`, under keys such as
    `"layer_cushion/dense_1"`, so that the progress bar, `History`,
    `CSVLogger`, `TensorBoard`, `EarlyStopping` and `ModelCheckpoint` see them.
    Callbacks run in the order of the list: put this one first. A recorder before
    it gets none of its values, and a warning says so.

    It works with any model, backend and `tf.distribute` strategy. The model is
    measured in inference mode, after the update of the weights.

    Args:
        data: The probe set, in any form that `measure` takes.
        metrics: List of `tf_genbounds.metrics` objects or of their names, such
            as `"layer_cushion"`. Defaults to `StableRank()`,
            `LayerCushion()`, `ActivationContraction()` and, if the data has
            labels, `Margin()`.
        frequency: `"epoch"`, or an integer: every so many training steps, and
            at the end of each epoch. With `steps_per_execution` in `compile` it
            is at the end of the execution with that step.
        prefix: String before each key, to tell two monitors apart.
        num_samples: Integer, use only the first samples of `data`.
        batch_size: Integer, for arrays. Defaults to `128`.
        initial_weights: What distances are measured from: a list of arrays or
            a path, see `measure`. Defaults to the weights at the beginning of
            the model's first `fit`.
        **options: `num_probes`, `exact`, `noise`, `num_draws`, `layers`,
            `output`, `threshold`, `bias`, `seed` and `jit_compile`, see `measure`.

    Raises:
        ValueError: If a metric or the frequency is unknown or there is no metric;
            when training begins, if any sample or label does not fit.

    Warns:
        UserWarning: If `CSVLogger`, `TensorBoard` or `RemoteMonitor` is before it.

    Example:

    >>> x, y = np.random.rand(32, 4), np.arange(32) % 3
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> model.compile("sgd", "mse")
    >>> monitor = GeneralizationMonitor((x, y), metrics=["stable_rank"])
    >>> history = model.fit(x, x[:, :3], verbose=0, callbacks=[monitor])
    >>> [key for key in history.history if key != "loss"]
    ['stable_rank/dense']
    """

    def __init__(
        self,
        data: Any,
        metrics: Any = None,
        frequency: int | str = "epoch",
        prefix: str = "",
        *,
        num_samples: int | None = None,
        batch_size: int = 128,
        initial_weights: Any = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if frequency != "epoch":
            if isinstance(frequency, str):
                raise ValueError(
                    '`frequency` must be "epoch" or a number of steps. '
                    f"Received: frequency={frequency!r}"
                )
            check_positive("frequency", frequency)
        self.data = data
        if metrics is None:
            metrics = ["stable_rank", "layer_cushion", "activation_contraction"]
            metrics += ["margin"] * has_labels(data)
        self.metrics = [get(metric) for metric in metrics]
        if not self.metrics:
            raise ValueError(
                "`metrics` must have at least one, or be None for the default. "
                f"Received: metrics={metrics}"
            )
        self.frequency = frequency
        self.prefix = prefix
        self.initial_weights = initial_weights
        self._options = options
        self._limits = {"num_samples": num_samples, "batch_size": batch_size}
        self.measurements = None  # The latest, for whoever wants more.
        self._measurer = None
        self._recorded = None
        self._steps = 0  # Done in this `fit`,
        self._steps_before = 0  # and in its earlier epochs.

    def on_train_begin(self, logs: dict | None = None) -> None:
        quantities = set().union(*(m.quantities for m in self.metrics))
        # A new one for each `fit`: the model may have been changed between.
        self._measurer = Measurer(
            self.model,
            quantities=sorted(quantities),
            initial_weights=self._initial_weights(),
            **self._options,
        )
        # Data that does not fit is refused before the first epoch, not after.
        self._measurer.check(self.data, **self._limits)
        self._steps = self._steps_before = 0
        self._warn_if_late(sys._getframe(1).f_locals.get("self"))

    def _warn_if_late(self, caller):
        """Warns if Keras' list of callbacks has a recorder before this one."""
        before = list(getattr(caller, "callbacks", ()))
        if self not in before:
            return
        before = before[: before.index(self)]
        names = [type(c).__name__ for c in before if isinstance(c, _RECORDERS)]
        if names:
            warnings.warn(
                f"{names[0]} will record nothing of GeneralizationMonitor, which "
                "comes after it in the list of callbacks: put the monitor first.",
                stacklevel=2,
            )

    def _initial_weights(self):
        """Returns what was given, or what the model has in its first `fit`."""
        asked = any(m.needs_initial_weights for m in self.metrics)
        if self.initial_weights is not None or not asked:
            return self.initial_weights
        if self._recorded is None or self._recorded[0] is not self.model:
            self._recorded = self.model, self.model.get_weights()
        return self._recorded[1]

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._steps_before = self._steps

    def on_train_batch_end(self, batch: Any, logs: dict | None = None) -> None:
        # Keras calls once for each execution, with what its last step would be if
        # the epoch were long enough.
        of_epoch = (self.params or {}).get("steps") or batch + 1
        before = self._steps
        self._steps = self._steps_before + min(batch + 1, of_epoch)
        if self.frequency == "epoch":
            return
        if self._steps // self.frequency > before // self.frequency:
            self._record(logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._record(logs)

    def _record(self, logs):
        values = self._measure()
        if logs is not None:
            logs.update(values)

    def _measure(self):
        self._measurer.model = self.model  # On JAX this fetches the weights.
        self.measurements = self._measurer(self.data, **self._limits)
        return {
            self.prefix + key: value
            for metric in self.metrics
            for key, value in metric.select(self.measurements).items()
        }
