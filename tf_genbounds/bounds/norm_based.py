"""What bounds by the norms of the weights grow with."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_genbounds.bounds.complexity import Complexity
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_choice

VARIANTS = ("paper", "neyshabur-code")
_CHAIN = Assumption(
    "The network is a chain of layers without biases, with activations of slope at "
    "most 1 that map 0 to 0."
)
_UNPAID = Assumption(
    "Constants, logarithms and what the numbers owe to the sample are left out.",
    "failed",
)


def norm_based_complexities(
    *,
    spectral_norms: Sequence,
    frobenius_norms: Sequence,
    l1_inf_norms: Sequence,
    l21_norms: Sequence,
    num_units: Sequence,
    margin: float,
    distances: Sequence | None = None,
    input_norm: float = 1.0,
    variant: str = "paper",
    num_samples: int | None = None,
    num_inputs: int | None = None,
    num_parameters: Any = None,
    assumptions: Sequence = (),
) -> dict[str, Complexity]:
    """Computes what four norm-based bounds grow with, as in figure 3.

    For the matrices `A^1` to `A^d` of a network and margin `gamma`, in the order
    of the result and as numbers of samples (to be compared with a number of
    parameters; depth, logarithms and constants are left out):

    - `"l1_inf"`: `prod_i ||A^i||_{1,inf}^2 / gamma^2`
    - `"frobenius"`: `prod_i ||A^i||_F^2 / gamma^2`
    - `"spectral_l21"`:
      `prod_i ||A^i||_2^2 sum_i ||A^i||_{2,1}^2 / ||A^i||_2^2 / gamma^2`
    - `"spectral_frobenius"`:
      `prod_i ||A^i||_2^2 sum_i h_i ||A^i||_F^2 / ||A^i||_2^2 / gamma^2`

    each times `input_norm^2`. With `variant="neyshabur-code"` they are what
    published code of one of the authors prints, gaps of the risk up to constants:
    with `alpha = sqrt(d + ln(num_inputs))`, all over `gamma sqrt(m)`,

    - `alpha prod_i ||A^i||_{1,inf}`
    - `alpha prod_i ||A^i||_F`
    - `ln(m) ln(num_parameters) prod_i ||A^i||_2
      (sum_i (||A^i||_{2,1} / ||A^i||_2)^(2/3))^(3/2)`
    - `d prod_i ||A^i||_2 sqrt(sum_i h_i ||A^i||_F^2 / ||A^i||_2^2)`

    where the norms in the last two sums may be of differences from the initial
    weights. That code leaves biases out of `num_parameters`.

    Args:
        spectral_norms: Sequence of `||A^i||_2`, one for each layer.
        frobenius_norms: Sequence of `||A^i||_F`.
        l1_inf_norms: Sequence of `||A^i||_{1,inf}`, the largest sum of absolute
            values of the weights into a unit.
        l21_norms: Sequence of `||A^i||_{2,1}`, the sum over units of the norm of
            the weights into them; or of `||A^i - A_0^i||_{2,1}`.
        num_units: Sequence of `h_i`.
        margin: Float, `gamma`. If it is not positive, the results are `inf`.
        distances: Sequence of `||A^i - A_0^i||_F`, in place of `||A^i||_F` in the
            sum of the last row. Defaults to `frobenius_norms`.
        input_norm: Positive float. Defaults to 1: the inputs play no part.
        variant: `"paper"` or `"neyshabur-code"`.
        num_samples: `m`, of the variant; as are `num_inputs` and `num_parameters`.
        assumptions: More `Assumption`s, to be kept with the results.

    Returns:
        Dict of four `Complexity`s by the names above.

    Raises:
        ValueError: If the sequences differ in length or a number is out of range.

    Example:

    >>> found = norm_based_complexities(
    ...     spectral_norms=[2.0, (1 + 5**0.5) / 2],
    ...     frobenius_norms=[5**0.5, 3**0.5],
    ...     l1_inf_norms=[2.0, 2.0],
    ...     l21_norms=[3.0, 1 + 2**0.5],
    ...     num_units=[2, 2],
    ...     margin=1.0,
    ... )
    >>> [round(c.value, 4) for c in found.values()]
    [16.0, 15.0, 46.876, 50.1803]

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), figure 3.
        - [Neyshabur et al., 2015](https://arxiv.org/abs/1503.00036)
        - [Bartlett et al., 2017](https://arxiv.org/abs/1706.08498)
        - [Neyshabur et al., 2018](https://arxiv.org/abs/1707.09564)
    """
    check_choice("variant", variant, VARIANTS)
    columns = {
        "spectral_norms": spectral_norms,
        "frobenius_norms": frobenius_norms,
        "l1_inf_norms": l1_inf_norms,
        "l21_norms": l21_norms,
        "num_units": num_units,
        "distances": frobenius_norms if distances is None else distances,
    }
    depth = len(spectral_norms)
    spectral, frobenius, l1_inf, l21, units, distances = (
        _column(name, values, depth) for name, values in columns.items()
    )
    if not input_norm > 0:
        raise ValueError(
            f"`input_norm` must be positive. Received: input_norm={input_norm}"
        )
    scale = math.inf
    if margin > 0:  # NaN is not.
        scale = input_norm / margin
    if variant == "paper":
        values = {
            "l1_inf": _product(l1_inf) ** 2,
            "frobenius": _product(frobenius) ** 2,
            "spectral_l21": _sum(spectral, l21, 1, 2),
            "spectral_frobenius": _sum(spectral, distances, units, 2),
        }
        values = {k: v * scale**2 for k, v in values.items()}
        unit = "samples"
    else:
        _check_code(num_samples, num_inputs, num_parameters)
        alpha = math.sqrt(depth + math.log(num_inputs))
        logarithms = math.log(num_samples) * math.log(num_parameters)
        values = {
            "l1_inf": alpha * _product(l1_inf),
            "frobenius": alpha * _product(frobenius),
            "spectral_l21": logarithms * _sum(spectral, l21, 1, 2 / 3) ** 1.5,
            "spectral_frobenius": depth * _sum(spectral, distances, units, 2) ** 0.5,
        }
        values = {k: v * scale / math.sqrt(num_samples) for k, v in values.items()}
        unit = ""
    return {
        key: Complexity(
            name=_ROWS[key][0],
            value=float(value) if not math.isnan(value) else math.inf,
            unit=unit,
            formula=_ROWS[key][VARIANTS.index(variant) + 1],
            reference=_ROWS[key][3],
            assumptions=(_UNPAID, _CHAIN, *assumptions),
        )
        for key, value in values.items()
    }


_ROWS = {
    "l1_inf": (
        "l1,inf norms",
        "prod_i ||A^i||_{1,inf}^2 / gamma^2",
        "sqrt(d + ln(num_inputs)) prod_i ||A^i||_{1,inf} / (gamma sqrt(m))",
        "https://arxiv.org/abs/1503.00036",
    ),
    "frobenius": (
        "Frobenius norms",
        "prod_i ||A^i||_F^2 / gamma^2",
        "sqrt(d + ln(num_inputs)) prod_i ||A^i||_F / (gamma sqrt(m))",
        "https://arxiv.org/abs/1503.00036",
    ),
    "spectral_l21": (
        "spectral and l2,1 norms",
        "prod_i ||A^i||_2^2 sum_i ||A^i||_{2,1}^2 / ||A^i||_2^2 / gamma^2",
        "ln(m) ln(num_parameters) prod_i ||A^i||_2 (sum_i (||A^i||_{2,1} / "
        "||A^i||_2)^(2/3))^(3/2) / (gamma sqrt(m))",
        "https://arxiv.org/abs/1706.08498",
    ),
    "spectral_frobenius": (
        "spectral and Frobenius norms",
        "prod_i ||A^i||_2^2 sum_i h_i ||A^i||_F^2 / ||A^i||_2^2 / gamma^2",
        "d prod_i ||A^i||_2 sqrt(sum_i h_i ||A^i||_F^2 / ||A^i||_2^2) / "
        "(gamma sqrt(m))",
        "https://arxiv.org/abs/1707.09564",
    ),
}


def _product(norms):
    with np.errstate(over="ignore"):
        return float(np.exp(_log(norms).sum()))


def _sum(spectral, norms, weights, power):
    """`prod_i s_i^p sum_i w_i (n_i / s_i)^p`, where an `s_i` may be 0."""
    # Summand `i` has the product of all the others: 0 / 0 does not arise.
    logs = _log(spectral)
    total = 0.0
    with np.errstate(over="ignore"):
        for i, norm in enumerate(norms):
            others = np.delete(logs, i).sum()
            term = np.exp(power * (others + _log(norm)))
            total += np.broadcast_to(weights, norms.shape)[i] * term
    return float(total)


def _log(values):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(values, "float64"))


def _column(name, values, depth):
    values = np.asarray(values, "float64")
    if values.shape != (depth,) or depth == 0 or not (values >= 0).all():
        raise ValueError(
            "There must be one number for each layer in every sequence, not "
            f"negative and not NaN. Received: {depth} spectral norms, "
            f"{name}={values}"
        )
    return values


def _check_code(num_samples, num_inputs, num_parameters):
    for name, value in {
        "num_samples": num_samples,
        "num_inputs": num_inputs,
        "num_parameters": num_parameters,
    }.items():
        if value is None or value < 1:
            raise ValueError(
                f'variant="neyshabur-code" needs `{name}`, a positive number. '
                f"Received: {name}={value}"
            )
