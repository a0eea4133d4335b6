"""`RandomizedModel`: a network that draws its weights from a Gaussian."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.bounds.gaussian import gaussian_kl
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive
from tf_genbounds.keras_internals import layers_in
from tf_genbounds.network.model import check_built
from tf_genbounds.network.model import check_merged
from tf_genbounds.pac_bayes.objectives import OBJECTIVES
from tf_genbounds.pac_bayes.objectives import log_term
from tf_genbounds.pac_bayes.objectives import objective_of

_PREDICT, _TRAIN = 1, 2  # What a seed is for: two streams of random numbers.


@keras.saving.register_keras_serializable(package="tf_genbounds")
class RandomizedModel(keras.Model):
    """Draws the weights of a network anew in each call.

    A trainable weight is drawn from the *posterior* `N(w, s**2)`, with `w` and
    `s = softplus(r)` learned; the *prior* is `N(w0, s0**2)`, with `w0` the weights of
    `network`. All weights are drawn once in each call: once for every batch of `fit`
    and of `predict`. So each single prediction is one of the randomized classifier of
    which PAC-Bayes bounds speak; those of a batch share their weights.

    `fit` minimizes a bound of the compiled loss, which has to lie in [0, 1]
    (`BoundedCrossentropy`), with `KL` the divergence of posterior and prior, `R` the
    loss of the batch and `c = (KL + ln(2 sqrt(n) / delta)) / (2 n)`:

    - `objective="classic"`: `R + sqrt(c)`
    - `objective="quadratic"`: `(sqrt(R + c) + sqrt(c))**2`
    - `objective="lambda"`: `R / (1 - l / 2) + 2 c / (l (1 - l / 2))`, `l` learned
    - `objective="inverse_kl"`: `klinv(R, 2 c)`

    The logs have `error`, the share of wrong predictions, and `kl`, in nats, both in
    the mean of the epoch so far. Use `PACBayes` to prove something.

    All else is as in `network`: weights that are not trainable, such as statistics,
    stay as they are; batch normalizations are frozen (`trainable` is set to false);
    regularizers do not count.

    The draws depend on the seed and on how many there were; `fit` and `predict` have
    streams of their own, so that what `predict` draws did not shape the posterior. A
    model that is loaded begins its streams anew.

    Args:
        network: A built Keras model. It is part of this one, and keeps its weights.
        num_samples: Integer, `n`, the samples that the bound counts.
        prior_std: Positive float, `s0`. Defaults to `0.03`.
        objective: `"classic"`, `"quadratic"`, `"lambda"` or `"inverse_kl"`. Defaults to
            `"quadratic"`.
        delta: Float in (0, 1), of the objective. Defaults to `0.05`.
        threshold: Float, for one output: class 1 is decided for above it. Defaults to
            `None`: several outputs, of which the largest decides.
        seed: Integer. Defaults to `0`.
        name: String, defaults to that of the network.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = RandomizedModel(network, num_samples=64)
    >>> model.compile("adam", gb.pac_bayes.BoundedCrossentropy(from_logits=True))
    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> logs = model.fit(x, x[:, 0] > 0, epochs=2, verbose=0).history
    >>> sorted(logs)
    ['error', 'kl', 'loss']
    >>> bool(np.all(model.predict(x, verbose=0) == model.predict(x, verbose=0)))
    False

    References:
        - [Perez-Ortiz et al., 2021](https://jmlr.org/papers/v22/20-879.html)
        - [Blundell et al., 2015](https://arxiv.org/abs/1505.05424)
    """

    def __init__(
        self,
        network: keras.Model,
        num_samples: int,
        prior_std: float = 0.03,
        objective: str = "quadratic",
        delta: float = 0.05,
        threshold: float | None = None,
        seed: int = 0,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_built(network)
        check_positive("num_samples", num_samples)
        check_choice("objective", objective, OBJECTIVES)
        check_delta(delta)
        if not 0 < prior_std < np.inf:
            raise ValueError(
                f"`prior_std` must be positive. Received: prior_std={prior_std}"
            )
        check_merged(network, "save and load the model first, which merges them")
        freeze_normalization(network)
        if not network.trainable_variables:
            raise ValueError(
                "A posterior needs weights to draw: none is trainable, batch "
                f"normalizations aside. Received: model={network.name!r}"
            )
        # Weights are drawn in float32, whatever the network computes in.
        super().__init__(name=name or network.name, dtype="float32", **kwargs)
        self.network = network
        self.num_samples = num_samples
        self.prior_std = float(prior_std)
        self.objective = objective
        self.delta = delta
        self.threshold = threshold
        self.seed = seed
        # softplus(r) = s0
        spread = np.log(np.expm1(self.prior_std))
        self.means, self.spreads = [], []
        for i, value in enumerate(copies(network.trainable_variables)):
            self.means.append(self._weight(f"mean_{i}", value))
            full = np.full(value.shape, spread)
            self.spreads.append(self._weight(f"spread_{i}", full))
        self._learned = [*self.means, *self.spreads]
        if objective == "lambda":
            # l = 2 sigmoid(t) = 1
            self.trade = self._weight("trade", np.zeros(()))
            self._learned.append(self.trade)
        self.predict_seeds = self._seeds(_PREDICT)
        self.train_seeds = self._seeds(_TRAIN)
        self._errors = keras.metrics.Mean(name="error")
        self._divergence = keras.metrics.Mean(name="kl")
        self.built = True

    def _weight(self, name, value):
        return self.add_weight(
            shape=value.shape,
            name=name,
            dtype="float32",
            initializer=lambda shape, dtype: ops.cast(value, dtype),
        )

    def _seeds(self, stream):
        return keras.random.SeedGenerator(stream_seed(self.seed, stream))

    # What is trained is the posterior; the weights of the network are the prior's.

    @property
    def trainable_variables(self) -> list:
        return list(self._learned)

    @property
    def non_trainable_variables(self) -> list:
        learned = {id(v) for v in self._learned}
        return [v for v in self.variables if id(v) not in learned]

    @property
    def trainable_weights(self) -> list:
        return self.trainable_variables

    @property
    def non_trainable_weights(self) -> list:
        learned = {id(v) for v in self._learned}
        return [v for v in self.weights if id(v) not in learned]

    def stds(self) -> list:
        """Returns the standard deviations of the posterior, a list of tensors."""
        return [ops.softplus(ops.convert_to_tensor(r)) for r in self.spreads]

    def draw(self, seed: int) -> list:
        """Draws weights from the posterior.

        Args:
            seed: `keras.random.SeedGenerator`.

        Returns:
            List of tensors, one for each trainable weight of the network.
        """
        return [
            ops.convert_to_tensor(w)
            + s * keras.random.normal(w.shape, dtype="float32", seed=seed)
            for w, s in zip(self.means, self.stds(), strict=True)
        ]

    def call(self, inputs: Any, training: Any = None) -> Any:
        fixed = self.network.non_trainable_variables
        outputs, updates = self.network.stateless_call(
            self.draw(self.train_seeds if training else self.predict_seeds),
            [v.value for v in fixed],
            inputs,
            training=training,
        )
        # Statistics stay as they are; the seeds of random layers go on.
        weights = {id(v) for v in self.network.weights}
        for variable, value in zip(fixed, updates, strict=True):
            if id(variable) not in weights:
                variable.assign(value)
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: Any = True,
    ) -> Any:
        replicas = backend.num_replicas()  # The gradients of replicas are summed.
        risk = super().compute_loss(x, y, y_pred, sample_weight, training) * replicas
        kl = self._kl()
        wrong = _wrong(keras.tree.flatten(y)[0], y_pred, self.threshold)
        self._errors.update_state(wrong)
        self._divergence.update_state(kl)
        rate = (kl + log_term(self.num_samples, self.delta)) / self.num_samples
        trade = (
            2 * ops.sigmoid(self.trade.value) if self.objective == "lambda" else None
        )
        return objective_of(self.objective, risk, rate, trade) / replicas

    def _kl(self):
        """The divergence as a tensor, in float32."""
        total = 0.0
        for w, s, w0 in zip(
            self.means, self.stds(), self.network.trainable_variables, strict=True
        ):
            distance = w.value - ops.cast(w0.value, "float32")
            squares = ops.square(distance / self.prior_std)
            ratio = s / self.prior_std
            terms = (ops.square(ratio) - 1 + squares) / 2 - ops.log(ratio)
            total = total + ops.sum(terms)
        return total

    def kl(self) -> float:
        """Returns the divergence of posterior and prior in nats, rounded up: a float.

        In float64, see `bounds.gaussian_kl`.
        """
        return gaussian_kl(
            copies(self.means),
            copies(self.stds()),
            copies(self.network.trainable_variables),
            self.prior_std,
        )

    def get_config(self) -> dict:
        return {
            "name": self.name,
            "network": uncompiled_config(self.network),
            "num_samples": self.num_samples,
            "prior_std": self.prior_std,
            "objective": self.objective,
            "delta": self.delta,
            "threshold": self.threshold,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:
        config = dict(config)
        network = keras.saving.deserialize_keras_object(
            config.pop("network"), custom_objects
        )
        return cls(network, **config)


def uncompiled_config(network):
    """Returns the serialized network without how it was compiled.

    A loss of the user's own could not be found again.
    """
    config = keras.saving.serialize_keras_object(network)
    return {key: value for key, value in config.items() if key != "compile_config"}


def freeze_normalization(network):
    """Freezes batch normalizations: they go on with the statistics they have."""
    for layer in layers_in(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def stream_seed(seed, stream):
    """Returns the seed of one of several streams of random numbers."""
    return int(np.random.default_rng([seed, stream]).integers(2**31))


def _wrong(y, y_pred, threshold):
    """Which examples are wrong, ties too, as `Decision` has it."""
    y_pred = ops.convert_to_tensor(keras.tree.flatten(y_pred)[0])
    y = ops.convert_to_tensor(y)
    classes = y_pred.shape[-1]
    if classes > 1 and tuple(y.shape) == tuple(y_pred.shape):
        y = ops.argmax(y, axis=-1)
    y = ops.reshape(y, (-1,))
    if classes == 1:
        sign = 2 * ops.cast(y, y_pred.dtype) - 1
        return ops.logical_not(sign * (y_pred[:, 0] - (threshold or 0.0)) > 0)
    own = ops.one_hot(ops.cast(y, "int32"), classes, dtype="bool")
    least = ops.cast(-float("inf"), y_pred.dtype)
    score = ops.max(ops.where(own, y_pred, least), axis=-1)
    rival = ops.max(ops.where(own, least, y_pred), axis=-1)
    return ops.logical_not(score > rival)


def copies(tensors):
    """Returns tensors as arrays of their own.

    On JAX an array may share the memory of its tensor, which training gives away.
    """
    return [np.array(ops.convert_to_numpy(ops.convert_to_tensor(t))) for t in tensors]
