"""`PACBayes`: a network that draws its weights, certified by what its prior did not see."""

import collections
from typing import Any

import keras
import numpy as np

from tf_genbounds import backend
from tf_genbounds.bounds import pac_bayes_bound
from tf_genbounds.certificates.fingerprints import of_weights
from tf_genbounds.certificates.independence import Origin
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive
from tf_genbounds.data.reading import read_pair
from tf_genbounds.data.reading import take
from tf_genbounds.data.repeats import warn_of_repeats
from tf_genbounds.keras_internals import layers_in
from tf_genbounds.network.model import check_built
from tf_genbounds.pac_bayes.bounded_crossentropy import BoundedCrossentropy
from tf_genbounds.pac_bayes.certificate import PACBayesCertificate
from tf_genbounds.pac_bayes.certificate import certificate_of
from tf_genbounds.pac_bayes.counted import length
from tf_genbounds.pac_bayes.counted import split
from tf_genbounds.pac_bayes.draw_certificate import DrawCertificate
from tf_genbounds.pac_bayes.draw_certificate import draw_of
from tf_genbounds.pac_bayes.draw_certificate import with_weights
from tf_genbounds.pac_bayes.gibbs import Judge
from tf_genbounds.pac_bayes.objectives import OBJECTIVES
from tf_genbounds.pac_bayes.randomized_model import RandomizedModel
from tf_genbounds.pac_bayes.randomized_model import copies

_SHOWN_DELTA = 0.05
_ASKED = 4  # Examples of which the prior is asked again.


