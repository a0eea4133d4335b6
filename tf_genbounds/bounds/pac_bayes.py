"""PAC-Bayes bounds: what holds for every posterior at once, by its divergence."""

import decimal
import math
import sys
from typing import Any

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import check_loss
from tf_genbounds.bounds.concentration import klinv
from tf_genbounds.bounds.concentration import log_count
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive

FORMS = (
    "maurer",
    "maurer_pinsker",
    "langford_seeger",
    "dziugaite_roy",
    "textbook",
    "mcallester",
)
_ROUNDING = 1 + 8 * sys.float_info.epsilon
_LOSS = Assumption("each loss lies in [0, 1]")


def pac_bayes_bound(
    empirical: Any,
    *,
    kl: float,
    num_samples: int,
    delta: float = 0.05,
    form: str = "maurer",
    num_priors: float = 1,
) -> Bound:
    """Bounds the risk of a randomized classifier, for all posteriors at once.

    The Gibbs classifier draws its weights from `Q` anew for each prediction. With
    probability at least `1 - delta` over `m` samples, for every `Q` at once, however
    it was found, with `e = E_Q R`, `ehat = E_Q Rhat`, `KL = KL(Q || P)` and
    `d = delta / N`:

    - `form="maurer"`: `e <= klinv(ehat, (KL + ln(2 sqrt(m) / d)) / m)`
    - `form="langford_seeger"`: `e <= klinv(ehat, (KL + ln((m + 1) / d)) / m)`
    - `form="dziugaite_roy"`: `e <= klinv(ehat, (KL + ln(m / d)) / (m - 1))`
    - `form="maurer_pinsker"`: `e <= ehat + sqrt((KL + ln(2 sqrt(m) / d)) / (2 m))`
    - `form="textbook"`: `e <= ehat + sqrt((KL + ln(m / d)) / (2 (m - 1)))`
    - `form="mcallester"`: `e <= ehat + sqrt((KL + ln(1 / d) + ln m + 2) / (2 m - 1))`

    All follow from one event, so that the smallest, which is always `"maurer"`, may be
    reported. The bound is on the Gibbs classifier only, and neither on the network with
    the mean weights nor on one that was drawn: see `disintegrated_bound` for that.

    Args:
        empirical: Float in [0, 1], `ehat`: the exact expectation over `Q` of the mean
            loss on the sample. Or what `gibbs_bound` returns if it was estimated from
            draws; its failure probability is added to `delta`.
        kl: Non-negative float, `KL(Q || P)` in nats, see `gaussian_kl`.
        num_samples: Integer, `m`, the samples that the prior does not depend on.
        delta: Float in (0, 1). Defaults to `0.05`.
        form: One of the above. Defaults to `"maurer"`.
        num_priors: Number, `N`, of the priors that were or could have been tried on
            these samples; or `1 / p` if this prior was given the share `p` of `delta`.
            Defaults to `1`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> bound = pac_bayes_bound(0.028, kl=5000, num_samples=55000, delta=0.025)
    >>> round(bound.value, 8)
    0.15798287

    References:
        - [McAllester, 1999](https://doi.org/10.1145/307400.307435)
        - [Langford and Seeger, 2001](http://reports-archive.adm.cs.cmu.edu/anon/2001/abstracts/01-102.html)
        - [Maurer, 2004](https://arxiv.org/abs/cs/0411099)
        - [Dziugaite and Roy, 2017](https://arxiv.org/abs/1703.11008), section 3.
    """
    check_choice("form", form, FORMS)
    check_positive("num_samples", num_samples)
    check_delta(delta)
    if not kl >= 0:
        raise ValueError(f"`kl` must not be negative. Received: kl={kl}")
    if num_samples < 2 and form in ("dziugaite_roy", "textbook"):
        raise ValueError(
            f'The form "{form}" needs at least two samples. '
            f"Received: num_samples={num_samples}"
        )
    of_draws = empirical if isinstance(empirical, Bound) else None
    mean = empirical if of_draws is None else min(of_draws.value, 1.0)
    check_loss("empirical", mean)
    nats = log_count("num_priors", num_priors) + math.log(1 / delta) + float(kl)
    value = min(_value(form, float(mean), nats, num_samples), 1.0)
    slack = {"divergence and confidence": value - mean}
    assumptions = [
        IID,
        _LOSS,
        Assumption("the prior does not depend on these samples")
        if num_priors == 1
        else Assumption(
            f"the prior is one of {num_priors:,.6g} that do not depend on these samples"
        ),
    ]
    if of_draws is not None:
        slack["draws of the weights"] = mean - of_draws.empirical
        assumptions += of_draws.assumptions
        delta = _sum(delta, of_draws.delta)
    return Bound(
        name=f"PAC-Bayes bound ({form})",
        value=value,
        empirical=float(mean if of_draws is None else of_draws.empirical),
        slack=slack,
        delta=delta,
        num_samples=int(num_samples),
        assumptions=tuple(dict.fromkeys(assumptions)),
        reference="https://arxiv.org/abs/cs/0411099",
        quantity="the risk of the randomized classifier, which draws its weights from "
        "the posterior for each prediction,",
    )


