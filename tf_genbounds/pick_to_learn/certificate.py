"""`PickToLearnCertificate`: a bound by the size of the compression set."""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_genbounds.bounds import Assumption
from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import at_most
from tf_genbounds.bounds import confidence
from tf_genbounds.bounds import sample_compression_bound
from tf_genbounds.certificates import fingerprints
from tf_genbounds.certificates.certificate import BoundCertificate
from tf_genbounds.certificates.certificate import refuse_differences
from tf_genbounds.data.reading import read
from tf_genbounds.measure.decision import decision_of
from tf_genbounds.measure.decision import predictions
from tf_genbounds.pick_to_learn.picking import Sample
from tf_genbounds.pick_to_learn.run import Settings

_BATCH = 256
_REPEATED = (
    "training again on the compression set alone gives the same weights, bit for bit"
)


@dataclasses.dataclass(frozen=True)
class PickToLearnCertificate(BoundCertificate, kind="pick_to_learn"):
    """What `PickToLearn.certificate` returns.

    Attributes:
        bound: `bounds.Bound`, with all constants and assumptions.
        num_picked: Integer, how many examples the model was trained on.
        errors_outside: Integer, how many of the others it gets wrong.
        picked: Tuple of strings, digests of the picked examples in their order.
        fingerprints: Dict: sha256 of the weights and, in any order, of the data, and
            the versions.
        settings: Dict: what `verify` needs to compute it again.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> training = gb.pick_to_learn.PickToLearn(model, picks=2)
    >>> training.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    >>> _ = training.fit(
    ...     (x, (x[:, 0] > 0).astype(int)), rounds=2, steps_per_round=1, verbose=0
    ... )
    >>> certificate = training.certificate()
    >>> certificate.num_picked, len(certificate.picked), certificate.num_samples
    (4, 4, 60)
    """

    bound: Bound
    num_picked: int
    errors_outside: int
    picked: tuple
    fingerprints: dict
    settings: dict

    def statement(self) -> str:
        """Returns the certificate in plain sentences, all numbers rounded up."""
        bound, settings = self.bound, self.settings
        count = settings["num_models"]
        least = at_most(100 * min(bound.value, 1.0), 3)
        vacuous = " (vacuous)" if self.vacuous else ""
        text = (
            f"With probability {confidence(self.delta)} over the draw of the "
            f"{self.num_samples:,} examples, the model is wrong on at most {least} % "
            f"of examples drawn in the same way{vacuous}: it was trained on "
            f"{self.num_picked:,} of them, which Pick-to-Learn picked, and is wrong on "
            f"{self.errors_outside:,} of the others. No example was held out; "
            f"{settings['rule']}."
        )
        rounds = settings["rounds"]
        if len(rounds) > 1:
            text += f" The best of {len(rounds)} listed rounds was taken, and paid for."
        if count > 1:
            text += f" So were {count:,} runs, of which this one could be chosen."
        if self._repeated.status == "checked":
            text += (
                " Training again on these "
                f"{self.num_picked + self.errors_outside:,} examples alone gave the "
                "same weights."
            )
        else:
            text += (
                " It holds if training again on these "
                f"{self.num_picked + self.errors_outside:,} examples alone gives the "
                "same weights, bit for bit, which was not tried: `verify` does."
            )
        text += (
            " It does not speak of examples from another source, nor of one example "
            "by itself; and it holds if the first weights, the settings and the "
            "preparation of inputs were chosen without a look at these examples."
        )
        return self._unless_failed(text)

    @property
    def _repeated(self):
        return next(a for a in self.assumptions if a.text == _REPEATED)

    def verify(
        self,
        model: keras.Model,
        data: Any,
        *,
        training: Any,
        augment: Callable | None = None,
        initial_data: Any = None,
    ) -> "PickToLearnCertificate":
        """Recomputes everything, the training included.

        Args:
            model: The model that was certified, or a copy of it.
            data: The data, in any order and form that `fit` takes.
            training: A `PickToLearn`, compiled in the same way, that begins with the
                same weights. It trains again on the compression set alone; its model
                is another one than `model`, or comes out with the weights it had.
            augment: The function that was given to `fit`, if one was.
            initial_data: The initial data that was given to `fit`, if there was any.

        Returns:
            The certificate, with the assumption about training again checked.

        Raises:
            ValueError: If the weights, the data, a number or the result of training
                again differ: with all that do.
        """
        sample = _sample(data)
        own = [bytes.fromhex(text) for text in self.picked]
        weights = fingerprints.of_weights(model)
        picked = _indices(sample, own)
        refuse_differences(
            {
                "sha256 of the weights": weights,
                "sha256 of the data": _digest(sample),
                "the number of examples": len(sample),
                "the number of picked examples": len(own),
                "the number of picked examples in the data": len(picked),
            },
            {
                "sha256 of the weights": self.fingerprints["weights"],
                "sha256 of the data": self.fingerprints["data"],
                "the number of examples": self.num_samples,
                "the number of picked examples": self.num_picked,
                "the number of picked examples in the data": len(own),
            },
        )
        wrong = _wrong(model, sample, picked, self.settings["threshold"])
        part = sample.part(np.sort(np.concatenate([picked, wrong])))
        settings = {f.name: self.settings[f.name] for f in _FIELDS}
        again, repeated = training.retrain(
            part,
            Settings(**settings),
            self.settings["round"],
            augment=augment,
            initial=None if initial_data is None else _sample(initial_data),
        )
        bound = sample_compression_bound(
            len(picked) + len(wrong),
            num_samples=len(sample),
            delta=self.delta,
            num_choices=len(settings["rounds"]) * self.settings["num_models"],
        )
        digests = [part.digests[i].hex() for i in again.picked]
        refuse_differences(
            {
                "the number of errors": len(wrong),
                "sha256 of the weights, trained again,": repeated,
                "the round, trained again,": again.number,
                "the digests of the picked, trained again,": digests,
                "the number of errors, trained again,": len(again.wrong),
                "the bound": bound.value,
            },
            {
                "the number of errors": self.errors_outside,
                "sha256 of the weights, trained again,": weights,
                "the round, trained again,": self.settings["round"],
                "the digests of the picked, trained again,": list(self.picked),
                "the number of errors, trained again,": len(wrong),
                "the bound": self.value,
            },
        )
        assumptions = tuple(
            Assumption(a.text, "checked") if a.text == _REPEATED else a
            for a in self.assumptions
        )
        bound = dataclasses.replace(self.bound, assumptions=assumptions)
        return dataclasses.replace(self, bound=bound)

    @classmethod
    def _rebuilt(cls, fields):
        settings = {**fields["settings"], "rounds": tuple(fields["settings"]["rounds"])}
        return {"picked": tuple(fields["picked"]), "settings": settings}


