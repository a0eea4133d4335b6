"""`Certificate`: a guarantee for one model, with what it takes to check it again."""

import dataclasses
import html
import json
from typing import Any

import keras

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.result import Result

_KINDS = {}


class Certificate(Result):
    """A guarantee for one model, as a sentence, as numbers and as JSON.

    What `certify` returns, and what compression proves, are kinds of it. Each has a
    `bound`, a `bounds.Bound`, with all constants and assumptions.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.set_weights([np.array([[1.0]]), np.array([-0.5])])
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> certificate = gb.certify(model, (x, (x[:, 0] > 0.5).astype(int)))
    >>> isinstance(certificate, gb.Certificate), round(certificate.value, 4)
    (True, 0.0149)
    >>> text = certificate.to_json()
    >>> gb.Certificate.from_json(text) == certificate
    True
    """

    def __init_subclass__(cls, kind, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.kind = kind
        if kind is not None:
            _KINDS[kind] = cls

    @property
    def value(self) -> float:
        """The bound: with probability at least `1 - delta` the risk is no larger."""
        return self.bound.value

    @property
    def empirical(self) -> float:
        """What was seen on the sample."""
        return self.bound.empirical

    @property
    def vacuous(self) -> bool:
        """Whether it says no more than what is true of every model."""
        return self.bound.vacuous

    @property
    def assumptions(self) -> tuple:
        """Tuple of `bounds.Assumption`."""
        return self.bound.assumptions

    def statement(self) -> str:
        """Returns the certificate in plain sentences."""
        return self.bound.statement()

    def _unless_failed(self, text):
        """The statement, unless an assumption is known to fail."""
        if not self.bound.failed:
            return text
        failed = "; ".join(a.text for a in self.bound.failed)
        return f"NOT A GUARANTEE, since it fails that {failed}: {text}"

    def _refuse_failed(self):
        """Refuses to verify what is no guarantee."""
        if self.bound.failed:
            raise ValueError(
                "There is no guarantee to verify. Received: an assumption that fails, "
                f"{self.bound.failed[0].text}"
            )

    def verify(self, model: keras.Model, data: Any) -> None:
        """Recomputes everything; raises if anything differs.

        Raises:
            ValueError: With all that differs, by name.
        """
        raise NotImplementedError

    def to_fields(self) -> dict:
        return {"kind": self.kind, **super().to_fields()}

    @staticmethod
    def from_json(text: str) -> "Certificate":
        """Rebuilds a certificate, of any kind, from the text of `to_json`.

        Raises:
            ValueError: If it is no certificate.
        """
        try:
            fields = json.loads(text)
            kind = _KINDS[fields.pop("kind")]
            return kind._of(fields)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                "The text is no certificate that `to_json` wrote. "
                f"Received: text={text[:60]!r}, {type(error).__name__}: {error}"
            ) from None

    def __str__(self):
        return self.statement()

    def _repr_html_(self):
        return f"<p>{html.escape(self.statement())}</p>"


class BoundCertificate(Certificate, kind=None):
    """A certificate whose `bound` is stored: a dataclass with that field and others."""

    @property
    def num_samples(self) -> int:
        """How many examples the bound is by."""
        return self.bound.num_samples

    @property
    def delta(self) -> float:
        """The failure probability."""
        return self.bound.delta

    def _fields(self):
        return {**dataclasses.asdict(self), "statement": self.statement()}

    @classmethod
    def _of(cls, fields):
        fields.pop("statement")
        bound = dict(fields["bound"])
        bound["assumptions"] = tuple(Assumption(**a) for a in bound["assumptions"])
        bound = Bound(**Bound._numbers(bound))
        return cls(**{**fields, **cls._rebuilt(fields), "bound": bound})

    @classmethod
    def _rebuilt(cls, fields):
        """Returns the fields that JSON holds in another form."""
        return {}


def refuse_differences(found, expected):
    """Refuses what was found if it is not what a certificate says.

    Args:
        found: Dict of values by what they are called.
        expected: Dict, with some of these keys at least.

    Raises:
        ValueError: With all that differs.
    """
    differences = [
        f"{name} is {found[name]}, not {value}"
        for name, value in expected.items()
        if found[name] != value
    ]
    if differences:
        raise ValueError(
            "The certificate is not one of this model and these data. Received: "
            + "; ".join(differences)
        )
