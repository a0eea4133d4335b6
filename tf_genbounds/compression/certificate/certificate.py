"""What the length of a code proves about the model that it describes."""

import dataclasses

from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import occam_bound
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.measure.decision import Decision


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A guarantee for a model that was decoded from a code word.

    With probability at least `1 - delta` over the draw of `m` samples, for all
    code words at once, the 0-1 risk of the model of a code word of `B` bits is
    at most

    - `value`: `klinv(train_error, (B ln 2 + ln(1 / delta)) / m)`
    - `hoeffding`: `train_error + sqrt((B ln 2 + ln(1 / delta)) / (2 m))`

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

    Example:

    >>> certificate = Certificate(
    ...     train_error=0.02, bits=4000, num_samples=60000, delta=0.05,
    ...     items={"kernels": 3998.5}, fixed=("the architecture",),
    ... )
    >>> round(certificate.value, 8), round(certificate.hoeffding, 8)
    (0.09430823, 0.17208508)

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

    def __post_init__(self):
        if not 0 <= self.train_error <= 1 or not 0 < self.delta < 1:
            raise ValueError(
                "`train_error` must lie in [0, 1], and `delta` in (0, 1). Received: "
                f"train_error={self.train_error}, delta={self.delta}"
            )
        if not self.bits >= 0 or not self.num_samples >= 1:
            raise ValueError(
                "`bits` must not be negative, and `num_samples` must be positive. "
                f"Received: bits={self.bits}, num_samples={self.num_samples}"
            )

    @property
    def value(self):
        """The bound by the inverse of the binary divergence; the tighter one."""
        return self.bound("kl").value

    @property
    def hoeffding(self):
        """The bound by Hoeffding's inequality."""
        return self.bound("hoeffding").value

    @property
    def vacuous(self):
        """Whether it says no more than that the risk is at most 1."""
        return self.bound().vacuous

    @property
    def assumptions(self):
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

    def declaring(self, text, status="unchecked"):
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

    def bound(self, form="kl"):
        """Returns the certificate as a `bounds.Bound`."""
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

    def statement(self):
        """Returns the certificate as one plain sentence."""
        return self.bound().statement()

    def __str__(self):
        return self.statement()
