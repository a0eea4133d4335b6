"""Uniform stability: what an algorithm proves that hardly heeds a single example."""

import math

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.complexity import Complexity
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import hoeffding_slack
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.rounding import at_least
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_positive

_CHANGES = {
    "replace": "no loss changes by more than {} if one example is replaced by any other",
    "removal": "no loss changes by more than {} if one example is left out",
}


def stability_bound(
    empirical: float,
    *,
    stability: float,
    num_samples: int,
    delta: float = 0.05,
    form: str = "replace",
    largest: float = 1.0,
    estimated: bool = False,
) -> Bound:
    """Bounds the risk of what a uniformly stable algorithm returns.

    For a deterministic algorithm, losses in `[0, M]`, and a stability that holds for
    every sample of size `n`, every replacement and every test example, with
    probability at least `1 - delta`:

    - `form="replace"`, of one example replaced by another, which changes no loss by
      more than `e`: `R <= Rhat + e + (2 n e + M) sqrt(ln(1 / delta) / (2 n))`
    - `form="removal"`, of one example left out, which changes no loss by more than
      `b`: `R <= Rhat + 2 b + (4 n b + M) sqrt(ln(1 / delta) / (2 n))`

    Removal by `b` implies replacement by `2 b`; the converse does not hold, so never
    pass half of a replacement's number as one of removal.

    For an algorithm that draws at random, such as SGD, the bound speaks of the loss
    averaged over its draws, not of one run.

    Args:
        empirical: Float in `[0, M]`, `Rhat`, the mean loss on the training sample.
        stability: Non-negative float, `e` or `b`.
        num_samples: Integer, `n`.
        delta: Float in (0, 1). Defaults to `0.05`.
        form: `"replace"` or `"removal"`.
        largest: Positive float, `M`. Defaults to 1.
        estimated: Whether the stability was measured, by training twins. That is less
            than the supremum, and the result no guarantee.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> bound = stability_bound(
    ...     0.05, stability=1e-4, num_samples=10000, form="removal"
    ... )
    >>> round(bound.value, 8)
    0.11139367

    References:
        - [Bousquet and Elisseeff, 2002](https://www.jmlr.org/papers/v2/bousquet02a.html)
    """
    check_choice("form", form, tuple(_CHANGES))
    num_samples = check_positive("num_samples", num_samples)
    if not 0 < largest < math.inf or not 0 <= empirical <= largest:
        raise ValueError(
            "`largest` must be positive and finite, and `empirical` in [0, largest]. "
            f"Received: empirical={empirical}, largest={largest}"
        )
    if not stability >= 0:
        raise ValueError(
            f"`stability` must not be negative. Received: stability={stability}"
        )
    replaced = stability * (2 if form == "removal" else 1)
    deviation = (2 * num_samples * replaced + largest) * hoeffding_slack(
        num_samples, delta
    )
    text = _CHANGES[form].format(at_least(stability))
    return Bound(
        name=f"Stability bound ({form})",
        value=empirical + replaced + deviation,
        empirical=empirical,
        slack={"bias": replaced, "deviation": deviation},
        delta=delta,
        num_samples=num_samples,
        assumptions=(
            IID,
            Assumption(f"each loss lies in [0, {at_least(largest)}]"),
            Assumption("training is deterministic"),
            Assumption(
                f"{text}, whatever the sample and the test example",
                "failed" if estimated else "unchecked",
            ),
        ),
        reference="https://www.jmlr.org/papers/v2/bousquet02a.html",
        quantity="the risk",
        trivial=float(largest),
    )


