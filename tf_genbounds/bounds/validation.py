"""What a validation error says about the risk, after model selection."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import bernstein_slack
from tf_genbounds.bounds.concentration import check_loss
from tf_genbounds.bounds.concentration import hoeffding_slack
from tf_genbounds.bounds.concentration import klinv
from tf_genbounds.bounds.concentration import log_count
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.rounding import at_least
from tf_genbounds.bounds.tails import betting_inverse
from tf_genbounds.bounds.tails import binomial_tail_inverse
from tf_genbounds.bounds.tails import check_losses
from tf_genbounds.bounds.tails import count_of
from tf_genbounds.bounds.tails import empirical_bernstein_slack
from tf_genbounds.checks import check_choice

_IN_UNIT = Assumption("each loss lies in [0, 1]")
_BERNSTEIN = {"paper": "standard", "exact_root": "exact_root"}
OF_LOSSES = ("empirical_bernstein", "betting")
FORMS = ("kl", "binomial", *OF_LOSSES, "fixed_point", "hoeffding", *_BERNSTEIN)


def validation_bound(
    validation_error: Any,
    *,
    num_samples: int | None = None,
    num_models: float = 1,
    delta: float = 0.05,
    form: str = "kl",
    variance: float | None = None,
    largest: float | None = None,
    adaptive: bool = False,
    seed: int = 0,
) -> Bound:
    """Bounds the risk of a model by its error on validation data.

    With probability at least `1 - delta`, for all of `N` models at once that
    were chosen without the validation sample, with `L = ln N + ln(1 / delta)`:

    - `form="kl"`: `R <= klinv(Rhat, L / m)`.
    - `form="binomial"`: the exact tail, for 0-1 losses alone: the root in `R` of
      `ln P[Bin(m, R) <= m Rhat] = -L`. The tightest for these; see
      `binomial_tail_inverse`.
    - `form="empirical_bernstein"`:
      `R <= Rhat + sqrt(2 V L2 / m) + 7 L2 / (3 (m - 1))`, `L2 = L + ln 2`, `V` the
      sample variance of the losses.
    - `form="betting"`: as a rule the tightest for losses that are not 0-1; see
      `betting_inverse`.
    - `form="fixed_point"`: The largest `R` in `[Rhat, 1]` with
      `R <= Rhat + 2 L / (3 m) + sqrt(2 R (1 - R) L / m)`: Bernstein's
      inequality with the variance that `R` itself allows.
    - `form="hoeffding"`: `R <= Rhat + sqrt(L / (2 m))`
    - `form="paper"`: `R <= Rhat + 2 C L / (3 m) + sqrt(2 g2 L / m)`
    - `form="exact_root"`: the root that the former rounds up,
      `R <= Rhat + C L / (3 m) + sqrt((C L / (3 m))**2 + 2 g2 L / m)`

    Assumes losses in [0, 1], such as the 0-1 loss. Neither the size of the
    network nor the way it was trained enters. Choose the form before you see
    the error: the smallest of several bounds is one only if they share `delta`.

    Args:
        validation_error: Float in [0, 1], `Rhat`, of the model in question. Or the
            losses themselves, an array of shape `(m,)`, which the forms
            `"empirical_bernstein"` and `"betting"` need.
        num_samples: Integer, `m`, the size of the validation sample; not needed
            beside an array of losses.
        num_models: Number, `N`, of the models that were or could have been
            compared on this sample: of every epoch that was planned, and of
            every setting. Defaults to `1`: an untouched test set.
        delta: Float in (0, 1). Defaults to `0.05`.
        form: One of the above. Defaults to `"kl"`.
        variance: Float, `g2`, for the last two forms: at least the variance of
            the loss under the distribution. Never one measured on the
            sample. Defaults to 1/4, which no loss in [0, 1] exceeds.
        largest: Float, `C`, for the last two forms: `R` minus the loss is never
            larger. Defaults to 1.
        adaptive: Whether validation results steered the training itself (a
            learning rate that drops on a plateau, a search that proposes the
            next setting). Then `N` counts all the models that any outcome could
            have led to: the bound is refused.
        seed: Integer, for `"betting"`: the order of the losses, chosen before they
            are seen. Defaults to `0`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range, `adaptive` is true, or
            `variance` or `largest` belongs to another form.

    Example:

    A billion models, compared on 10,000 examples:

    >>> bound = validation_bound(
    ...     0.05, num_samples=10000, num_models=10**9, delta=0.1
    ... )
    >>> round(bound.value, 4)
    0.0662

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468),
          proposition on the validation error.
    """
    check_choice("form", form, FORMS)
    losses, validation_error, num_samples = _sample(validation_error, num_samples, form)
    if adaptive:
        raise ValueError(
            "Where validation results steered the training, `num_models` would "
            "have to count the models of all possible outcomes. Use a test set "
            f"that was not touched. Received: adaptive={adaptive}"
        )
    for name, value in {"variance": variance, "largest": largest}.items():
        if value is not None and form not in _BERNSTEIN:
            raise ValueError(
                f"`{name}` belongs to the forms {list(_BERNSTEIN)}, not to "
                f'"{form}". Received: {name}={value}'
            )
    seen = _Seen(
        error=validation_error,
        losses=losses,
        num_samples=num_samples,
        log_count=log_count("num_models", num_models),
        delta=delta,
        variance=variance,
        largest=largest,
        seed=seed,
    )
    # Checks `num_samples` and `delta` for every form.
    hoeffding_slack(num_samples, delta, log_count=seen.log_count)
    value, slack, of_losses = _BY_FORM[form](seen)
    assumptions = [
        IID,
        Assumption("no model depends on the validation sample"),
        Assumption(f"at most {num_models:,} models could have been compared on it"),
        *of_losses,
    ]
    return Bound(
        name=f"Validation bound ({form})",
        value=float(value),
        empirical=float(validation_error),
        slack={name: float(part) for name, part in slack.items()},
        delta=delta,
        num_samples=num_samples,
        assumptions=tuple(assumptions),
        reference="https://arxiv.org/abs/1710.05468, proposition on the "
        "validation error",
        quantity="the risk",
    )


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What the forms are computed from; their names are those of the arguments."""

    error: float
    losses: np.ndarray | None
    num_samples: int
    log_count: float
    delta: float
    variance: float | None
    largest: float | None
    seed: int

    @property
    def nats(self):
        return self.log_count + math.log(1 / self.delta)

    @property
    def rate(self):
        return self.nats / self.num_samples


