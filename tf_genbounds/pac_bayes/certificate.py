"""`PACBayesCertificate`: a bound for a network that draws its weights."""

import dataclasses
import decimal
from typing import Any

import keras
import numpy as np

from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import at_most
from tf_genbounds.bounds import confidence
from tf_genbounds.bounds import gibbs_bound
from tf_genbounds.bounds import pac_bayes_bound
from tf_genbounds.certificates import fingerprints
from tf_genbounds.certificates.certificate import BoundCertificate
from tf_genbounds.certificates.certificate import refuse_differences
from tf_genbounds.data.reading import read_pair
from tf_genbounds.pac_bayes import counted as parts
from tf_genbounds.pac_bayes.gibbs import Judge
from tf_genbounds.pac_bayes.gibbs import count_errors
from tf_genbounds.pac_bayes.gibbs import in_blocks
from tf_genbounds.pac_bayes.randomized_model import RandomizedModel

# Which share of `delta` is for the draws of the weights.
_DRAWS = decimal.Decimal("0.2")


@dataclasses.dataclass(frozen=True)
class PACBayesCertificate(BoundCertificate, kind="pac_bayes"):
    """What `PACBayes.certify` returns.

    Attributes:
        bound: `bounds.Bound`, with all constants and assumptions.
        errors: Integer, wrong predictions in all passes.
        kl: Float, the divergence of posterior and prior in nats.
        num_prior: Integer, how many other examples the prior was trained on.
        fingerprints: Dict: sha256 of the weights and of the data, in any order and in
            their order, and the versions.
        settings: Dict: what `verify` needs to compute it again.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> training = gb.pac_bayes.PACBayes(model, prior_fraction=0.0)
    >>> training.compile(loss="mse")
    >>> _ = training.fit((x, x[:, 0] > 0), prior_epochs=0, posterior_epochs=0)
    >>> certificate = training.certify(passes=1, blocks=60)
    >>> certificate.num_samples, certificate.num_prior, certificate.delta
    (60, 0, 0.05)
    """

    bound: Bound
    errors: int
    kl: float
    num_prior: int
    fingerprints: dict
    settings: dict

    def statement(self) -> str:
        """Returns the certificate in plain sentences, all numbers rounded up."""
        bound, settings = self.bound, self.settings
        vacuous = " (vacuous)" if self.vacuous else ""
        text = (
            f"With probability {confidence(self.delta)} over the draw of the "
            f"{self.num_samples:,} examples that are counted and of the weights that "
            "were tried, the randomized network, which draws its weights anew for each "
            "batch, is wrong on at most "
            f"{at_most(100 * min(bound.value, 1.0), 3)} % of examples drawn in the "
            f"same way{vacuous}: it was wrong on {at_most(100 * bound.empirical, 3)} % "
            f"of the counted ones, in {settings['passes']:,} passes with fresh weights "
            f"for each of {settings['blocks']:,} blocks, and the weights are "
            f"{at_most(self.kl)} nats away from the prior, "
            f"{parts.prior_of(self.num_prior)}; {settings['rule']}. It does not speak "
            "of the network with the mean weights."
        )
        return self._unless_failed(text + parts.caveats(settings["num_models"]))

    def verify(self, model: keras.Model, data: Any) -> "PACBayesCertificate":
        """Recomputes everything but the training of the prior.

        Args:
            model: The `RandomizedModel` that was certified, or a copy of it.
            data: The data that `fit` was given, in the same order, which decides what
                is counted.

        Returns:
            The certificate.

        Raises:
            ValueError: If the weights, the data or a number differ: with all that do.
                Another backend draws other weights, and refuses.
        """
        if not isinstance(model, RandomizedModel):
            raise ValueError(
                "The certificate is of a network that draws its weights, a "
                f"`RandomizedModel`. Received: model={model.name!r}, a "
                f"{type(model).__name__}"
            )
        self._refuse_failed()
        own = self.fingerprints["versions"]["backend"]
        if own != fingerprints.versions()["backend"]:
            raise ValueError(
                "The weights were drawn by another backend, which draws others. "
                f"Received: {own}, while this is {fingerprints.versions()['backend']}"
            )
        data, _ = read_pair(data)
        settings = self.settings
        names = {
            "weights": "sha256 of the weights",
            "data": "sha256 of the data",
            "order": "sha256 of the data in their order",
        }
        found = parts.digests_of(model, data)
        refuse_differences(
            {text: found[name] for name, text in names.items()},
            {text: self.fingerprints[name] for name, text in names.items()},
        )
        again = certificate_of(
            model,
            data,
            Judge.of(
                model.network, parts.counted_of(data, settings), settings["threshold"]
            ),
            prior_fraction=settings["prior_fraction"],
            seed=settings["seed"],
            delta=self.delta,
            passes=settings["passes"],
            blocks=settings["blocks"],
            num_models=settings["num_models"],
            num_prior=self.num_prior,
        )
        found = {**again._numbers(), "not named": parts.unnamed(self, again)}
        refuse_differences(found, {**self._numbers(), "not named": []})
        return self

    def _numbers(self):
        return {
            "the number of counted examples": self.num_samples,
            "the number of errors": self.errors,
            "what was seen": self.empirical,
            "the divergence": self.kl,
            "the bound": self.value,
            "the rule": self.settings["rule"],
        }