def gibbs_bound(
    empirical: Any, *, num_draws: int, delta: float = 0.01, form: str = "one_sided"
) -> Bound:
    """Bounds the empirical Gibbs risk, by errors of finitely many draws of weights.

    `E_Q Rhat` is an expectation over the weights, and is known from draws only: with
    probability at least `1 - delta` over `N` of them,
    `E_Q Rhat <= klinv(mean, ln(1 / delta) / N)`.

    A draw may be judged by the whole sample. Or, which costs less for the same `N`: the
    sample is cut into `b` equal blocks, and each block has fresh weights in each of `t`
    passes. The `N = b t` errors are independent, in [0, 1], and the mean of their
    expectations is the empirical Gibbs risk of the sample; that they are not
    identically distributed does not matter.

    Args:
        empirical: Float in [0, 1], the mean of the errors of the draws.
        num_draws: Integer, `N`, how many independent draws of the weights.
        delta: Float in (0, 1). Defaults to `0.01`.
        form: `"one_sided"`; or `"two_sided"` with `ln(2 / delta)`, as Dziugaite and
            Roy have it. Defaults to `"one_sided"`.

    Returns:
        `Bound`, whose samples are the draws. `pac_bayes_bound` takes it.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> round(gibbs_bound(0.0236, num_draws=380).value, 6)
    0.055282
    >>> round(gibbs_bound(0.0236, num_draws=380 * 120).value, 6)
    0.025822

    References:
        - [Langford and Caruana, 2001](https://proceedings.neurips.cc/paper/2001/hash/98c7242894844ecd6ec94af67ac8247d-Abstract.html)
        - [Dziugaite and Roy, 2017](https://arxiv.org/abs/1703.11008), section 3.
    """
    check_choice("form", form, ("one_sided", "two_sided"))
    check_loss("empirical", empirical)
    check_positive("num_draws", num_draws)
    check_delta(delta)
    nats = math.log((1 if form == "one_sided" else 2) / delta)
    value = klinv(empirical, nats * _ROUNDING / num_draws)
    return Bound(
        name="Empirical Gibbs risk",
        value=value,
        empirical=float(empirical),
        slack={"draws of the weights": value - float(empirical)},
        delta=delta,
        num_samples=int(num_draws),
        assumptions=(
            _LOSS,
            Assumption(
                f"each of the {num_draws:,} errors is of fresh weights, drawn "
                "independently of all else"
            ),
        ),
        reference="https://arxiv.org/abs/1703.11008, section 3",
        quantity="the expected loss on the training sample, over the draw of weights,",
    )


