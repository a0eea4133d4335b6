"""The margin bound: from the complexity of the scores to the risk of a classifier."""

import math

import numpy as np
import numpy.typing as npt

from tf_genbounds.bounds import grid
from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.rademacher import REFERENCE
from tf_genbounds.bounds.rademacher import WHOSE
from tf_genbounds.bounds.rademacher import check_complexity
from tf_genbounds.bounds.rademacher import deviation
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_positive


def margin_bound(
    margins: npt.ArrayLike,
    *,
    complexity: float,
    margin: float,
    num_classes: int,
    delta: float = 0.05,
    form: str = "empirical",
    constant: str = "4k",
    chosen_after_training: bool = True,
    complexity_delta: float = 0.0,
) -> Bound:
    """Bounds the risk of a classifier by the Rademacher complexity of its scores.

    For a class of scores `h_k` that was fixed before the sample of size `m`, with `C`
    the Rademacher complexity of all of them together and `Rhat_rho` the fraction of
    examples with a margin of at most `rho`, with probability at least `1 - delta`:

    - `form="empirical"`:
      `R <= Rhat_rho + A C / rho + 3 sqrt(ln(2 / delta) / (2 m))`, `C` on this sample.
    - `form="expected"`:
      `R <= Rhat_rho + A C / rho + sqrt(ln(1 / delta) / (2 m))`, `C` its expectation.

    `A = 4 K` for `K` classes (`constant="4k"`), or `2 K**2` (`"paper"`), never smaller
    for `K >= 2`. A single logit (`num_classes=1`) has `A = 2`, with either.

    They hold for a `rho` that was fixed in advance. Otherwise it is rounded down to a
    power of two `2**i`, `Rhat_rho` is taken there, and `delta` in the formulas becomes
    `delta * 3 / (pi**2 (|i| + 1)**2)`.

    Args:
        margins: Float array of shape `(m,)`, `h_y(x) - max_{k != y} h_k(x)` of each
            example. NaN counts as an error.
        complexity: Non-negative float, an upper bound of `C`, such as
            `linear_rademacher_complexity`.
        margin: Float, `rho`. If it is not positive, the bound is `inf`.
        num_classes: Integer, `K`, the number of logits.
        delta: Float in (0, 1). Defaults to `0.05`.
        form: One of the above. Defaults to `"empirical"`.
        constant: `"4k"` or `"paper"`. Defaults to `"4k"`.
        chosen_after_training: Whether `margin` was chosen with a view to the sample,
            and has to be paid for. Defaults to `True`.
        complexity_delta: As in `rademacher_bound`.

    Returns:
        `Bound`.

    Raises:
        ValueError: If a number is out of range or NaN.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(10000, 4))
    >>> margins = 10 * abs(x[:, 0])  # By the single logit 10 x_0.
    >>> complexity = gb.bounds.linear_rademacher_complexity(x, radius=10.0)
    >>> bound = margin_bound(
    ...     margins, complexity=complexity, margin=4.0, num_classes=1
    ... )
    >>> round(bound.empirical, 4), round(bound.slack["complexity"], 4)
    (0.3078, 0.1002)

    References:
        - [Koltchinskii and Panchenko, 2002](https://arxiv.org/abs/math/0405343)
        - [Mohri et al., 2018](https://cs.nyu.edu/~mohri/mlbook/), Theorem 9.2.
    """
    check_choice("form", form, ("empirical", "expected"))
    check_choice("constant", constant, ("4k", "paper"))
    check_complexity(complexity, delta, complexity_delta)
    return margin_statement(
        f"Margin bound ({form})",
        margins,
        complexity=complexity,
        exponents=(),
        margin=margin,
        num_classes=num_classes,
        delta=delta,
        form=form,
        constant=constant,
        chosen_after_training=chosen_after_training,
        complexity_delta=complexity_delta,
        assumptions=(
            Assumption("the class of scores was fixed before the sample"),
            Assumption(f"the complexity is {WHOSE[form]} and no estimate from below"),
        ),
        reference=REFERENCE,
    )


def margin_statement(
    name,
    margins,
    *,
    complexity,
    exponents,
    margin,
    num_classes,
    delta,
    form,
    constant,
    chosen_after_training,
    assumptions,
    reference,
    complexity_delta=0.0,
    further=None,
):
    """Returns the bound, with what was chosen after training on its grid.

    Args:
        name: Name of the theorem.
        margins: As in `margin_bound`; so are those that are not named here.
        complexity: The complexity of the scores, at norms that lie on their grid if
            they were chosen after training.
        exponents: Those of the norms on the grid.
        assumptions: Those of the theorem.
        num_classes: `None` for a complexity that is of the margins already.
        reference: Where the theorem is proved.
        further: More slack, by name.
    """
    margins = check_margins(margins)
    factor = 1
    if num_classes is not None:
        factor = _factor(constant, check_positive("num_classes", num_classes))
    if not margin < math.inf:
        raise ValueError(f"`margin` must be finite. Received: margin={margin}")
    paid = delta
    if chosen_after_training:
        # Where it is not positive, nothing is claimed.
        margin, exponent = grid.rounded_down(margin) if margin > 0 else (margin, 0)
        paid = grid.share(delta, exponent, *exponents)
        text = "margin and norms lie on a grid fixed in advance, which is paid for"
        grid_assumption = Assumption(text, "checked")
    else:
        grid_assumption = Assumption("margin and norms were fixed before the sample")
    slack = math.inf
    if margin > 0 and math.isfinite(complexity):
        slack = factor * complexity / margin
    # Not `margins <= margin`, which is false of NaN.
    error = float(np.mean(~(margins > margin)))
    parts = {
        "complexity": slack,
        **({} if further is None else further),
        "confidence": deviation(len(margins), paid, form),
    }
    return Bound(
        name=name,
        value=error + math.fsum(parts.values()),
        empirical=error,
        slack=parts,
        delta=delta + complexity_delta,
        num_samples=len(margins),
        assumptions=(
            IID,
            *assumptions,
            grid_assumption,
            Assumption.of("the margin is positive", margin > 0),
        ),
        reference=reference,
    )


def _factor(constant, num_classes):
    if num_classes == 1:
        return 2
    return 4 * num_classes if constant == "4k" else 2 * num_classes**2


def check_margins(margins):
    """Returns the margins as a vector; refuses any other shape."""
    margins = np.asarray(margins, "float64")
    if margins.ndim != 1 or not margins.size:
        raise ValueError(
            "`margins` must have shape (samples,), with at least one sample. "
            f"Received: margins.shape={margins.shape}"
        )
    return margins
