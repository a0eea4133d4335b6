"""How far a mean can be from its expectation, with every constant."""

import math
import sys
from typing import Any

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.tails import binomial_tail_inverse
from tf_genbounds.bounds.tails import count_of
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive

IID = Assumption("the samples are independent draws of the distribution")

# More than the relative error of a few operations on float64.
_ROUNDING = 8 * sys.float_info.epsilon


def klinv(empirical: Any, divergence: float) -> float:
    """Inverts the Chernoff bound: the largest mean that is not refuted.

    `sup {p in [q, 1] : q ln(q/p) + (1-q) ln((1-q)/(1-p)) <= c}`, with
    `0 ln 0 = 0`, by bisection; the upper end of the bracket is returned, with what
    rounding may have taken from the divergence allowed for. It is at most
    `q + sqrt(c / 2)`, and `1 - exp(-c)` for `q = 0`, up to some 1e-15.

    If `q` is the mean of `m` independent losses in [0, 1], their expectation is
    at most `klinv(q, ln(1 / delta) / m)` with probability at least `1 - delta`.

    Args:
        empirical: Float in [0, 1], `q`.
        divergence: Non-negative float, `c`, in nats.

    Returns:
        Float in `[q, 1]`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> round(klinv(0.1, 0.1), 8)
    0.28237914

    References:
        - [Langford, 2005](https://jmlr.org/papers/v6/langford05a.html), section 3.
    """
    check_loss("empirical", empirical)
    if not divergence >= 0:
        raise ValueError(
            f"`divergence` must not be negative. Received: divergence={divergence}"
        )
    if divergence == 0 or empirical == 1:
        return float(empirical)
    low, high = float(empirical), 1.0
    most = float(divergence) * (1 + _ROUNDING)
    for _ in range(200):
        middle = (low + high) / 2
        if _least_divergence(float(empirical), middle) <= most:
            low = middle
        else:
            high = middle
    return high


def hoeffding_slack(num_samples: int, delta: float, *, log_count: float = 0.0) -> float:
    """Computes how far a mean of losses in [0, 1] is below its expectation.

    `sqrt((ln N + ln(1 / delta)) / (2 m))`: with probability at least
    `1 - delta`, no mean of `m` independent losses, of `N` such means fixed in
    advance, is below its expectation by more.

    Args:
        num_samples: Integer, `m`.
        delta: Float in (0, 1).
        log_count: Float, `ln N`. Defaults to `0.0`.

    Returns:
        Float.

    Example:

    >>> round(hoeffding_slack(10000, 0.1, log_count=np.log(1e9)), 8)
    0.0339307

    References:
        - [Hoeffding, 1963](https://doi.org/10.1080/01621459.1963.10500830)
    """
    return math.sqrt(_nats(num_samples, delta, log_count) / (2 * num_samples))


def bernstein_slack(
    num_samples: int,
    delta: float,
    *,
    variance: float,
    largest: float,
    log_count: float = 0.0,
    form: str = "exact_root",
) -> float:
    """Computes how far a mean is from its expectation, by its variance.

    For independent `z_i` with `E z = 0`, `E z**2 <= g2` and `z_i <= C`, the
    mean of `m` of them exceeds `e` with probability at most
    `exp(-(m e**2 / 2) / (g2 + e C / 3))`. Solved for `e`, with
    `L = ln N + ln(1 / delta)`:

    - `form="exact_root"`: `C L / (3 m) + sqrt((C L / (3 m))**2 + 2 g2 L / m)`
    - `form="standard"`: `2 C L / (3 m) + sqrt(2 g2 L / m)`, never smaller.

    Args:
        num_samples: Integer, `m`.
        delta: Float in (0, 1).
        variance: Non-negative float, `g2`. Fixed in advance: an estimate from
            the same sample is not legal.
        largest: Non-negative float, `C`, fixed in advance.
        log_count: Float, `ln N` for a union over `N` means. Defaults to `0.0`.
        form: `"exact_root"` or `"standard"`. Defaults to `"exact_root"`.

    Returns:
        Float.

    Example:

    >>> options = dict(variance=1.0, largest=1.0, log_count=np.log(1e9))
    >>> round(bernstein_slack(10000, 0.1, **options), 8)
    0.06863327

    References:
        - [Boucheron et al., 2013](https://doi.org/10.1093/acprof:oso/9780199535255.001.0001),
          section 2.8.
    """
    check_choice("form", form, ("exact_root", "standard"))
    for name, value in {"variance": variance, "largest": largest}.items():
        if not value >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
    nats = _nats(num_samples, delta, log_count)
    linear = largest * nats / (3 * num_samples)
    square = 2 * variance * nats / num_samples
    if form == "standard":
        return 2 * linear + math.sqrt(square)
    return linear + math.sqrt(linear**2 + square)