def disintegrated_bound(
    empirical: Any,
    *,
    log_ratio: float,
    num_samples: int,
    delta: float = 0.05,
    num_priors: float = 1,
) -> Bound:
    """Bounds the risk of one network that was drawn from the posterior.

    With probability at least `1 - delta` over the `m` samples **and** the one draw of
    the weights `w` from `Q`:
    `R(w) <= klinv(Rhat(w), (ln(dQ/dP)(w) + ln(2 sqrt(m) N / delta)) / m)`.

    It speaks of one deterministic network. It holds for one draw: of the best of
    several, `num_priors` counts the draws times the priors.

    Args:
        empirical: Float in [0, 1], `Rhat(w)`: the mean loss of the drawn network.
        log_ratio: Float, `ln(dQ/dP)(w)` at the drawn weights, which may be negative;
            see `gaussian_log_ratio`.
        num_samples: Integer, `m`, the samples that the prior does not depend on.
        delta: Float in (0, 1). Defaults to `0.05`.
        num_priors: Number, `N`. Defaults to `1`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> bound = disintegrated_bound(0.01, log_ratio=20.0, num_samples=30000)
    >>> round(bound.value, 5)
    0.01501

    References:
        - [Rivasplata et al., 2020](https://arxiv.org/abs/2006.13057), theorem 1.
        - [Viallard et al., 2024](https://arxiv.org/abs/2102.08649)
    """
    check_loss("empirical", empirical)
    check_positive("num_samples", num_samples)
    check_delta(delta)
    if math.isnan(log_ratio):
        raise ValueError(f"`log_ratio` must be a number. Received: {log_ratio=}")
    nats = log_count("num_priors", num_priors) + math.log(1 / delta) + float(log_ratio)
    # A negative divergence would refute every mean: the sample is one of the few that
    # may fail, and zero is no less true.
    value = _value("maurer", float(empirical), nats, num_samples)
    draws = (
        "the weights are one draw from the posterior, neither chosen nor trained after"
    )
    return Bound(
        name="Disintegrated PAC-Bayes bound",
        value=value,
        empirical=float(empirical),
        slack={"log ratio and confidence": value - float(empirical)},
        delta=delta,
        num_samples=int(num_samples),
        assumptions=(
            IID,
            _LOSS,
            Assumption("the prior does not depend on these samples"),
            Assumption(draws)
            if num_priors == 1
            else Assumption(
                f"the weights are one of at most {num_priors:,.6g} draws from the "
                "posterior"
            ),
        ),
        reference="https://arxiv.org/abs/2006.13057, theorem 1",
        quantity="the risk of the network that was drawn",
    )


def _value(form, mean, nats, m):
    """The bound for `nats = KL + ln(1 / delta)`, with rounding allowed for."""
    cost, by = {
        "maurer": (math.log(2 * math.sqrt(m)), m),
        "maurer_pinsker": (math.log(2 * math.sqrt(m)), m),
        "langford_seeger": (math.log(m + 1), m),
        "dziugaite_roy": (math.log(m), m - 1),
        "textbook": (math.log(m), m - 1),
        "mcallester": (math.log(m) + 2, m - 0.5),
    }[form]
    rate = max((nats + cost) / by, 0.0)
    # What the sums may have lost, whatever their signs.
    rate += (abs(nats) + cost) / by * (_ROUNDING - 1)
    if form in ("maurer", "langford_seeger", "dziugaite_roy"):
        return klinv(mean, rate)
    return math.nextafter(mean + math.sqrt(rate / 2), math.inf)


def _sum(delta, of_draws):
    """The probability that one of two fails: of the numbers as they are written."""
    both = float(decimal.Decimal(repr(float(delta))) + decimal.Decimal(repr(of_draws)))
    if not both < 1:
        raise ValueError(
            "`delta` and the failure probability of the draws must together be below "
            f"1. Received: delta={delta}, and {of_draws} of the draws"
        )
    return both
