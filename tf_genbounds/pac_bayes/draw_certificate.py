"""`DrawCertificate`: a bound for one network that was drawn from the posterior."""

import dataclasses
from typing import Any

import keras
import numpy as np

from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import at_most
from tf_genbounds.bounds import confidence
from tf_genbounds.bounds import disintegrated_bound
from tf_genbounds.bounds import gaussian_log_ratio
from tf_genbounds.certificates import fingerprints
from tf_genbounds.certificates.certificate import BoundCertificate
from tf_genbounds.certificates.certificate import refuse_differences
from tf_genbounds.data.reading import read_pair
from tf_genbounds.data.reading import take
from tf_genbounds.keras_internals import layers_in
from tf_genbounds.measure.decision import count_errors
from tf_genbounds.pac_bayes import counted as parts
from tf_genbounds.pac_bayes.gibbs import Judge
from tf_genbounds.pac_bayes.gibbs import fresh_seed
from tf_genbounds.pac_bayes.randomized_model import copies
from tf_genbounds.pac_bayes.randomized_model import uncompiled_config

_ONE = 4  # What a seed is for: a stream of random numbers.


@dataclasses.dataclass(frozen=True)
class DrawCertificate(BoundCertificate, kind="pac_bayes_draw"):
    """What `PACBayes.certify_draw` returns: of a network with fixed weights.

    Attributes:
        bound: `bounds.Bound`, with all constants and assumptions.
        errors: Integer, how many of the counted examples the network gets wrong.
        log_ratio: Float, `ln(dQ/dP)` of posterior and prior at the drawn weights.
        num_prior: Integer, how many other examples the prior was trained on.
        fingerprints: Dict: sha256 of the network's weights, of those of the
            `RandomizedModel`, of the data, and the versions.
        settings: Dict: what `verify` needs to compute it again.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> training = gb.pac_bayes.PACBayes(model, prior_fraction=0.0)
    >>> training.compile(loss="mse")
    >>> _ = training.fit((x, x[:, 0] > 0), prior_epochs=0, posterior_epochs=0)
    >>> network, certificate = training.certify_draw()
    >>> certificate.num_samples, abs(certificate.log_ratio) < 1e-3  # As the prior.
    (60, True)
    """

    bound: Bound
    errors: int
    log_ratio: float
    num_prior: int
    fingerprints: dict
    settings: dict

    def statement(self) -> str:
        """Returns the certificate in plain sentences, all numbers rounded up."""
        bound, settings = self.bound, self.settings
        vacuous = " (vacuous)" if self.vacuous else ""
        text = (
            f"With probability {confidence(self.delta)} over the draw of the "
            f"{self.num_samples:,} examples that are counted and the one draw of the "
            "weights, the model is wrong on at most "
            f"{at_most(100 * min(bound.value, 1.0), 3)} % of examples drawn in the "
            f"same way{vacuous}: it is wrong on {at_most(100 * bound.empirical, 3)} % "
            "of the counted ones, and its weights are by "
            f"{at_most(self.log_ratio)} nats more likely under the posterior than "
            f"under the prior, {parts.prior_of(self.num_prior)}; {settings['rule']}."
        )
        return self._unless_failed(text + parts.caveats(settings["num_models"]))

    def verify(
        self, model: keras.Model, data: Any, *, posterior: Any
    ) -> "DrawCertificate":
        """Recomputes everything but the training of the prior.

        Args:
            model: The network that was drawn, or a copy of it.
            data: The data that `fit` was given, in the same order.
            posterior: The `RandomizedModel` that it was drawn from, or a copy of it.

        Returns:
            The certificate.

        Raises:
            ValueError: If the weights, the data or a number differ: with all that do.
        """
        self._refuse_failed()
        data, _ = read_pair(data)
        settings = self.settings
        counted = parts.counted_of(data, settings)
        _, again = draw_of(
            posterior,
            data,
            Judge.of(posterior.network, counted, settings["threshold"]),
            prior_fraction=settings["prior_fraction"],
            seed=settings["seed"],
            delta=self.delta,
            num_models=settings["num_models"],
            num_prior=self.num_prior,
        )
        found = again._numbers()
        # Of the very model, whose layers without weights may be others.
        found["sha256 of the weights"] = fingerprints.of_weights(model)
        found["the number of errors"] = count_errors(
            model, counted, threshold=settings["threshold"]
        ).errors
        found["not named"] = parts.unnamed(self, again)
        refuse_differences(found, {**self._numbers(), "not named": []})
        return self

    def _numbers(self):
        return {
            "sha256 of the weights": self.fingerprints["weights"],
            "sha256 of the posterior": self.fingerprints["posterior"],
            "sha256 of the data": self.fingerprints["data"],
            "sha256 of the data in their order": self.fingerprints["order"],
            "the number of counted examples": self.num_samples,
            "the number of errors": self.errors,
            "what was seen": self.empirical,
            "the log ratio": self.log_ratio,
            "the bound": self.value,
            "the rule": self.settings["rule"],
        }