# Each returns the bound, its slack by name, and what it assumes of the losses.


def _kl(seen):
    value = klinv(seen.error, seen.rate)
    return value, {"inverse kl": value - seen.error}, [_IN_UNIT]


def _binomial(seen):
    count = count_of(seen.error, seen.num_samples)
    value = binomial_tail_inverse(count, seen.num_samples, seen.nats)
    zero_one = Assumption("each loss is 0 or 1")
    return value, {"binomial tail": value - seen.error}, [zero_one]


def _empirical_bernstein(seen):
    slack = empirical_bernstein_slack(seen.losses, seen.nats)
    return seen.error + slack, {"empirical Bernstein": slack}, [_IN_UNIT]


def _betting(seen):
    value = betting_inverse(seen.losses, seen.nats, seed=seen.seed)
    return value, {"betting": value - seen.error}, [_IN_UNIT]


def _fixed_point(seen):
    value = _largest_root(seen.error + 2 * seen.rate / 3, 2 * seen.rate)
    return value, {"fixed point": value - seen.error}, [_IN_UNIT]


def _hoeffding(seen):
    slack = hoeffding_slack(seen.num_samples, seen.delta, log_count=seen.log_count)
    return seen.error + slack, {"deviation": slack}, [_IN_UNIT]


def _bernstein(form, seen):
    assumptions = [_IN_UNIT]
    if seen.variance is not None:
        assumptions.append(
            Assumption(
                f"the variance of the loss is at most {at_least(seen.variance)}, by "
                "knowledge from outside the sample"
            )
        )
    if seen.largest is not None:
        least = at_least(seen.largest)
        assumptions.append(Assumption(f"the risk exceeds no loss by more than {least}"))

    def slack(largest):
        return bernstein_slack(
            seen.num_samples,
            seen.delta,
            variance=0.25 if seen.variance is None else seen.variance,
            largest=largest,
            log_count=seen.log_count,
            form=form,
        )

    total = slack(1.0 if seen.largest is None else seen.largest)
    spread = slack(0.0)
    parts = {"range": total - spread, "variance": spread}
    return seen.error + total, parts, assumptions


_BY_FORM = {
    "kl": _kl,
    "binomial": _binomial,
    "empirical_bernstein": _empirical_bernstein,
    "betting": _betting,
    "fixed_point": _fixed_point,
    "hoeffding": _hoeffding,
    **{name: functools.partial(_bernstein, form) for name, form in _BERNSTEIN.items()},
}


def _sample(error, num_samples, form):
    """Returns the losses or `None`, their mean, and how many they are."""
    if getattr(error, "ndim", 0) or isinstance(error, (list, tuple)):
        losses = check_losses(error)
        if num_samples not in (None, len(losses)):
            raise ValueError(
                "`num_samples` must be the number of losses, or be left out. "
                f"Received: num_samples={num_samples}, {len(losses)} losses"
            )
        return losses, math.fsum(losses) / len(losses), len(losses)
    if form in OF_LOSSES:
        raise ValueError(
            f'The form "{form}" needs the loss of every sample: pass an array of '
            f"shape (m,). Received: validation_error={error}"
        )
    if num_samples is None:
        raise ValueError(
            "`num_samples` is needed beside a mean. Received: num_samples=None"
        )
    check_loss("validation_error", error)
    return None, error, num_samples


def _largest_root(offset, rate):
    """The largest `R <= 1` with `R <= offset + sqrt(rate * R * (1 - R))`."""
    if offset >= 1:
        return 1.0
    # The larger root of (1 + rate) R**2 - (2 offset + rate) R + offset**2.
    root = math.sqrt(rate**2 + 4 * rate * offset * (1 - offset))
    return min(1.0, (2 * offset + rate + root) / (2 * (1 + rate)))
