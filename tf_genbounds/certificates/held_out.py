"""`certify`: what held-out data proves about any model, in one line."""

import dataclasses
import warnings
from typing import Any

import keras
import numpy as np

from tf_genbounds.bounds import Assumption
from tf_genbounds.bounds import Bound
from tf_genbounds.bounds import at_most
from tf_genbounds.bounds import confidence
from tf_genbounds.bounds import validation_bound
from tf_genbounds.bounds.result import from_plain
from tf_genbounds.certificates import fingerprints
from tf_genbounds.certificates.certificate import BoundCertificate
from tf_genbounds.certificates.certificate import refuse_differences
from tf_genbounds.certificates.losses import Loss
from tf_genbounds.measure.decision import predictions

_MOST_REPEATS = 0.01


@dataclasses.dataclass(frozen=True)
class Part:
    """What is proved of a part of the distribution.

    Attributes:
        name: What the part is called: a string.
        num_samples: Integer, how many examples of the sample belong to it.
        empirical: Their mean loss; `None` if there is none.
        value: The bound; 1 if there is none.
    """

    name: str
    num_samples: int
    empirical: float | None
    value: float


@dataclasses.dataclass(frozen=True)
class HeldOutCertificate(BoundCertificate, kind="held_out"):
    """What `certify` returns.

    Attributes:
        bound: `bounds.Bound`, with all constants and assumptions.
        groups: Tuple of `Part`: each bound holds, with probability `1 - delta` for
            all at once. That, and `bound`, hold together with `1 - 2 delta`.
        fingerprints: Dict: sha256 of the weights and, in any order, of the data, and
            the versions.
        settings: Dict: what `verify` needs to compute it again.
    """

    bound: Bound
    groups: tuple
    fingerprints: dict
    settings: dict

    def statement(self):
        """Returns the certificate in plain sentences, all numbers rounded up."""
        bound, settings = self.bound, self.settings
        count = settings["num_models"]
        rate = settings["metric"] in ("error", "top_k_error")

        def of(value):
            return f"{at_most(100 * value, 3)} %" if rate else at_most(value)

        what = {
            "error": "the model is wrong on at most",
            "top_k_error": "the class of an example is not among the first "
            f"{settings['k']} of the model on at most",
        }.get(settings["metric"], f"the mean of `{settings['metric']}` is at most")
        sure = f"With probability {confidence(self.delta)}"
        text = (
            f"{sure} over the draw of the {self.num_samples:,} examples, {what} "
            f"{of(min(bound.value, 1.0))} of examples drawn in the same way "
            f"({of(bound.empirical)} seen{', vacuous' if self.vacuous else ''}): "
            f"{settings['rule']}."
        )
        if self.groups:
            worst = max(self.groups, key=lambda part: part.value)
            text += (
                f" With the same probability, for all {len(self.groups)} parts at "
                f"once: at most {of(worst.value)} of the part {worst.name!r} and no "
                "more of any other."
            )
        models = (
            "a model that was neither trained nor chosen with a look at these examples"
            if count == 1
            else f"the one that was chosen among {count:,} models with a look at these "
            "examples, and none was trained on them"
        )
        text += (
            " It does not speak of examples from another source, nor of one example "
            f"by itself. It holds for {models}; and for this one look at them."
        )
        return self._unless_failed(text)

    def verify(self, model, data, *, metric=None, groups=None, batch_size=128):
        """Recomputes everything from the model and the data.

        Args:
            model: The model that was certified, or a copy of it.
            data: The data, in any order.
            metric: The function that was given to `certify`, if one was.
            groups: The function or array that was given to `certify`, if one was.
            batch_size: Integer, for arrays.

        Returns:
            The certificate.

        Raises:
            ValueError: If the weights, the data or a number differ: with all that do.
        """
        settings = dict(self.settings)
        for name, value in (("metric", metric), ("groups", groups)):
            if value is not None:
                settings[name] = value
            elif settings[name] not in ("error", "top_k_error", "class", None):
                raise ValueError(
                    f"The certificate was made with a `{name}` of the user's: pass it "
                    f"again. Received: {name}=None, made with {settings[name]!r}"
                )
        settings.pop("rule")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Who made it was warned.
            again = certify(
                model, data, delta=self.delta, batch_size=batch_size, **settings
            )
        refuse_differences(again._numbers(), self._numbers())
        return self

    def _numbers(self):
        return {
            "sha256 of the weights": self.fingerprints["weights"],
            "sha256 of the data": self.fingerprints["data"],
            "the number of examples": self.num_samples,
            "the mean loss": self.empirical,
            "the bound": self.value,
            "the parts": self.groups,
            "the rule": self.settings["rule"],
        }

    @classmethod
    def _rebuilt(cls, fields):
        groups = tuple(
            Part(**{key: from_plain(value) for key, value in part.items()})
            for part in fields["groups"]
        )
        return {"groups": groups}