class PACBayes:
    """Trains a network that draws its weights, and certifies it.

    The data is split by the seed. The *prior* `N(w0, s0**2)` is around the weights
    `w0` that ordinary training on one part gives; the *posterior* `N(w, s**2)`
    begins there and learns `w` and `s` on the other, for a bound. The certificate
    counts the errors of the posterior on the other part, and how far it went from the
    prior: see `bounds.pac_bayes_bound`.

    It speaks of the network that draws its weights anew for each batch, `model`. It
    rests on this: nothing of the counted part may get into the prior. So the weights
    that `model` comes with must not depend on it, nor the settings, statistics of a
    normalization, callbacks or validation data of the prior's training. The posterior
    may depend on anything.

    Args:
        model: A built Keras model, a classifier of one example at a time. It is
            trained on the part for the prior, and its batch normalizations are frozen
            afterwards.
        prior_fraction: Float in [0, 1), the share of the examples for the prior. With 0
            the prior is around the weights that the model comes with. Defaults to
            `0.5`.
        prior_std: Positive float, `s0`. Defaults to `0.03`.
        objective: `"classic"`, `"quadratic"`, `"lambda"` or `"inverse_kl"`, see
            `RandomizedModel`. Defaults to `"quadratic"`.
        seed: Integer, of the split and of all draws of weights. Defaults to `0`.
        threshold: Float, for one output whose end does not say which values mean
            class 1.

    Raises:
        ValueError: If the model is not built, or a number is out of range.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(400, 2)).astype("float32")
    >>> y = (x[:, 0] > 0).astype(int)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> training = PACBayes(model, prior_std=0.3)
    >>> training.compile(
    ...     keras.optimizers.Adam(0.1),
    ...     keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> history = training.fit(
    ...     (x, y), prior_epochs=10, posterior_epochs=10, verbose=0
    ... )
    >>> certificate = training.certify(passes=10, blocks=50)
    >>> certificate.vacuous, certificate.num_samples
    (False, 200)

    References:
        - [Perez-Ortiz et al., 2021](https://jmlr.org/papers/v22/20-879.html)
        - [Dziugaite et al., 2021](https://arxiv.org/abs/2006.10929)
    """

    def __init__(
        self,
        model: keras.Model,
        prior_fraction: float = 0.5,
        prior_std: float = 0.03,
        objective: str = "quadratic",
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        check_built(model)
        check_choice("objective", objective, OBJECTIVES)
        if not 0 <= prior_fraction < 1:
            raise ValueError(
                "`prior_fraction` must lie in [0, 1). "
                f"Received: prior_fraction={prior_fraction}"
            )
        if not 0 < prior_std < np.inf:
            raise ValueError(
                f"`prior_std` must be positive. Received: prior_std={prior_std}"
            )
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(
                f"`seed` must be a non-negative integer. Received: seed={seed!r}"
            )
        self.prior_fraction = prior_fraction
        self.prior_std = prior_std
        self.objective = objective
        self.seed = seed
        self.threshold = threshold
        self._network = model
        self._first = copies(model.weights)
        self._trainable = [layer.trainable for layer in layers_in(model)]
        self._origin = Origin("the prior's training", "the counted examples")
        self._origin.see_model(model)  # Before `compile` replaces its optimizer.
        self._options = None
        self._model = None
        self._data = None
        self._judge = None
        self._moved = False  # Whether the network kept something of counted examples.
        self._split = None
        self._num_prior = 0
        self._prior = None
        self._looks = []  # Of each call of `fit` what was certified.

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        *,
        posterior_optimizer: Any = None,
        posterior_loss: Any = None,
        **options: Any,
    ) -> None:
        """Says how to train, as `keras.Model.compile` does.

        Args:
            optimizer: As for `keras.Model.compile`. Each phase has a fresh copy.
            loss: As for `keras.Model.compile`, of the prior's training.
            metrics: As for `keras.Model.compile`; of the posterior's training they are
                those of the drawn weights.
            posterior_optimizer: Another optimizer for the posterior.
            posterior_loss: Loss in [0, 1] of each example, for the posterior. Defaults
                to `BoundedCrossentropy`, with `from_logits` as the end of the model
                says.
            **options: Others of `keras.Model.compile`, such as `jit_compile`.
        """
        if loss is None:
            raise ValueError("`loss` is needed. Received: loss=None")
        self._options = {
            "prior": (keras.optimizers.get(optimizer), loss),
            "posterior": (
                keras.optimizers.get(posterior_optimizer or optimizer),
                posterior_loss,
            ),
            "metrics": metrics,
            "others": options,
        }

    def fit(
        self,
        data: Any,
        *,
        prior_epochs: int,
        posterior_epochs: int,
        batch_size: int | None = None,
        callbacks: Any = None,
        validation_data: Any = None,
        verbose: int | str = "auto",
    ) -> keras.callbacks.History:
        """Trains the prior on one part of the data, then the posterior on the other.

        Each call begins anew with the weights that the model had when this object was
        made. The order of the batches and random layers are those of
        `keras.utils.set_random_seed`.

        Args:
            data: A tuple `(x, y)` of arrays, or a `tf.data.Dataset` or
                `keras.utils.PyDataset` of batches, which is read once, into memory.
            prior_epochs: Integer, epochs on the part for the prior. May be 0.
            posterior_epochs: Integer, epochs on the counted part. May be 0.
            batch_size: Integer. Defaults to 32, or the dataset's.
            callbacks: As for `keras.Model.fit`, in both phases. In the prior's they
                must not know the counted part.
            validation_data: As for `keras.Model.fit`, in both phases. If inputs of it
                are counted, the certificate fails.
            verbose: As for `keras.Model.fit`.

        Returns:
            `keras.callbacks.History` of all epochs; its key `"phase"` has `"prior"` or
            `"posterior"`. Only the second has `error`, the share of wrong predictions
            while the weights moved and layers such as dropout were at work, `kl` in
            nats, and `bound`, which the two would give (with `delta=0.05`, without the
            price of finitely many draws).

        Raises:
            RuntimeError: Before `compile`.
            ValueError: If the data has weights, or a part of it is empty.
        """
        if self._options is None:
            raise RuntimeError("Call `compile` before `fit`.")
        _check_epochs("prior_epochs", prior_epochs)
        _check_epochs("posterior_epochs", posterior_epochs)
        self._refuse_moved()
        with backend.scope(self._network):
            if backend.num_replicas() > 1:
                raise ValueError(
                    "Each replica would draw weights of its own. Train on one device. "
                    f"Received: {backend.num_replicas()} replicas"
                )
        if batch_size is not None:
            check_positive("batch_size", batch_size)
        data, batch_size = read_pair(data, batch_size)
        # What is counted later is what it is now.
        data = keras.tree.map_structure(np.array, data)
        warn_of_repeats(data, stacklevel=2)
        count = length(data)
        of_prior, counted = split(count, self.prior_fraction, self.seed)
        if not len(counted) or (prior_epochs and not len(of_prior)):
            raise ValueError(
                "Both the prior and what is counted need examples, or "
                "`prior_epochs=0`. Received: "
                f"prior_fraction={self.prior_fraction}, {count} examples"
            )
        self._model, self._data = None, data
        self._split = self.prior_fraction, self.seed
        self._num_prior = len(of_prior) if prior_epochs else 0
        self._looks.append(set())  # Also of a run that is broken off.
        self._begin()
        options = {
            "batch_size": batch_size,
            "callbacks": callbacks,
            "validation_data": validation_data,
            "verbose": verbose,
        }
        logs = {}
        if prior_epochs:
            self._origin.see_fit(
                take(data[0], counted),
                callbacks=callbacks,
                validation_data=validation_data,
                class_weight=None,
                weights=False,
            )
            self._compile(self._network, *self._options["prior"])
            part = take(data, of_prior)
            logs["prior"] = _fit(self._network, part, prior_epochs, options)
        prior = of_weights(self._network)  # From now on it is to stay as it is.
        # Also of what a layer keeps outside its weights.
        asked = take(data[0], counted[:_ASKED])
        said = _outputs(self._network, asked)
        judge = Judge.of(self._network, take(data, counted), self.threshold)
        model = RandomizedModel(
            self._network,
            num_samples=len(counted),
            prior_std=self.prior_std,
            objective=self.objective,
            threshold=judge.decision.threshold,
            seed=self.seed,
        )
        optimizer, loss = self._options["posterior"]
        self._compile(model, optimizer, loss or self._bounded_loss(judge))
        if posterior_epochs:
            shown = [_ShownBound(model, len(counted)), *(callbacks or ())]
            options["callbacks"] = shown
            part = take(data, counted)
            logs["posterior"] = _fit(model, part, posterior_epochs, options)
        # Of weights that were moved `certify` knows by itself.
        self._moved = of_weights(self._network) == prior and not np.allclose(
            _outputs(self._network, asked), said, 1e-4, 1e-6, equal_nan=True
        )
        self._refuse_moved()
        self._model, self._judge = model, judge
        self._prior = prior
        return _joined(logs)

    @property
    def model(self) -> RandomizedModel:
        """The network that draws its weights, of which the certificate speaks."""
        return self._finished()

    @property
    def mean_model(self) -> keras.Model:
        """A copy of the network with the mean weights of the posterior.

        It is **not certified**: it is mostly better than the network that draws its
        weights, and nothing is proved of it.
        """
        model = self._finished()
        return with_weights(model, copies(model.means), "mean_not_certified")

    def certify(
        self,
        delta: float = 0.05,
        passes: int = 40,
        blocks: int = 600,
        *,
        num_models: float = 1,
    ) -> PACBayesCertificate:
        """Certifies the network that draws its weights.

        The counted examples are cut into blocks of one size (a remainder is not
        counted), each of which is predicted by weights of its own in every pass. A
        fifth of `delta` is for these draws, see `bounds.gibbs_bound`, the rest for the
        bound by the inverse kl, see `bounds.pac_bayes_bound`.

        Args:
            delta: Float in (0, 1), the failure probability. Defaults to `0.05`.
            passes: Integer. Defaults to `40`.
            blocks: Integer; at most the number of counted examples are made. More of
                them cost time and make the bound tighter. A block is predicted as one
                batch. Defaults to `600`.
            num_models: Number of the runs (settings, seeds, passes and blocks) of which
                this one was or could have been chosen. It is at least that of the
                calls of `fit` and the different calls of this method.

        Returns:
            `PACBayesCertificate`, a `Certificate`: print it.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: If there were more runs than `num_models`, or a number is out of
                range.
        """
        check_positive("passes", passes)
        check_positive("blocks", blocks)
        return certificate_of(
            self._finished(),
            self._data,
            self._judge,
            passes=passes,
            blocks=blocks,
            **self._certified((passes, blocks), delta, num_models),
        )

    def certify_draw(
        self, delta: float = 0.05, *, num_models: float = 1
    ) -> tuple[keras.Model, DrawCertificate]:
        """Draws one network from the posterior, and certifies it.

        It is an ordinary Keras model with fixed weights, drawn once for each posterior:
        see `bounds.disintegrated_bound`. What the draw costs takes the place of the
        divergence, and there is no price for finitely many draws.

        Args:
            delta: Float in (0, 1), the failure probability. Defaults to `0.05`.
            num_models: As for `certify`; this is a run of its own.

        Returns:
            A pair of the network and its `DrawCertificate`.

        Raises:
            RuntimeError: Before `fit`.
            ValueError: As `certify`.
        """
        return draw_of(
            self._finished(),
            self._data,
            self._judge,
            **self._certified("draw", delta, num_models),
        )

    def _certified(self, look, delta, num_models):
        """Notes what is looked at, and returns what certificates have in common."""
        self._finished()
        check_delta(delta)
        # Draws are of one posterior.
        looks = self._looks[-1] | {(look, of_weights(self._model))}
        count = sum(max(len(look), 1) for look in [*self._looks[:-1], looks])
        if not num_models >= count:
            raise ValueError(
                f"{count} different runs could have been compared: pay for them. "
                f"Received: num_models={num_models}"
            )
        self._looks[-1] = looks
        if of_weights(self._network) != self._prior:
            raise ValueError(
                "The weights of the model that was passed are the prior's, and have "
                "changed since it was trained: on the counted examples, perhaps. Call "
                f"`fit` again. Received: model={self._network.name!r}"
            )
        prior_fraction, seed = self._split
        of_prior, counted = split(length(self._data), prior_fraction, seed)
        seen, inputs = (take(self._data[0], part) for part in (of_prior, counted))
        return {
            "prior_fraction": prior_fraction,
            "seed": seed,
            "delta": delta,
            "num_models": num_models,
            "num_prior": self._num_prior,
            "origin": (*self._origin.assumptions(), *self._origin.copies(inputs, seen)),
        }

    def _begin(self):
        """Gives the network the first weights, and what was trainable then."""
        for layer, trainable in zip(
            layers_in(self._network), self._trainable, strict=True
        ):
            layer.trainable = trainable
        self._network.set_weights(self._first)

    def _refuse_moved(self):
        """Refuses a network of which the first weights are not the beginning."""
        if self._moved:
            raise ValueError(
                "The posterior's training changed what the prior's network predicts: a "
                "layer keeps something outside its weights, which now depends on the "
                "counted examples. Keep it in a weight, and begin with a fresh model. "
                f"Received: model={self._network.name!r}"
            )

    def _compile(self, model, optimizer, loss):
        model.compile(
            type(optimizer).from_config(optimizer.get_config()),
            loss,
            metrics=self._options["metrics"],
            **self._options["others"],
        )

    def _bounded_loss(self, judge):
        if judge.network.end in ("logits", "log_softmax"):
            return BoundedCrossentropy(from_logits=True)
        if judge.network.end in ("softmax", "sigmoid", "hard_sigmoid"):
            return BoundedCrossentropy()
        raise ValueError(
            "The end of the model does not say whether it returns probabilities or "
            "logits: pass `posterior_loss=gb.pac_bayes.BoundedCrossentropy("
            f"from_logits=...)` to `compile`. Received: model={self._network.name!r}"
        )

    def _finished(self):
        if self._model is None:
            raise RuntimeError("Call `fit` first, to its end.")
        return self._model


