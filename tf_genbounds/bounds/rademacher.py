"""Rademacher complexities, and what they bound."""

import itertools
import math

import numpy as np
import numpy.typing as npt

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import check_loss
from tf_genbounds.bounds.concentration import hoeffding_slack
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive
from tf_genbounds.checks import check_seed

_ALL_SIGNS = 16  # Of so many samples every pattern of signs is tried.
REFERENCE = "https://arxiv.org/abs/math/0405343"


def rademacher_complexity(
    outputs: npt.ArrayLike,
    *,
    delta: float | None = None,
    num_draws: int = 1000,
    seed: int = 0,
) -> float:
    """Computes the empirical Rademacher complexity of finitely many functions.

    `Rhat_S(F) = E_s max_f (1 / m) sum_i s_i f(x_i)`, over independent uniform signs
    `s_i`. Exact, over all `2**m` patterns, for `m <= 16`. Above, the mean of
    `num_draws` draws: an estimate, or, with `delta`, what the complexity exceeds with
    a probability of at most `delta` over the draws (McDiarmid's inequality over the
    `n m` signs): `mean + max |f| sqrt(2 ln(1 / delta) / (n m))`.

    Pass that `delta` on, as `complexity_delta` of the bounds. A largest value that was
    found by training, as in a randomization test, is a lower estimate: it can show
    that a bound is vacuous and never proves one.

    Args:
        outputs: Float array of shape `(functions, m)`, the values on the samples.
        delta: Float in (0, 1), or `None` for an estimate.
        num_draws: Integer, `n`. Defaults to `1000`.
        seed: Integer, of the draws.

    Returns:
        Float.

    Raises:
        ValueError: If an output is NaN or infinite, or a number is out of range.

    Example:

    >>> rademacher_complexity([[1.0, 1.0], [-1.0, -1.0]])
    0.5

    References:
        - [Bartlett and Mendelson, 2002](https://www.jmlr.org/papers/v3/bartlett02a.html)
    """
    outputs = _matrix("outputs", outputs)
    num_samples = outputs.shape[1]
    if delta is not None:
        check_delta(delta)
    num_draws = check_positive("num_draws", num_draws)
    if num_samples <= _ALL_SIGNS:
        signs = itertools.product((-1.0, 1.0), repeat=num_samples)
        return float(np.mean([np.max(outputs @ np.array(s)) for s in signs])) / (
            num_samples
        )
    generator = np.random.default_rng(check_seed(seed))
    total = math.fsum(
        np.max(outputs @ generator.choice((-1.0, 1.0), size=num_samples))
        for _ in range(num_draws)
    )
    mean = total / (num_draws * num_samples)
    if delta is None:
        return mean
    draws = num_draws * num_samples
    return mean + np.abs(outputs).max() * math.sqrt(2 * math.log(1 / delta) / draws)


def linear_rademacher_complexity(x: npt.ArrayLike, *, radius: float) -> float:
    """Bounds the empirical Rademacher complexity of linear functions.

    Of `x -> <w, x>` with `||w||_2 <= B`: at most `(B / m) sqrt(sum_i ||x_i||**2)`,
    which it is where the samples are orthogonal.

    Args:
        x: Float array of shape `(m, ...)`; all axes but the first are one vector.
        radius: Non-negative float, `B`, fixed before the sample.

    Returns:
        Float.

    Raises:
        ValueError: If `x` is empty, NaN or infinite, or the radius is negative.

    Example:

    >>> round(linear_rademacher_complexity(np.eye(4), radius=2.0), 6)
    1.0

    References:
        - [Bartlett and Mendelson, 2002](https://www.jmlr.org/papers/v3/bartlett02a.html)
    """
    x = np.asarray(x, "float64")
    x = _matrix("x", x.reshape(len(x), -1) if x.ndim else x)
    if not radius >= 0:
        raise ValueError(f"`radius` must not be negative. Received: radius={radius}")
    return radius * float(np.linalg.norm(x)) / len(x)


def massart_complexity(num_functions: float, *, norm: float, num_samples: int) -> float:
    """Bounds the empirical Rademacher complexity of a finite class by its size.

    Massart's lemma: `Rhat_S(F) <= max_f ||(f(x_1), ..., f(x_m))||_2
    sqrt(2 ln|F|) / m`.

    Args:
        num_functions: Number, `|F|`, of functions that were fixed in advance.
        norm: Non-negative float, the largest Euclidean norm of the values of a function
            on the sample: `sqrt(m)` for values of 1 and -1.
        num_samples: Integer, `m`.

    Returns:
        Float.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> round(massart_complexity(8, norm=20**0.5, num_samples=20), 4)
    0.456

    References:
        - [Massart, 2000](https://doi.org/10.5802/afst.961)
    """
    check_positive("num_samples", num_samples)
    if not num_functions >= 1 or not norm >= 0:
        raise ValueError(
            "`num_functions` must be at least 1, and `norm` not negative. "
            f"Received: num_functions={num_functions}, norm={norm}"
        )
    return norm * math.sqrt(2 * math.log(num_functions)) / num_samples


