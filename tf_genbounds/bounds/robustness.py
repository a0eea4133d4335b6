"""Algorithmic robustness, and what counts parameters."""

import math

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.complexity import Complexity
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.rounding import at_least
from tf_genbounds.checks import check_delta
from tf_genbounds.checks import check_positive

_CONVENTION = Assumption(
    "The constants are 1 by convention, and logarithms are left out.", "failed"
)


def robustness_bound(
    empirical: float,
    *,
    robustness: float,
    num_cells: int,
    num_samples: int,
    delta: float = 0.05,
    largest: float = 1.0,
    estimated: bool = False,
) -> Bound:
    """Bounds the risk of a model whose loss is nearly constant on each cell.

    Let the space of examples be cut into `N` cells before the sample is seen, losses in
    `[0, M]`, and let the loss of the trained model vary by at most `e` within each cell
    that holds a training example. With probability at least `1 - delta`,

    `R <= Rhat + e + M sqrt((2 N ln 2 + 2 ln(1 / delta)) / m)`

    Args:
        empirical: Float in `[0, M]`, `Rhat`, the mean loss on the training sample.
        robustness: Non-negative float, `e`: a supremum over whole cells.
        num_cells: Integer, `N`.
        num_samples: Integer, `m`.
        delta: Float in (0, 1). Defaults to `0.05`.
        largest: Positive float, `M`. Defaults to 1.
        estimated: Whether `e` was measured on data. That is less than the supremum,
            and the result no guarantee.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> bound = robustness_bound(
    ...     0.02, robustness=0.01, num_cells=100, num_samples=60000
    ... )
    >>> round(bound.value, 4)
    0.0791

    References:
        - [Xu and Mannor, 2012](https://arxiv.org/abs/1005.2243)
    """
    check_delta(delta)
    num_samples = check_positive("num_samples", num_samples)
    num_cells = check_positive("num_cells", num_cells)
    if not 0 < largest < math.inf or not 0 <= empirical <= largest:
        raise ValueError(
            "`largest` must be positive and finite, and `empirical` in [0, largest]. "
            f"Received: empirical={empirical}, largest={largest}"
        )
    if not robustness >= 0:
        raise ValueError(
            f"`robustness` must not be negative. Received: robustness={robustness}"
        )
    nats = 2 * num_cells * math.log(2) + 2 * math.log(1 / delta)
    slack = {
        "variation within cells": float(robustness),
        "cells": largest * math.sqrt(nats / num_samples),
    }
    return Bound(
        name="Robustness bound",
        value=empirical + math.fsum(slack.values()),
        empirical=empirical,
        slack=slack,
        delta=delta,
        num_samples=num_samples,
        assumptions=(
            IID,
            Assumption(f"each loss lies in [0, {at_least(largest)}]"),
            Assumption("the cells were fixed before the sample"),
            Assumption(
                "the loss varies by at most "
                f"{at_least(robustness)} within each cell with a training example",
                "failed" if estimated else "unchecked",
            ),
        ),
        reference="https://arxiv.org/abs/1005.2243",
        quantity="the risk",
        trivial=float(largest),
    )


def meta_theorem_complexity(num_parameters: float, *, num_samples: int) -> Complexity:
    """Computes what every bound by counting looks like: `sqrt(N / m)`.

    Args:
        num_parameters: Non-negative number, `N`, of effective parameters, such as the
            value of `effective_parameters`.
        num_samples: Integer, `m`.

    Returns:
        `Complexity`: the constant is 1 by convention.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> meta_theorem_complexity(100, num_samples=10000).value
    0.1

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296)
    """
    check_positive("num_samples", num_samples)
    if not num_parameters >= 0:
        raise ValueError(
            "`num_parameters` must not be negative. "
            f"Received: num_parameters={num_parameters}"
        )
    return Complexity(
        name="effective parameters over samples",
        value=math.sqrt(num_parameters / num_samples),
        unit="",
        formula="sqrt(N / m)",
        reference="https://arxiv.org/abs/1802.05296",
        assumptions=(_CONVENTION,),
        terms={"N": float(num_parameters), "m": float(num_samples)},
    )


def vc_complexity(
    num_parameters: int, *, num_samples: int, depth: int = 1
) -> Complexity:
    """Computes what the Vapnik-Chervonenkis bound of a network grows with.

    `sqrt(d W ln W / m)`, since the dimension of a network with ReLU, `W` weights and
    `d` layers is `O(d W ln W)`; `O(W ln W)` for threshold units (`depth=1`).

    Args:
        num_parameters: Integer, `W`, at least 2.
        num_samples: Integer, `m`.
        depth: Integer, `d`.

    Returns:
        `Complexity`: the constant is 1 by convention.

    Raises:
        ValueError: If a number is out of range.

    Example:

    >>> round(vc_complexity(1000, num_samples=60000, depth=3).value, 4)
    0.5877

    References:
        - [Bartlett et al., 2019](https://arxiv.org/abs/1703.02930)
    """
    check_positive("num_samples", num_samples)
    check_positive("depth", depth)
    if check_positive("num_parameters", num_parameters) < 2:
        raise ValueError(
            "`num_parameters` must be at least 2. "
            f"Received: num_parameters={num_parameters}"
        )
    dimension = depth * num_parameters * math.log(num_parameters)
    return Complexity(
        name="Vapnik-Chervonenkis dimension over samples",
        value=math.sqrt(dimension / num_samples),
        unit="",
        formula="sqrt(d W ln W / m)",
        reference="https://arxiv.org/abs/1703.02930",
        assumptions=(_CONVENTION,),
        terms={"d W ln W": dimension, "m": float(num_samples)},
    )