class _ShownBound(keras.callbacks.Callback):
    """Writes into the logs what errors and divergence would prove."""

    def __init__(self, model, num_samples):
        super().__init__()
        self._of = model
        self._num_samples = num_samples

    def on_epoch_end(self, epoch, logs=None):
        logs["bound"] = pac_bayes_bound(
            min(float(logs["error"]), 1.0),
            kl=self._of.kl(),
            num_samples=self._num_samples,
            delta=_SHOWN_DELTA,
        ).value


def _joined(logs):
    """Returns one history of the logs of several phases, a dict of them by name."""
    history = keras.callbacks.History()
    found = collections.defaultdict(list)
    for phase, values in logs.items():
        found["phase"] += [phase] * len(values["loss"])
        for key, numbers in values.items():
            found[key] += numbers
    history.history = dict(found)
    history.epoch = list(range(len(found["phase"])))
    return history


def _outputs(network, x):
    """Returns what a network says of some examples, one after another operation."""
    return np.concatenate(
        [
            np.ravel(keras.ops.convert_to_numpy(output))
            for output in keras.tree.flatten(network(x, training=False))
        ]
    )


def _fit(model, data, epochs, options):
    return model.fit(*data, epochs=epochs, **options).history


def _check_epochs(name, value):
    if value:
        check_positive(name, value)