def rademacher_bound(
    empirical: float,
    *,
    complexity: float,
    num_samples: int,
    delta: float = 0.05,
    form: str = "empirical",
    of: str = "losses",
    complexity_delta: float = 0.0,
) -> Bound:
    """Bounds the risk of every function of a class by its Rademacher complexity.

    For losses in [0, 1], with probability at least `1 - delta` for the whole class at
    once, which was fixed before the sample:

    - `form="empirical"`: `R <= Rhat + 2 Rhat_S + 3 sqrt(ln(2 / delta) / (2 m))`, by the
      complexity on this very sample.
    - `form="expected"`: `R <= Rhat + 2 R_m + sqrt(ln(1 / delta) / (2 m))`, by its
      expectation over samples, which no sample shows: known by a theorem.
    - `form="notes"`: `R <= Rhat + 2 C + 3 sqrt(ln(1 / delta) / m)`, as lecture notes
      have it: for either complexity, if `delta <= 1 / 2`, and looser than both.

    Args:
        empirical: Float in [0, 1], `Rhat`, of the function in question.
        complexity: Non-negative float, an upper bound of the complexity.
        num_samples: Integer, `m`.
        delta: Float in (0, 1). Defaults to `0.05`.
        form: One of the above. Defaults to `"empirical"`.
        of: What the complexity is of. `"losses"`: of the class of losses.
            `"classifiers"`: of classifiers with values 1 and -1, which is twice that of
            their 0-1 losses, and is halved.
        complexity_delta: Float in [0, 1), the probability with which `complexity` is
            too small, if it was drawn. It joins `delta` in the result.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> bound = rademacher_bound(0.1, complexity=0.02, num_samples=10000)
    >>> round(bound.value, 4)
    0.1807

    References:
        - [Koltchinskii and Panchenko, 2002](https://arxiv.org/abs/math/0405343)
        - [Mohri et al., 2018](https://cs.nyu.edu/~mohri/mlbook/), Theorem 3.3.
    """
    check_choice("form", form, ("empirical", "expected", "notes"))
    check_choice("of", of, ("losses", "classifiers"))
    check_loss("empirical", empirical)
    check_positive("num_samples", num_samples)
    check_complexity(complexity, delta, complexity_delta)
    if form == "notes" and delta > 0.5:
        raise ValueError(
            'form="notes" is proved for a `delta` of at most 1/2. '
            f"Received: delta={delta}"
        )
    slack = {
        "complexity": 2 * complexity / (2 if of == "classifiers" else 1),
        "confidence": deviation(num_samples, delta, form),
    }
    return Bound(
        name=f"Rademacher bound ({form})",
        value=empirical + math.fsum(slack.values()),
        empirical=empirical,
        slack=slack,
        delta=delta + complexity_delta,
        num_samples=num_samples,
        assumptions=(
            IID,
            Assumption("each loss lies in [0, 1]"),
            Assumption("the class of functions was fixed before the sample"),
            Assumption(f"the complexity is {WHOSE[form]} and no estimate from below"),
        ),
        reference=REFERENCE,
        quantity="the risk",
    )


WHOSE = {
    "empirical": "at least that of the class on this sample",
    "expected": "at least the expected one of the class",
    "notes": "at least that of the class",
}


def deviation(num_samples, delta, form):
    """Returns what the chance of the sample adds, by the form of the complexity."""
    if form == "expected":
        return hoeffding_slack(num_samples, delta)
    if form == "empirical":
        return 3 * hoeffding_slack(num_samples, delta / 2)
    return 3 * math.sqrt(math.log(1 / delta) / num_samples)


def check_complexity(complexity, delta, complexity_delta):
    """Refuses a negative complexity, and more failure than there is."""
    check_delta(delta)
    if not complexity >= 0:
        raise ValueError(
            f"`complexity` must not be negative. Received: complexity={complexity}"
        )
    if not 0 <= complexity_delta < 1 - delta:
        raise ValueError(
            "`complexity_delta` must not be negative, and less than 1 with `delta`. "
            f"Received: complexity_delta={complexity_delta}, delta={delta}"
        )


def _matrix(name, values):
    values = np.asarray(values, "float64")
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"`{name}` must hold finite numbers, in two axes that are not empty. "
            f"Received: {name}.shape={values.shape}"
        )
    return values