def with_weights(model, weights, name):
    """Returns a copy of the network of a `RandomizedModel`, with other weights.

    Args:
        model: `RandomizedModel`.
        weights: List of arrays, for what is drawn.
        name: String, which is added to the name of the network.
    """
    copy = keras.saving.deserialize_keras_object(uncompiled_config(model.network))
    # Which layers are frozen is not in every config.
    for layer, twin in zip(layers_in(model.network), layers_in(copy), strict=True):
        twin.trainable = layer.trainable
    copy.name = f"{model.network.name}_{name}"
    copy.set_weights(copies(model.network.weights))
    for variable, value in zip(copy.trainable_variables, weights, strict=True):
        variable.assign(value)
    return copy


def draw_of(
    model, data, judge, *, prior_fraction, seed, delta, num_models, num_prior, origin=()
):
    """Draws a network from the posterior, once, and certifies it.

    Args:
        model: `RandomizedModel`.
        data: Pair `(x, y)` of nests of arrays.
        judge: `Judge`.
        prior_fraction: Float, see `PACBayes`.
        seed: Integer, of the split.
        delta: Float in (0, 1).
        num_models: Number of the runs that could be compared.
        num_prior: Integer, how many examples the prior was trained on.
        origin: The assumptions of where the prior comes from.

    Returns:
        A pair of the network and its `DrawCertificate`.
    """
    _, counted = parts.split(parts.length(data), prior_fraction, seed)
    weights = copies(model.draw(keras.random.SeedGenerator(fresh_seed(model, _ONE))))
    # Variables of half precision round what was drawn: a function of it. The densities
    # are those of the draw itself.
    network = with_weights(model, weights, "drawn")
    of = count_errors(
        network, take(data, np.sort(counted)), threshold=judge.decision.threshold
    )
    log_ratio = gaussian_log_ratio(
        weights,
        copies(model.means),
        copies(model.stds()),
        copies(model.network.trainable_variables),
        model.prior_std,
    )
    bound = disintegrated_bound(
        of.errors / of.num_samples,
        log_ratio=log_ratio,
        num_samples=of.num_samples,
        delta=delta,
        num_priors=num_models,
    )
    iid, _, _, one = bound.assumptions
    certificate = DrawCertificate(
        bound=dataclasses.replace(
            bound,
            name="Disintegrated PAC-Bayes certificate",
            assumptions=parts.assumptions_of(
                iid, one, origin=origin, judge=judge, num_models=num_models
            ),
            quantity=f"the 0-1 risk ({judge.decision})",
        ),
        errors=of.errors,
        log_ratio=log_ratio,
        num_prior=num_prior,
        fingerprints={
            **parts.digests_of(network, data),
            "posterior": fingerprints.of_weights(model),
            "versions": fingerprints.versions(),
        },
        settings={
            "prior_fraction": prior_fraction,
            "seed": seed,
            "threshold": judge.decision.threshold,
            "num_models": num_models,
            "rule": str(judge.decision),
        },
    )
    return network, certificate