_FIELDS = dataclasses.fields(Settings)


def certificate_of(
    model, sample, run, settings, *, delta, num_models, initial, verified
):
    """Returns the certificate of a run that came to its end.

    Args:
        model: The model, with the best weights.
        sample: `Sample`.
        run: `Run`.
        settings: `Settings`.
        delta: Float in (0, 1).
        num_models: Number of the runs that could be chosen.
        initial: `Sample` of the initial data, or `None`.
        verified: Whether training again gave the same.
    """
    best, decision = run.best, run.scorer.decision
    bound = sample_compression_bound(
        best.size,
        num_samples=len(sample),
        delta=delta,
        num_choices=len(settings.rounds) * num_models,
    )
    assumptions = [
        bound.assumptions[0],
        Assumption(
            "the first weights, the settings, the initial data and the preparation of "
            "inputs do not depend on the sample"
        ),
        Assumption(
            "nothing but the picking sees an example before it is picked: no callback, "
            "no statistics, no validation data"
        ),
        Assumption(_REPEATED, "checked" if verified else "unchecked"),
        Assumption(
            "the model treats each example by itself, whatever else is in the batch "
            f"(seen for {run.scorer.num_compared})"
        ),
    ]
    if num_models > 1:
        assumptions.append(
            Assumption(f"at most {num_models:,} runs could have been compared")
        )
    if initial is not None:
        assumptions.append(
            Assumption("no example of the initial data is counted", "checked")
        )
    return PickToLearnCertificate(
        bound=dataclasses.replace(
            bound,
            name="Pick-to-Learn certificate",
            assumptions=tuple(assumptions),
            quantity=f"the 0-1 risk ({decision})",
        ),
        num_picked=len(best.picked),
        errors_outside=len(best.wrong),
        picked=tuple(sample.digests[i].hex() for i in best.picked),
        fingerprints={
            "weights": fingerprints.of_weights(model),
            "data": _digest(sample),
            "repeated": len(sample) - len(set(sample.digests)),
            "versions": fingerprints.versions(),
        },
        settings={
            **dataclasses.asdict(settings),
            "round": best.number,
            "num_models": num_models,
            "rule": str(decision),
        },
    )


def _sample(data):
    data, _ = read(data)
    return Sample.of(data[:2])


def _digest(sample):
    """Returns the digest of all examples that certificates of other kinds have too."""
    rows = fingerprints.RowDigests()
    rows.add(sample.batch())
    return rows.hexdigest()


def _indices(sample, digests):
    """Returns where these examples are, a copy for each time that one is named."""
    places = collections.defaultdict(list)
    for i, digest in enumerate(sample.digests):
        places[digest].append(i)
    indices = [places[d].pop() for d in digests if places[d]]
    return np.array(indices, "int64")


def _wrong(model, sample, picked, threshold):
    """Returns the indices of the examples beside the picked that are wrong."""
    decision, wrong = None, []
    for predicted in predictions(model, (sample.x, sample.y), batch_size=_BATCH):
        if decision is None:
            decision = decision_of(predicted.network, threshold)
        right = decision.right(predicted.outputs, predicted.classes())
        wrong.append(predicted.batch.start + np.flatnonzero(~right))
    return np.setdiff1d(np.concatenate(wrong), picked)
