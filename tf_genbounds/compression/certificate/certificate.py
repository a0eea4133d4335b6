"""What the length of a code proves about the model that it describes."""

import dataclasses
from typing import Any

import keras

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import occam_bound
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.result import from_plain
from tf_genbounds.certificates import certificate
from tf_genbounds.certificates import fingerprints
from tf_genbounds.checks import check_delta
from tf_genbounds.measure.decision import Decision
from tf_genbounds.measure.decision import count_errors


@dataclasses.dataclass(frozen=True)
class Certificate(certificate.Certificate, kind="code"):
    """A guarantee for a model that was decoded from a code word.

    With probability at least `1 - delta` over the draw of `m` samples, for all
    code words at once, the 0-1 risk of the model of a code word of `B` bits is
    at most

    - `value`: the root in `R` of `P[Bin(m, R) <= errors] = delta 2**-B`
    - `in_form("kl")`: `klinv(train_error, (B ln 2 + ln(1 / delta)) / m)`
    - `in_form("hoeffding")`: `train_error + sqrt((B ln 2 + ln(1 / delta)) / (2 m))`

    The first is the smallest, and never above the others.

    It speaks of what `predict` of the decoded model says in float32, which the train
    error is of, and not of the model that was compressed.

    Attributes:
        train_error: Fraction of the samples that the decoded model gets wrong;
            ties and NaN are wrong.
        bits: Integer, the length of the code word, header included.
        num_samples: Integer, `m`.
        delta: Failure probability.
        items: Dict from what was coded to its bits. The rest, below 2 bits,
            ends the code word.
        fixed: Tuple of what has to be fixed before the sample was drawn.
        decision: How the outputs become a class: a sentence about the model.
        num_compared: Integer, for how many samples it was seen that the output does
            not depend on the rest of the batch.
        declared: Tuple of further `bounds.Assumption`s; see `declaring`.
        threshold: What `compress` was given.
        fingerprints: Dict: sha256 of the decoded weights and, in any order, of the
            sample, and the versions.

    Example:

    >>> certificate = Certificate(
    ...     train_error=0.02, bits=4000, num_samples=60000, delta=0.05,
    ...     items={"kernels": 3998.5}, fixed=("the architecture",),
    ... )
    >>> [round(certificate.in_form(f).value, 8) for f in ("kl", "hoeffding")]
    [0.09430823, 0.17208508]
    >>> certificate.value < 0.0943
    True

    References:
        - [Langford, 2005](https://jmlr.org/papers/v6/langford05a.html), section 4.
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), theorem 2.1.
    """

    train_error: float
    bits: int
    num_samples: int
    delta: float
    items: dict
    fixed: tuple
    decision: str = str(Decision())
    num_compared: int = 0
    declared: tuple = ()
    threshold: float | None = None
    fingerprints: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_delta(self.delta)
        if not 0 <= self.train_error <= 1:
            raise ValueError(
                "`train_error` must lie in [0, 1]. "
                f"Received: train_error={self.train_error}"
            )
        if not self.bits >= 0 or not self.num_samples >= 1:
            raise ValueError(
                "`bits` must not be negative, and `num_samples` must be positive. "
                f"Received: bits={self.bits}, num_samples={self.num_samples}"
            )

    @property
    def bound(self) -> Bound:
        """The certificate as a `bounds.Bound`, by the exact tail."""
        return self.in_form("binomial")

    @property
    def empirical(self) -> float:
        return self.train_error

    @property
    def assumptions(self) -> tuple:
        """Tuple of `bounds.Assumption`."""
        return (
            IID,
            Assumption("the train error was counted on the very sample", "unchecked"),
            *(
                Assumption(f"{thing} did not depend on the sample")
                for thing in self.fixed
            ),
            self._separate(),
            Assumption("the code words satisfy Kraft's inequality", "checked"),
            *self.declared,
        )

    def _separate(self):
        text = "the model decides each example by itself, whatever else is in the batch"
        if self.num_compared:
            text += f" (seen for {self.num_compared})"
        return Assumption(text)

    def declaring(self, text: str, status: str = "unchecked") -> "Certificate":
        """Returns the certificate with one more assumption.

        For what its maker knows and no number shows: that the architecture was, in
        truth, chosen with a look at the sample, say, out of no list.

        Args:
            text: String, the assumption as a claim.
            status: `"checked"`, `"unchecked"`, or `"failed"` if it is known not to
                hold: then the certificate says first that it is no guarantee.

        Returns:
            `Certificate`.

        Example:

        >>> certificate = Certificate(
        ...     train_error=0.02, bits=4000, num_samples=60000, delta=0.05,
        ...     items={}, fixed=(),
        ... ).declaring("the list was written before the sample was drawn", "failed")
        >>> str(certificate)[:63]
        'NOT A GUARANTEE, since it fails that the list was written befor'
        """
        declared = (*self.declared, Assumption(text, status))
        return dataclasses.replace(self, declared=declared)

    def in_form(self, form: Any) -> Bound:
        """Returns the certificate by another form of `bounds.occam_bound`."""
        found = occam_bound(
            self.train_error,
            num_bits=self.bits,
            num_samples=self.num_samples,
            delta=self.delta,
            form=form,
        )
        return dataclasses.replace(
            found,
            name=f"Certificate of the compressed model, {self.bits:,} bits ({form})",
            quantity=f"the 0-1 risk of the compressed model ({self.decision})",
            assumptions=self.assumptions,
        )

    def verify(self, model: keras.Model, data: Any, *, batch_size: int = 128) -> Any:
        """Recomputes what can be from the decoded model and the sample.

        The bits are those of the code, which `Compressed.load` checks.

        Args:
            model: `Compressed.model`, or a copy of it.
            data: The sample, in any order.
            batch_size: Integer, for arrays.

        Returns:
            The certificate.

        Raises:
            ValueError: If the weights, the sample or a number differ: with all that do.
        """
        count = count_errors(
            model, data, threshold=self.threshold, batch_size=batch_size
        )
        found = {
            "the train error": (count.errors / count.num_samples, self.train_error),
            "the number of samples": (count.num_samples, self.num_samples),
            "the rule": (str(count.decision), self.decision),
        }
        if self.fingerprints:
            own = fingerprints.of(model, data, batch_size)
            for name in ("weights", "data"):
                found[f"sha256 of the {name}"] = own[name], self.fingerprints[name]
        differences = [
            f"{name} is {now}, not {then}"
            for name, (now, then) in found.items()
            if now != then
        ]
        if differences:
            raise ValueError(
                "The certificate is not one of this model and this sample. Received: "
                + "; ".join(differences)
            )
        return self

    def _fields(self):
        return {**dataclasses.asdict(self), "statement": self.statement()}

    @classmethod
    def _of(cls, fields):
        fields = {k: v for k, v in fields.items() if k != "statement"}
        fields["fixed"] = tuple(fields["fixed"])
        fields["declared"] = tuple(Assumption(**a) for a in fields["declared"])
        for key in ("train_error", "delta"):
            fields[key] = from_plain(fields[key])
        return cls(**fields)