def certify(
    model: keras.Model,
    data: Any,
    *,
    delta: float = 0.05,
    num_models: float = 1,
    metric: Any = "error",
    k: int | None = None,
    groups: Any = None,
    threshold: float | None = None,
    output: int | str | None = None,
    allow_repeats: bool = False,
    seed: int = 0,
    batch_size: int = 128,
) -> HeldOutCertificate:
    """Certifies a model by data that was held out.

    With probability at least `1 - delta` over the draw of `m` examples of which `k`
    are decided wrongly, the risk is at most the root in `R` of
    `P[Bin(m, R) <= k] = delta / N`, the exact binomial tail (Clopper and Pearson,
    one-sided); for losses in [0, 1] that are not 0-1 the betting bound. Nothing is
    assumed of the model, its size or its training.

    **Held out** means: the model was not trained on these examples, and nothing about
    it (weights, stopping, architecture, preparation of inputs, threshold) was chosen
    with a look at them. If it is the best of `N` models on these very examples, say
    `num_models=N`: of every epoch and setting that was or could have been compared.
    The errors are those of what `predict` returns, in float32; see `decision`.

    Args:
        model: A built Keras model that treats one example at a time.
        data: Held-out data with labels, in any form that `measure` takes.
        delta: Float in (0, 1), the failure probability. Defaults to `0.05`.
        num_models: Number, `N`. Defaults to `1`.
        metric: `"error"`, `"top_k_error"`, or a function of the labels and the
            predictions of a batch that returns one number in [0, 1] for each example;
            booleans and integers are 0-1 losses. Defaults to `"error"`.
        k: Integer, for `"top_k_error"`.
        groups: For a statement about every part of the distribution at once, each at
            `delta / K`: `"class"`, an array with the part of each example (in the
            order of the data), or a function of a batch's inputs that returns it. What
            the parts are was fixed before the data was seen. Defaults to `None`.
        threshold: Float, for one output whose end does not say which values mean class
            1.
        output: Name or index of the output, for a model with several.
        allow_repeats: Whether the data may have many equal examples, as independent
            draws of few possible ones do. Defaults to `False`: more than 1 % are
            taken for a dataset that was repeated, and refused.
        seed: Integer, the order of the losses in the betting bound, chosen before they
            are seen.
        batch_size: Integer, for arrays. Defaults to `128`.

    Returns:
        `HeldOutCertificate`, a `Certificate`: print it.

    Raises:
        ValueError: If labels are missing, more than 1 % of the examples repeat others,
            the decision rule cannot be known, a prediction depends on the rest of the
            batch, or a number is out of range.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.set_weights([np.array([[1.0]]), np.array([-0.5])])
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> certificate = gb.certify(model, (x, (x[:, 0] > 0.45).astype(int)))
    >>> print(certificate.statement()[:97])
    With probability 0.95 over the draw of the 200 examples, the model is wrong on at most
    8.34 % of

    References:
        - [Clopper and Pearson, 1934](https://doi.org/10.1093/biomet/26.4.404)
        - [Langford, 2005](https://jmlr.org/papers/v6/langford05a.html), section 3.
        - [Waudby-Smith and Ramdas, 2024](https://arxiv.org/abs/2010.09686)
    """
    loss = Loss(metric, k, threshold)
    if isinstance(groups, str) and groups != "class":
        raise ValueError(
            '`groups` must be "class", an array or a function. '
            f"Received: groups={groups!r}"
        )
    bound_of = _Bounder(delta, num_models, seed)
    rows, losses, parts, of_one = fingerprints.RowDigests(), [], [], None
    for predicted in predictions(model, data, output=output, batch_size=batch_size):
        if of_one is None:
            of_one, rule = loss.rule(predicted.network)
        rows.add(predicted.batch)
        losses.append(of_one(predicted))
        if groups is not None:
            parts.append(_parts_of(groups, predicted))
    losses = np.concatenate(losses)
    _check_repeats(rows, allow_repeats)
    bound = dataclasses.replace(
        bound_of(losses),
        name="Held-out certificate",
        quantity=f"the mean of the loss `{loss.name}` ({rule})",
    )
    separate = Assumption(
        "the model treats each example by itself, whatever else is in the batch (seen "
        f"for {predicted.num_compared})"
    )
    names = () if groups is None else _names(groups, parts, predicted)
    return HeldOutCertificate(
        bound=dataclasses.replace(bound, assumptions=(*bound.assumptions, separate)),
        groups=_groups(bound_of, losses, parts, names),
        fingerprints={
            "weights": fingerprints.of_weights(model),
            "data": rows.hexdigest(),
            "repeated": rows.count - rows.distinct,
            "versions": fingerprints.versions(),
        },
        settings={
            "num_models": num_models,
            "metric": loss.name,
            "k": k,
            "groups": groups
            if groups is None or isinstance(groups, str)
            else "of the user's",
            "threshold": threshold,
            "output": output,
            "allow_repeats": allow_repeats,
            "seed": seed,
            "rule": rule,
        },
    )