def certificate_of(
    model,
    data,
    judge,
    *,
    prior_fraction,
    seed,
    delta,
    passes,
    blocks,
    num_models,
    num_prior,
    origin=(),
):
    """Returns the certificate of a `RandomizedModel`.

    Args:
        model: `RandomizedModel`; the prior is that of the training on the part of the
            data for it.
        data: Pair `(x, y)` of nests of arrays.
        judge: `Judge`.
        prior_fraction: Float, see `PACBayes`.
        seed: Integer, of the split.
        delta: Float in (0, 1).
        passes: Integer.
        blocks: Integer.
        num_models: Number of the runs that could be compared.
        num_prior: Integer, how many examples the prior was trained on.
        origin: The assumptions of where the prior comes from.
    """
    _, counted = parts.split(parts.length(data), prior_fraction, seed)
    cut = in_blocks(counted, blocks)
    of_draws, of_sample = shares(delta, num_models)
    errors = count_errors(model, data, cut, passes, judge)
    draws = gibbs_bound(
        errors / (passes * cut.size), num_draws=passes * len(cut), delta=of_draws
    )
    kl = model.kl()
    bound = pac_bayes_bound(draws, kl=kl, num_samples=cut.size, delta=of_sample)
    iid, _, _, fresh = bound.assumptions  # Errors are 0 or 1; the prior is said below.
    return PACBayesCertificate(
        bound=dataclasses.replace(
            bound,
            name="PAC-Bayes certificate",
            delta=float(delta),
            assumptions=parts.assumptions_of(
                iid, fresh, origin=origin, judge=judge, num_models=num_models
            ),
            quantity="the 0-1 risk of the network that draws its weights for each "
            f"batch ({judge.decision})",
        ),
        errors=errors,
        kl=kl,
        num_prior=num_prior,
        fingerprints={
            **parts.digests_of(model, data),
            "versions": fingerprints.versions(),
        },
        settings={
            "prior_fraction": prior_fraction,
            "seed": seed,
            "threshold": judge.decision.threshold,
            "passes": passes,
            "blocks": len(cut),
            "num_models": num_models,
            "rule": str(judge.decision),
        },
    )


def shares(delta, num_models):
    """Returns what of `delta` is for the draws and for the sample, of each run.

    A fifth and the rest, as they are written, and never more than `delta` together.

    Example:

    >>> shares(0.05, 1)
    (0.01, 0.04)
    """
    exact = decimal.Decimal(repr(float(delta)))
    parts = exact * _DRAWS, exact * (1 - _DRAWS)
    return tuple(
        _below(part / decimal.Decimal(repr(float(num_models)))) for part in parts
    )


def _below(number):
    """The float nearest to a decimal number, or the one below if that is more."""
    found = float(number)
    written = decimal.Decimal(repr(found))
    return found if written <= number else float(np.nextafter(found, 0.0))