def matrix_bernstein_slack(
    num_samples: int,
    delta: float,
    *,
    variance: float,
    largest: float,
    log_dimension: float,
    form: str = "exact_root",
) -> float:
    """Computes how large the top eigenvalue of a mean of matrices can be.

    For independent symmetric `D` by `D` matrices `G_i` with `E G_i = 0`,
    `lam_max(G_i) <= C` and `||mean_i E G_i**2||_2 <= g2`,
    `P[lam_max(mean_i G_i) > e] <= D exp(-(m e**2 / 2) / (g2 + e C / 3))`. So it
    is Bernstein's inequality with a union over `D` events.

    Args:
        num_samples: Integer, `m`.
        delta: Float in (0, 1).
        variance: Non-negative float, `g2`, fixed in advance.
        largest: Non-negative float, `C`, fixed in advance.
        log_dimension: Float, `ln D`.
        form: `"exact_root"` or `"standard"`. Defaults to `"exact_root"`.

    Returns:
        Float.

    Example:

    >>> options = dict(variance=1.0, largest=1.0, log_dimension=np.log(1000))
    >>> round(matrix_bernstein_slack(10000, 0.1, **options, form="standard"), 8)
    0.04353334

    References:
        - [Tropp, 2012](https://arxiv.org/abs/1004.4389), Theorem 1.4.
    """
    return bernstein_slack(
        num_samples,
        delta,
        variance=variance,
        largest=largest,
        log_count=log_dimension,
        form=form,
    )


def finite_class_bound(
    train_error: float,
    *,
    num_hypotheses: float,
    num_samples: int,
    delta: float = 0.05,
    form: str = "kl",
) -> Bound:
    """Bounds the risk of a model that was chosen from a finite class.

    With probability at least `1 - delta`, for all `f` of a class of `N` at once,

    - `form="kl"`: `R(f) <= klinv(Rhat(f), (ln N + ln(1 / delta)) / m)`
    - `form="hoeffding"`: `R(f) <= Rhat(f) + sqrt((ln N + ln(1 / delta)) / (2 m))`,
      never smaller.
    - `form="binomial"`: the exact tail, for 0-1 losses alone; never larger. See
      `binomial_tail_inverse`.

    Assumes that the class was fixed before the sample was drawn, and that the
    loss lies in [0, 1].

    Args:
        train_error: Float in [0, 1], `Rhat(f)` of the chosen `f`.
        num_hypotheses: Number, `N`; a Python integer may be of any size.
        num_samples: Integer, `m`.
        delta: Float in (0, 1). Defaults to `0.05`.
        form: `"kl"`, `"hoeffding"` or `"binomial"`. Defaults to `"kl"`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range.

    Example:

    >>> bound = finite_class_bound(
    ...     0.1, num_hypotheses=10, num_samples=1000, delta=0.05
    ... )
    >>> round(bound.value, 8)
    0.13367938

    References:
        - [Langford, 2005](https://jmlr.org/papers/v6/langford05a.html), section 4.
    """
    return _class_bound(
        "Finite class bound",
        train_error,
        log_count("num_hypotheses", num_hypotheses),
        num_samples,
        delta,
        form,
        "the class was fixed before the sample was drawn",
    )