@dataclasses.dataclass(frozen=True)
class _Bounder:
    """The bound for losses, in the form that their kind allows."""

    delta: float
    num_models: float
    seed: int

    def __post_init__(self):
        validation_bound(  # Checks the numbers before minutes of work.
            0.0, num_samples=1, delta=self.delta, num_models=self.num_models
        )

    def __call__(self, losses, share=1):
        options = {"delta": self.delta, "num_models": self.num_models * share}
        if losses.dtype.kind == "b":
            count = int(losses.sum())
            return validation_bound(
                count / len(losses),
                num_samples=len(losses),
                form="binomial",
                **options,
            )
        return validation_bound(losses, form="betting", seed=self.seed, **options)


def _groups(bound_of, losses, parts, names):
    if not names:
        return ()
    parts = np.concatenate(parts)
    found = []
    for name in names:
        own = losses[parts == name]
        if not len(own):
            found.append(Part(str(name), 0, None, 1.0))
            continue
        bound = bound_of(own, share=len(names))
        found.append(Part(str(name), len(own), bound.empirical, min(bound.value, 1.0)))
    return tuple(found)


def _parts_of(groups, predicted):
    """Returns to which part each example of a batch belongs."""
    batch = predicted.batch
    if isinstance(groups, str):
        return predicted.classes()
    if callable(groups):
        x = _without_padding(batch)
        found = np.asarray(groups(x))
    else:
        found = np.asarray(groups)[batch.start : batch.start + batch.count]
    if found.shape != (batch.count,):
        raise ValueError(
            "`groups` must say of each example to which part it belongs. Received: "
            f"shape {found.shape} for the {batch.count} examples from {batch.start}"
        )
    return found


def _names(groups, parts, predicted):
    if isinstance(groups, str):
        return range(max(predicted.outputs.shape[1], 2))
    found = np.concatenate(parts)
    if not callable(groups) and len(groups) != len(found):
        raise ValueError(
            "`groups` must say of each example to which part it belongs. Received: "
            f"{len(groups)} groups, {len(found)} examples"
        )
    return np.unique(found).tolist()


def _without_padding(batch):
    return keras.tree.map_structure(lambda a: a[: batch.count], batch.x)


def _check_repeats(rows, allowed):
    repeated = rows.count - rows.distinct
    if allowed or not repeated:
        return
    text = (
        f"{repeated:,} of the {rows.count:,} examples repeat others, and are no "
        "further independent draws."
    )
    if repeated > _MOST_REPEATS * rows.count:
        raise ValueError(
            f"{text} Pass each once, or `allow_repeats=True` if independent draws "
            f"repeat by themselves. Received: {rows.distinct:,} different examples"
        )
    warnings.warn(text, stacklevel=3)
