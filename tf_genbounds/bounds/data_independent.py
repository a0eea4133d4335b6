"""The margin bound of networks whose activation pattern was frozen."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tf_genbounds.bounds import grid
from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.margin import check_margins
from tf_genbounds.bounds.margin import margin_statement
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.rounding import at_least
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta

# What the gates are made of: each has to be fixed before the sample is drawn.
GATES = (
    Assumption(
        "the weights that the gates were trained from do not depend on the sample"
    ),
    Assumption(
        "the samples, callbacks and validation data that trained the gates do not "
        "depend on the sample"
    ),
    Assumption(
        "preprocessing, architecture and hyper-parameters do not depend on the sample"
    ),
)


def data_independent_bound(
    margins: npt.ArrayLike,
    *,
    margin: float,
    weight_norm: float,
    num_classes: int,
    feature_norms: npt.ArrayLike | None = None,
    feature_norm_bound: float | None = None,
    delta: float = 0.05,
    constant: str = "4k",
    chosen_after_training: bool = True,
) -> Bound:
    """Bounds the risk of a network that is linear in its path weights.

    After two-phase training the logits are `h_k(x) = z(x)^T w_k`, where the
    path features `z` do not depend on the second part of the data. With
    probability at least `1 - delta` over that part, of size `m`, for every
    network with `max_k ||w_k||_2 <= C_w` and `||z(x)||_2 <= C_sigma`,

    `R <= Rhat_rho + A C_sigma C_w / (rho sqrt(m)) + sqrt(ln(1 / delta) / (2 m))`

    where `Rhat_rho` is the fraction of examples with a margin of at most `rho`,
    and `A` comes from the step from scores to margins:

    - `constant="paper"`: `A = 2 K**2` for `K` classes.
    - `constant="4k"`: `A = 4 K`, never larger for `K >= 2`.
    - A single logit (`num_classes=1`) has `A = 2`, with either.

    `C_sigma` is a supremum over all inputs, not over the sample. The default
    form does without it, by the features of the sample:

    `R <= Rhat_rho + A C_w / (rho m) sqrt(sum_i ||z(x_i)||_2**2)
    + 3 sqrt(ln(2 / delta) / (2 m))`

    Choose between the two before you see the sample: each has its own `delta`.
    They hold for `C_w` and `rho` fixed in advance. Otherwise these are rounded
    to powers of two `2**j` (up) and `2**i` (down), `Rhat_rho` is taken at the
    rounded `rho`, and `delta` in the formulas becomes
    `delta * 9 / (pi**4 (|i| + 1)**2 (|j| + 1)**2)`.

    Args:
        margins: Float array of shape `(m,)`: of the examples of the second
            phase only, on the logits. NaN counts as an error.
        margin: Float, `rho`. If it is not positive, the bound is `inf`.
        weight_norm: Non-negative float, `C_w >= max_k ||w_k||_2`.
        num_classes: Integer, `K`, the number of logits.
        feature_norms: Float array of shape `(m,)`, `||z(x_i)||_2`.
        feature_norm_bound: Float, `C_sigma`, in place of `feature_norms`; see
            `certified_feature_norm`.
        delta: Float in (0, 1). Defaults to `0.05`.
        constant: `"4k"` or `"paper"`. Defaults to `"4k"`.
        chosen_after_training: Whether `margin` and `weight_norm` were chosen
            with a view to the sample, and have to be paid for. Defaults to
            `True`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range, or not exactly one of
            `feature_norms` and `feature_norm_bound` is given.

    Example:

    >>> bound = data_independent_bound(
    ...     np.full(45000, 2.0), margin=1.0, weight_norm=0.5, num_classes=10,
    ...     feature_norm_bound=0.5, delta=0.1, constant="paper",
    ...     chosen_after_training=False,
    ... )
    >>> round(bound.value, 8)
    0.24076035

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468), the
          theorem on two-phase training.
        - [Koltchinskii and Panchenko, 2002](https://arxiv.org/abs/math/0405343)
        - [Mohri et al., 2018](https://cs.nyu.edu/~mohri/mlbook/), Theorem 9.2.
    """
    check_choice("constant", constant, ("4k", "paper"))
    check_delta(delta)
    margins = check_margins(margins)
    if not weight_norm >= 0:
        raise ValueError(
            f"`weight_norm` must not be negative. Received: weight_norm={weight_norm}"
        )
    if (feature_norms is None) == (feature_norm_bound is None):
        raise ValueError(
            "Pass either `feature_norms` or `feature_norm_bound`. "
            f"Received: feature_norms={feature_norms}, "
            f"feature_norm_bound={feature_norm_bound}"
        )
    exponents = ()
    if chosen_after_training:
        weight_norm, exponent = grid.rounded_up(weight_norm)
        exponents = (exponent,)
    scale = _scale(len(margins), feature_norms, feature_norm_bound)
    return margin_statement(
        f"Data-independent bound of path weights ({constant})",
        margins,
        complexity=scale * weight_norm,
        exponents=exponents,
        margin=margin,
        num_classes=num_classes,
        delta=delta,
        form="empirical" if feature_norm_bound is None else "expected",
        constant=constant,
        chosen_after_training=chosen_after_training,
        assumptions=_assumptions(weight_norm, feature_norm_bound),
        reference="https://arxiv.org/abs/1710.05468, theorem on two-phase training",
    )


def certified_feature_norm(
    input_norm: float, hidden_units: Sequence, *, bias: bool = False
) -> float:
    """Bounds the norm of the path features of a dense network.

    `||z(x)||**2 <= ||x||**2 prod_i h_i`, for `H` hidden layers of `h_i` units:
    the number of paths from each input. Each bias starts paths of its own,
    `sum_{l=1}^{H+1} prod_{i=l}^{H} h_i` in all.

    Args:
        input_norm: Non-negative float: no input is longer, by construction of
            the data (pixels in [0, 1]), not by inspection of a sample.
        hidden_units: Sequence of integers, `h_1, ..., h_H`.
        bias: Whether every layer has a bias, the last one too.

    Returns:
        Float, a legal `feature_norm_bound`.

    Example:

    >>> certified_feature_norm(2.0, [4])
    4.0

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """
    if not input_norm >= 0:
        raise ValueError(
            f"`input_norm` must not be negative. Received: input_norm={input_norm}"
        )
    paths = float(input_norm) ** 2
    for units in (*hidden_units, 1):
        paths = units * (paths + bool(bias))
    return math.sqrt(paths)


def _scale(num_samples, feature_norms, feature_norm_bound):
    """Returns the Rademacher complexity of path weights of norm 1."""
    if feature_norm_bound is not None:
        if not feature_norm_bound >= 0:
            raise ValueError(
                "`feature_norm_bound` must not be negative. "
                f"Received: feature_norm_bound={feature_norm_bound}"
            )
        return feature_norm_bound / math.sqrt(num_samples)
    norms = np.asarray(feature_norms, "float64")
    if norms.shape != (num_samples,) or not np.all(norms >= 0):
        raise ValueError(
            "`feature_norms` must hold a non-negative number for each of "
            f"{num_samples} margins. Received: feature_norms.shape={norms.shape}, "
            f"the least {np.min(norms, initial=math.inf)}"
        )
    return float(np.linalg.norm(norms)) / num_samples


def _assumptions(weight_norm, feature_norm_bound):
    found = [
        *GATES,
        Assumption(
            f"the path weights of each class have a norm of at most "
            f"{at_least(weight_norm)}"
        ),
    ]
    if feature_norm_bound is not None:
        found.append(
            Assumption(
                "the path features of every possible input have a norm of at most "
                f"{at_least(feature_norm_bound)}, by construction"
            )
        )
    return tuple(found)
