"""Sample compression: what the few examples that decide a model prove of it."""

import math
import numbers
import sys

from scipy import special

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import log_count
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive

_ROUNDING = 16 * sys.float_info.epsilon
# More than the relative error of `scipy.special.betainc`.
_TAIL_ROUNDING = 1e-12
_BISECTIONS = 200


def sample_compression_bound(
    num_compressed: int,
    *,
    num_samples: int,
    delta: float = 0.05,
    num_choices: float = 1,
) -> Bound:
    """Bounds the risk of a model that few of the examples decide.

    A preferent compression maps a sample `S` to a part `c(S)` of it such that
    `c(S') = c(S)` whenever `c(S) <= S' <= S`. If the model is wrong on a new example
    only if adding it to the sample would change `c`, then, with `k = |c(S)|`,
    `N = |S|` and `d = delta / M`, with probability at least `1 - delta`:

        risk <= eps, the root in [k / N, 1] of
        d P[Bin(N, eps) >= k + 1] = N eps P[Bin(N, eps) = k]; 1 for k = N

    The upper end of the bracket of a bisection in log space is returned, with rounding
    allowed for, so that it is never below the root.

    Args:
        num_compressed: Integer in `[0, N]`, `k`.
        num_samples: Integer, `N`.
        delta: Float in (0, 1). Defaults to `0.05`.
        num_choices: Number, `M`, of the compressions, listed before the sample was
            seen, of which this is one. Defaults to `1`.

    Returns:
        `Bound`, whose `empirical` is `k / N`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> bound = sample_compression_bound(326, num_samples=24000, delta=0.01)
    >>> round(bound.value, 8)
    0.01652103

    References:
        - [Campi and Garatti, 2023](https://jmlr.org/papers/v24/22-0605.html),
          theorem 4.
        - [Paccagnan et al., 2023](https://arxiv.org/abs/2305.16149)
    """
    check_positive("num_samples", num_samples)
    check_delta(delta)
    if (
        not isinstance(num_compressed, numbers.Integral)
        or isinstance(num_compressed, bool)
        or not 0 <= num_compressed <= num_samples
    ):
        raise ValueError(
            "`num_compressed` must be an integer in [0, num_samples]. Received: "
            f"num_compressed={num_compressed}, num_samples={num_samples}"
        )
    nats = log_count("num_choices", num_choices) + math.log(1 / delta)
    k, m = int(num_compressed), int(num_samples)
    value = _root(k, m, nats)
    scheme = Assumption(
        "the compression is preferent, and an example on which the model is wrong "
        "would change it"
    )
    chosen = Assumption(
        f"it is one of {num_choices:,.6g} that were listed before the sample was seen"
    )
    return Bound(
        name="Sample compression bound",
        value=value,
        empirical=k / m,
        slack={"confidence": value - k / m},
        delta=delta,
        num_samples=m,
        assumptions=(IID, scheme) if num_choices == 1 else (IID, scheme, chosen),
        reference="https://jmlr.org/papers/v24/22-0605.html, theorem 4",
    )


def _root(k, m, nats):
    """The smallest float that is seen to be no less than the root."""
    if k == m:
        return 1.0
    low, high = k / m, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        # The ratio of both sides increases with the rate.
        if _log_ratio(k, m, middle) >= nats:
            high = middle
        else:
            low = middle
    return min(1.0, math.nextafter(high, math.inf))


def _log_ratio(k, m, p):
    """`ln(P[Bin(m, p) >= k + 1] / (m p P[Bin(m, p) = k]))`, never more than it is."""
    # Above the mean the tail does not underflow: it is at least about a half, or, for
    # `k = 0`, about `m p`.
    tail = special.betainc(k + 1, m - k, p) * (1 - _TAIL_ROUNDING)
    if not tail > 0:
        return -math.inf
    terms = (
        special.gammaln(m + 1),
        -special.gammaln(k + 1),
        -special.gammaln(m - k + 1),
        k * math.log(p),
        (m - k) * math.log1p(-p),
        math.log(m),
        math.log(p),
    )
    size = math.fsum(abs(term) for term in terms) + abs(math.log(tail))
    return math.log(tail) - math.fsum(terms) - _ROUNDING * size
