"""What the size of a compression set says about the risk, with no data held out."""

import math
import numbers
import sys

from scipy import special

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import log_count
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_num_samples

_ROUNDING = 16 * sys.float_info.epsilon
# Of the incomplete beta function, with much to spare.
_TAIL_ROUNDING = 1e-12
_BISECTIONS = 200


def sample_compression_bound(
    num_compressed, *, num_samples, delta=0.05, num_choices=1
) -> Bound:
    """Bounds the risk by how many examples the result depends on.

    For a *preferent* compression `c`, one with `c(S') = c(S)` whenever
    `c(S) <= S' <= S`, that changes when an example is added on which the result is
    wrong: with probability at least `1 - delta`, for `k = |c(S)|` and `N = |S|` the
    risk is at most the root `e` in `[k / N, 1]` of

        (delta / M) P[Bin(N, e) >= k + 1] = N e P[Bin(N, e) = k]

    and 1 for `k = N`. `M` compressions that were listed beforehand are paid for, so
    that the smallest may be taken. Computed in log space; the upper end of the
    bracket is returned, with rounding allowed for.

    Args:
        num_compressed: Integer in `[0, N]`, `k`.
        num_samples: Positive integer, `N`.
        delta: Float in (0, 1). Defaults to `0.05`.
        num_choices: Number, `M`, at least 1. Defaults to `1`.

    Returns:
        `Bound`; its `empirical` is `k / N`.

    Raises:
        ValueError: If a number is out of range.

    Example:

    >>> bound = sample_compression_bound(326, num_samples=24000, delta=0.01)
    >>> round(bound.value, 10)
    0.0165210287

    References:
        - [Campi and Garatti, 2023](https://jmlr.org/papers/v24/22-0605.html),
          Compression, Generalization and Learning.
        - [Paccagnan, Campi and Garatti, 2023](https://openreview.net/forum?id=40L3viVWQN),
          The Pick-to-Learn Algorithm. Public code had a sum for the product `N e`
          until late 2025, and too small values.
    """
    check_num_samples(num_samples)
    check_delta(delta)
    if (
        isinstance(num_compressed, bool)
        or not isinstance(num_compressed, numbers.Integral)
        or not 0 <= num_compressed <= num_samples
    ):
        raise ValueError(
            "`num_compressed` must be an integer in [0, num_samples]. Received: "
            f"num_compressed={num_compressed}, num_samples={num_samples}"
        )
    nats = log_count("num_choices", num_choices) - math.log(delta)
    k, n = int(num_compressed), int(num_samples)
    value = _root(k, n, nats)
    return Bound(
        name="Sample compression bound",
        value=value,
        empirical=k / n,
        slack={"sample compression": value - k / n},
        delta=delta,
        num_samples=n,
        assumptions=(
            IID,
            Assumption(
                "the compression set is the same for every part of the sample that "
                "contains it, and another one if an example is added that is decided "
                "wrongly"
            ),
            Assumption(
                f"at most {num_choices:,} compressions, listed before the sample was "
                "seen, could have been chosen"
            ),
        ),
        reference="https://jmlr.org/papers/v24/22-0605.html",
    )


def _root(k, n, nats):
    if k == n:
        return 1.0
    low, high = k / n, 1.0
    coefficient = (
        special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    )
    size = special.gammaln(n + 1) + nats
    for _ in range(_BISECTIONS):
        e = (low + high) / 2
        if not low < e < high:
            break
        right = k * math.log(e) + (n - k) * math.log1p(-e)
        error = _TAIL_ROUNDING + _ROUNDING * (size + abs(right))
        # The tail does not underflow, as `e` is no less than `k / n`. The quotient of
        # the two sides increases with `e`.
        tail = math.log(special.betainc(k + 1, n - k, e))
        if tail - nats - math.log(n) - math.log(e) - coefficient - right < error:
            low = e
        else:
            high = e
    return min(1.0, math.nextafter(high, math.inf))