def sgd_stability(
    *,
    lipschitz: float,
    num_samples: int,
    num_steps: int | None = None,
    step_size: float | None = None,
    smoothness: float | None = None,
    strong_convexity: float | None = None,
    case: str = "convex",
) -> Complexity:
    """Computes how stable SGD with one example a step is, in expectation.

    A bound of the expected gap, over the sample and over SGD's draws, and of the
    replace-one stability in expectation over these; of no single run and with no
    probability. Each loss is `G`-Lipschitz and `b`-smooth in the weights:

    - `case="convex"`, steps of `a <= 2 / b`: `2 G**2 a T / n`
    - `case="strongly_convex"`, modulus `g`, projected, constant steps of at most
      `1 / b`: `2 G**2 / (g n)`
    - `case="nonconvex"`, losses in [0, 1], steps of at most `c / t`:
      `(1 + 1 / (b c)) / (n - 1) (2 c G**2)**(1 / (b c + 1)) T**(b c / (b c + 1))`

    Neither momentum nor Adam nor batch normalization is covered, and networks with ReLU
    are not smooth: estimated constants make it a diagnostic.

    Args:
        lipschitz: Positive float, `G`.
        num_samples: Integer, `n`, at least 2.
        num_steps: Integer, `T`, for all cases but the strongly convex one.
        step_size: Positive float: `a`, the same in every step; or `c`.
        smoothness: Positive float, `b`. Not needed for `"strongly_convex"`.
        strong_convexity: Positive float, `g`.
        case: One of the above.

    Returns:
        `Complexity`, capped by nothing.

    Raises:
        ValueError: If a number is missing or out of range, or a convex step is larger
            than `2 / b`.

    Example:

    >>> found = sgd_stability(
    ...     lipschitz=1.0, smoothness=1.0, step_size=0.01, num_steps=5000,
    ...     num_samples=1000,
    ... )
    >>> round(found.value, 12)
    0.1

    References:
        - [Hardt et al., 2016](https://arxiv.org/abs/1509.01240)
    """
    check_choice("case", case, tuple(_CASES))
    needed, formula, compute = _CASES[case]
    values = {
        "lipschitz": lipschitz,
        "num_samples": num_samples,
        "num_steps": num_steps,
        "step_size": step_size,
        "smoothness": smoothness,
        "strong_convexity": strong_convexity,
    }
    for name in ("lipschitz", *needed):
        if values[name] is None or not values[name] > 0:
            raise ValueError(
                f'`{name}` must be a positive number for case="{case}". '
                f"Received: {name}={values[name]}"
            )
    if check_positive("num_samples", num_samples) < 2:
        raise ValueError(
            f"`num_samples` must be at least 2. Received: num_samples={num_samples}"
        )
    if case == "convex" and step_size > 2 / smoothness:
        raise ValueError(
            "Convex steps must be at most 2 / smoothness. "
            f"Received: step_size={step_size}, smoothness={smoothness}"
        )
    return Complexity(
        name=f"stability of SGD ({case})",
        value=float(compute(values)),
        unit="of expected gap",
        formula=formula,
        reference="https://arxiv.org/abs/1509.01240",
        assumptions=(
            IID,
            Assumption("the losses are Lipschitz and smooth as stated, everywhere"),
            Assumption("plain SGD, one example a step, steps fixed in advance"),
        ),
        terms={k: float(v) for k, v in values.items() if v is not None},
    )


def _nonconvex(values):
    product = values["smoothness"] * values["step_size"]
    power = 1 / (product + 1)
    base = 2 * values["step_size"] * values["lipschitz"] ** 2
    growth = base**power * values["num_steps"] ** (product * power)
    return (1 + 1 / product) / (values["num_samples"] - 1) * growth


_CASES = {
    "convex": (
        ("smoothness", "step_size", "num_steps"),
        "2 G^2 a T / n",
        lambda v: (
            2 * v["lipschitz"] ** 2 * v["step_size"] * v["num_steps"] / v["num_samples"]
        ),
    ),
    "strongly_convex": (
        ("strong_convexity",),
        "2 G^2 / (g n)",
        lambda v: 2 * v["lipschitz"] ** 2 / (v["strong_convexity"] * v["num_samples"]),
    ),
    "nonconvex": (
        ("smoothness", "step_size", "num_steps"),
        "(1 + 1/(b c)) / (n - 1) (2 c G^2)^(1/(b c + 1)) T^(b c/(b c + 1))",
        _nonconvex,
    ),
}
