"""Upper ends for a mean: of 0-1 losses by their exact tail, of others by bets."""

import math
import sys

import numpy as np
import numpy.typing as npt
from scipy import special

_ROUNDING = 16 * sys.float_info.epsilon
_BISECTIONS = 200
_CHUNK = 4096


def binomial_tail_inverse(num_errors: int, num_samples: int, nats: float) -> float:
    """Inverts the binomial tail: the largest error rate that is not refuted.

    The root in `p` of `ln P[Bin(m, p) <= k] = -nats`, or `k / m` if that is larger,
    and 1 for `k = m`. If each of
    `m` independent samples is an error with probability `R`, then with probability
    at least `1 - exp(-nats)` is `R` at most this (Clopper and Pearson, one-sided).
    For 0-1 losses no function of `k` and `m` alone that increases with `k` is
    smaller. The terms are summed in log space, where `scipy.stats.binom.logcdf`
    underflows; the upper end of the bracket is returned, with rounding allowed for.

    Args:
        num_errors: Integer in `[0, m]`, `k`.
        num_samples: Positive integer, `m`.
        nats: Non-negative float: `ln(1 / delta)`, and what a union costs.

    Returns:
        Float in `[k / m, 1]`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> round(binomial_tail_inverse(102, 10000, np.log(1 / 0.05)), 10)
    0.0120132457

    References:
        - [Clopper and Pearson, 1934](https://doi.org/10.1093/biomet/26.4.404)
        - [Langford, 2005](https://jmlr.org/papers/v6/langford05a.html), section 3.
    """
    if not 0 <= num_errors <= num_samples or num_samples < 1:
        raise ValueError(
            "`num_errors` must lie in [0, num_samples], and there must be a sample. "
            f"Received: num_errors={num_errors}, num_samples={num_samples}"
        )
    if not nats >= 0:
        raise ValueError(f"`nats` must not be negative. Received: nats={nats}")
    if num_errors == num_samples:
        return 1.0
    low, high = num_errors / num_samples, 1.0
    least = -nats * (1 + _ROUNDING)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if _log_tail(num_errors, num_samples, middle) > least:
            low = middle
        else:
            high = middle
    return min(1.0, math.nextafter(high, math.inf))


def _log_tail(k, m, p):
    """`ln P[Bin(m, p) <= k]` for `p > k / m`, never less than it is."""
    whole = special.gammaln(m + 1)
    total, last = -math.inf, k
    while True:
        first, last = last, max(last - _CHUNK, 0)
        i = np.arange(first, last - 1, -1, dtype="float64")
        terms = (
            whole
            - special.gammaln(i + 1)
            - special.gammaln(m - i + 1)
            + i * math.log(p)
            + (m - i) * math.log1p(-p)
        )
        total = np.logaddexp(total, special.logsumexp(terms))
        if last == 0:
            break
        # Further terms decrease at least by this ratio each.
        ratio = last * (1 - p) / ((m - last + 1) * p)
        rest = terms[-1] + math.log(ratio / (1 - ratio))
        if rest < total - 50:
            total = np.logaddexp(total, rest)
            break
        last -= 1
    size = whole + k * abs(math.log(p)) + m * abs(math.log1p(-p))
    return total + _ROUNDING * size


def empirical_bernstein_slack(losses: npt.ArrayLike, nats: float) -> float:
    """Computes how far a mean is below its expectation, by the spread that is seen.

    `sqrt(2 V c / m) + 7 c / (3 (m - 1))` with `c = nats + ln 2` and the unbiased
    variance `V` of the losses: with probability at least `1 - exp(-nats)` no more.

    Args:
        losses: Float array of shape `(m,)`, in [0, 1], of independent samples;
            `m >= 2`.
        nats: Non-negative float: `ln(1 / delta)`, and what a union costs.

    Returns:
        Float.

    Example:

    >>> round(empirical_bernstein_slack(np.full(1000, 0.1), np.log(1 / 0.05)), 6)
    0.008616

    References:
        - [Maurer and Pontil, 2009](https://arxiv.org/abs/0907.3740), theorem 4.
    """
    losses = check_losses(losses)
    if len(losses) < 2:
        raise ValueError(
            "A variance needs at least two losses. "
            f"Received: losses of shape {losses.shape}"
        )
    cost = float(nats) + math.log(2)
    variance = float(np.var(losses, ddof=1))
    return math.sqrt(2 * variance * cost / len(losses)) + 7 * cost / (
        3 * (len(losses) - 1)
    )


def betting_inverse(losses: npt.ArrayLike, nats: float, *, seed: int = 0) -> float:
    """Computes the largest mean at which no bet against it has won enough.

    The losses `x_1, x_2, ...` come in an order that the seed fixes. Against a mean
    `u` one bets with the capital `K_t(u) = prod_{i <= t} (1 + l_i(u) (u - x_i))`,
    `l_t(u) = min(l_t, (3 / 4) / (1 - u))`, `l_t = sqrt(2 nats / (m v_{t-1}))`,
    `v_t = (1/4 + sum_{i <= t} (x_i - a_i)**2) / (t + 1)` and
    `a_t = (1/2 + sum_{i <= t} x_i) / (t + 1)`. At the true mean it is a non-negative
    martingale, which exceeds `exp(nats)` at any time with probability at most
    `exp(-nats)`. It grows with `u`, so that the bound is found by bisection.

    Args:
        losses: Float array of shape `(m,)`, in [0, 1], of independent samples.
        nats: Positive float: `ln(1 / delta)`, and what a union costs.
        seed: Integer: the order, chosen before the losses are seen. Defaults to `0`.

    Returns:
        Float in `[0, 1]`.

    Example:

    >>> losses = np.tile([0.0, 0.2], 500)
    >>> mean = betting_inverse(losses, np.log(1 / 0.05))
    >>> 0.1 < mean < 0.11
    True

    References:
        - [Waudby-Smith and Ramdas, 2024](https://arxiv.org/abs/2010.09686),
          theorem 3.
    """
    losses = check_losses(losses)
    x = np.random.default_rng(seed).permutation(losses)
    t = np.arange(1, len(x) + 1)
    means = (0.5 + np.cumsum(x)) / (t + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    rates = np.sqrt(2 * nats / (len(x) * before))
    # The sum of so many logarithms may be too large by rounding.
    most = nats * (1 + _ROUNDING) + _ROUNDING * len(x)

    def refuted(u):
        bets = rates if u == 1 else np.minimum(rates, 0.75 / (1 - u))
        return np.max(np.cumsum(np.log1p(bets * (u - x)))) >= most

    if not refuted(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if refuted(middle):
            high = middle
        else:
            low = middle
    return min(1.0, math.nextafter(high, math.inf))


def check_losses(losses):
    """Returns losses as a float64 vector; refuses what is not in [0, 1]."""
    losses = np.asarray(losses, "float64")
    if losses.ndim != 1 or not len(losses):
        raise ValueError(
            "Losses must be a vector, one for each sample. "
            f"Received: shape {losses.shape}"
        )
    if not np.all((losses >= 0) & (losses <= 1)):
        raise ValueError(
            "Each loss must lie in [0, 1]. Received: losses from "
            f"{losses.min()} to {losses.max()}"
        )
    return losses


def count_of(error, num_samples):
    """Returns how many of the samples are errors; refuses what is no such rate."""
    count = round(error * num_samples)
    if abs(error * num_samples - count) > 0.01:
        raise ValueError(
            'The form "binomial" is for 0-1 losses, whose mean is a whole number of '
            f"errors out of the samples. Received: error={error}, "
            f"num_samples={num_samples}"
        )
    return count