def occam_bound(
    train_error: float,
    *,
    num_bits: float,
    num_samples: int,
    delta: float = 0.05,
    form: str = "kl",
) -> Bound:
    """Bounds the risk of a model that has a short description.

    With probability at least `1 - delta`, for all `f` at once, with `b(f)` bits
    in a prefix code (such that `sum_f 2**-b(f) <= 1`),

    - `form="kl"`: `R(f) <= klinv(Rhat(f), (b(f) ln 2 + ln(1 / delta)) / m)`
    - `form="hoeffding"`:
      `R(f) <= Rhat(f) + sqrt((b(f) ln 2 + ln(1 / delta)) / (2 m))`
    - `form="binomial"`: the exact tail, for 0-1 losses alone: the root in `R` of
      `ln P[Bin(m, R) <= m Rhat] = -(b(f) ln 2 + ln(1 / delta))`. The smallest of
      the three.

    Assumes that the code was fixed before the sample was drawn, and that the
    loss lies in [0, 1]: `f` gets the share `delta * 2**-b(f)`.

    Args:
        train_error: Float in [0, 1], `Rhat(f)` of the chosen `f`.
        num_bits: Non-negative float, `b(f)`.
        num_samples: Integer, `m`.
        delta: Float in (0, 1). Defaults to `0.05`.
        form: `"kl"`, `"hoeffding"` or `"binomial"`. Defaults to `"kl"`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range.

    Example:

    >>> occam_bound(0.0, num_bits=100, num_samples=10000, delta=0.05).value < 0.01
    True

    References:
        - [Blumer et al., 1987](https://doi.org/10.1016/0020-0190(87)90114-1)
        - [Langford, 2005](https://jmlr.org/papers/v6/langford05a.html), section 4.
    """
    if not num_bits >= 0:
        raise ValueError(
            f"`num_bits` must not be negative. Received: num_bits={num_bits}"
        )
    return _class_bound(
        "Occam bound",
        train_error,
        num_bits * math.log(2),
        num_samples,
        delta,
        form,
        "the prefix code was fixed before the sample was drawn",
    )


def check_loss(name, value):
    """Refuses a mean loss that is not in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must lie in [0, 1]. Received: {name}={value}")


def log_count(name, count):
    """Returns the logarithm of a count; refuses one below 1."""
    if not count >= 1:
        raise ValueError(f"`{name}` must be at least 1. Received: {name}={count}")
    return math.log(count)


def _class_bound(name, error, nats, num_samples, delta, form, fixed):
    check_choice("form", form, ("kl", "hoeffding", "binomial"))
    check_loss("train_error", error)
    if form == "kl":
        value = klinv(error, _nats(num_samples, delta, nats) / num_samples)
    elif form == "binomial":
        total = _nats(num_samples, delta, nats)
        value = binomial_tail_inverse(count_of(error, num_samples), num_samples, total)
    else:
        value = error + hoeffding_slack(num_samples, delta, log_count=nats)
    return Bound(
        name=f"{name} ({form})",
        value=float(value),
        empirical=float(error),
        slack={"code length and confidence": float(value - error)},
        delta=delta,
        num_samples=num_samples,
        assumptions=(
            IID,
            Assumption(fixed),
            Assumption(
                "each loss is 0 or 1"
                if form == "binomial"
                else "each loss lies in [0, 1]"
            ),
        ),
        reference="https://jmlr.org/papers/v6/langford05a.html",
        quantity="the risk",
    )


def _nats(num_samples, delta, log_count):
    check_positive("num_samples", num_samples)
    check_delta(delta)
    if not log_count >= 0:
        raise ValueError(
            "`log_count` must be the logarithm of at least 1. "
            f"Received: log_count={log_count}"
        )
    return float(log_count) + math.log(1 / delta)


def _least_divergence(q, p):
    """`kl(q || p)` for `q <= p`, less what rounding may have added to it.

    The difference is taken before the logarithm: the plain formula cancels to
    rounding noise for `p` near `q`, where a large sample needs it.
    """
    if p >= 1:
        return math.inf
    below = q * _log_ratio(q, p, q - p) if q else 0.0
    above = (1 - q) * _log_ratio(1 - p, 1 - q, q - p)
    return below - above - _ROUNDING * (abs(below) + abs(above))


def _log_ratio(a, b, difference):
    if abs(difference) < b / 2:
        return math.log1p(difference / b)
    return math.log(a / b)
