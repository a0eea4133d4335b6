"""The gap of a network that is linear in its path weights, by its data set.

With path features `z(x)` and path weights `w_k` the outputs are
`h_k(x) = z(x)^T w_k`, and the gap of the squared loss `||h(x) - y||**2` splits
into what the data set determines and the weights that training reached.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.complexity import Complexity
from tf_genbounds.bounds.concentrated_data import ConcentrationConstants
from tf_genbounds.bounds.concentration import IID
from tf_genbounds.bounds.concentration import bernstein_slack
from tf_genbounds.bounds.concentration import matrix_bernstein_slack
from tf_genbounds.bounds.data_independent import GATES
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_delta

REFERENCE = "https://arxiv.org/abs/1710.05468, Definition 3 and Proposition 4"


def certified_ranges(feature_norm: float, feature_maximum: float) -> dict:
    """Returns what Bernstein's inequalities need to know of path features.

    If `||z(x)||_2 <= B` and `||z(x)||_inf <= b` for every possible input, and
    the targets are one-hot, then `E[z z^T] - z z^T` has no eigenvalue above
    `B**2`, and its square a mean of norm at most `B**4`; the entries of
    `y_k z - E[y_k z]` are at most `2 b`, with variance at most `b**2`.

    Args:
        feature_norm: Non-negative float, `B`; see `certified_feature_norm`. A
            maximum over a sample is not legal.
        feature_maximum: Non-negative float, `b`: for ReLU gates the largest
            magnitude of an entry of any input (3 for entries in [-3, 1]), or,
            where that is less, 1 if there are biases and the largest cap of a
            capped unit.

    Returns:
        Dictionary of the arguments `features` and `products` of
        `probabilistic_constants`.

    Example:

    >>> certified_ranges(2.0, 1.0)
    {'features': (4.0, 16.0), 'products': (2.0, 1.0)}

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """
    for name, value in {
        "feature_norm": feature_norm,
        "feature_maximum": feature_maximum,
    }.items():
        if not value >= 0:
            raise ValueError(f"`{name}` must not be negative. Received: {name}={value}")
    return {
        "features": (feature_norm**2, feature_norm**4),
        "products": (2 * feature_maximum, feature_maximum**2),
    }


def probabilistic_constants(
    *,
    num_samples: int,
    num_outputs: int,
    log_num_paths: float,
    features: Any,
    products: Any,
    targets: Any = None,
    shared_features: bool = True,
    delta: float = 0.05,
    form: str = "exact_root",
) -> ConcentrationConstants:
    """Computes constants that hold with probability at least `1 - delta`.

    By Bernstein's inequalities, of matrices for `beta1`, and with a union over
    both signs of all entries for `beta2`. With `L` the logarithm in question,

    `beta = C L / (3 m) + sqrt((C L / (3 m))**2 + 2 g2 L / m)`

    - for `beta1`: `L = ln(3 d_z / delta)`, `C >= lam_max(E[z z^T] - z z^T)`,
      `g2 >= ||E (E[z z^T] - z z^T)**2||_2`
    - for `beta2`: `L = ln(6 d_y d_z / delta)`,
      `C >= ||y_k z - E[y_k z]||_inf`, and `g2` at least its entries' variances
    - for `beta3`: `L = ln(3 / delta)`, `C >= E[y^T y] - y^T y`, `g2` its
      variance. For one-hot targets it is 0, and 3 and 6 become 2 and 4.

    Outputs that have path features of their own, as those of two layers behind
    `Concatenate`, need `beta1` for each: then its `L` is `ln(3 d_y d_z / delta)`.

    `form="standard"` has `2 C L / (3 m) + sqrt(2 g2 L / m)`, as in the paper.

    Args:
        num_samples: Integer, `m`, the examples of the second phase only.
        num_outputs: Integer, `d_y`.
        log_num_paths: Float, `ln d_z`, the logarithm of the number of paths to
            an output.
        features: Pair of non-negative floats `(C, g2)` for `beta1`, of the
            distribution; see `certified_ranges`. What was seen on a sample is
            not legal.
        products: The same for `beta2`.
        targets: The same for `beta3`, or `None` for one-hot targets.
        shared_features: Boolean, whether all outputs have the same path features,
            as the units of one last layer have.
        delta: Float in (0, 1). Defaults to `0.05`.
        form: `"exact_root"` or `"standard"`. Defaults to `"exact_root"`.

    Returns:
        `ConcentrationConstants` in probabilistic mode.

    Raises:
        ValueError: If a number is out of range.

    Example:

    >>> constants = probabilistic_constants(
    ...     num_samples=10000, num_outputs=10, log_num_paths=np.log(1000),
    ...     features=(1.0, 1.0), products=(2.0, 1.0), targets=(1.0, 1.0),
    ...     delta=0.1, form="standard",
    ... )
    >>> round(constants.beta1, 8)
    0.04609421

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468), the
          probabilistic bound for two-phase training.
        - [Tropp, 2012](https://arxiv.org/abs/1004.4389), Theorem 1.4.
    """
    check_delta(delta)
    if not num_outputs >= 1:
        raise ValueError(
            "`num_outputs` must be a positive integer. "
            f"Received: num_outputs={num_outputs}"
        )
    share = delta / (2 if targets is None else 3)
    shared = bool(shared_features) or num_outputs == 1

    def deviation(pair, log_count):
        return bernstein_slack(
            num_samples,
            share,
            largest=pair[0],
            variance=pair[1],
            log_count=log_count,
            form=form,
        )

    beta1 = matrix_bernstein_slack(
        num_samples,
        share,
        largest=features[0],
        variance=features[1],
        log_dimension=log_num_paths + (0.0 if shared else math.log(num_outputs)),
        form=form,
    )
    return ConcentrationConstants(
        beta1=beta1,
        beta2=deviation(products, math.log(2 * num_outputs) + log_num_paths),
        beta3=0.0 if targets is None else deviation(targets, 0.0),
        mode="probabilistic",
        num_samples=num_samples,
        delta=delta,
        assumptions=(
            IID,
            *GATES,
            *([Assumption("all outputs have the same path features")] * shared),
            Assumption(
                "the ranges of features and products hold for every possible input"
            ),
            Assumption(
                "the targets are one-hot"
                if targets is None
                else "the range of the targets holds for every possible one"
            ),
        ),
    )


def data_dependent_bound(
    train_loss: float,
    *,
    constants: Any,
    weights_l2: npt.ArrayLike,
    weights_l1: npt.ArrayLike | None = None,
) -> Bound | Complexity:
    """Bounds the squared risk by the constants of the data set.

    `R <= Rhat + beta1 sum_k ||w_k||_2**2 + 2 beta2 sum_k ||w_k||_1 + beta3` for
    the loss `||h(x) - y||**2` and for all weights at once, so that the training
    algorithm enters only by the weights it reached. With constants in the l2
    norm the third term is `2 sum_k beta2[k] ||w_k||_2`.

    It does not apply to a softmax and cross-entropy: `h` is linear in `w`.

    Args:
        train_loss: Non-negative float, `Rhat`, the mean squared loss on the
            sample of the constants, summed over the outputs.
        constants: `ConcentrationConstants`.
        weights_l2: Float array of shape `(outputs,)`, `||w_k||_2`.
        weights_l1: Float array of shape `(outputs,)`, `||w_k||_1`; needed
            unless the constants are in the l2 norm.

    Returns:
        `Bound` on the squared loss for probabilistic constants, `Complexity`
        for plug-in ones.

    Raises:
        ValueError: If a norm is missing or negative, or the shapes differ.

    Example:

    >>> constants = gb.bounds.plug_in_constants([[1.0]], [[1.0]], [[2.0]], [[1.0]])
    >>> print(data_dependent_bound(
    ...     0.0, constants=constants, weights_l2=[1.0], weights_l1=[1.0]
    ... ))
    Data-dependent gap of path weights, plug-in: 5, a complexity measure, not a
    bound.

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468),
          Proposition 4.
    """
    if not train_loss >= 0:
        raise ValueError(
            f"`train_loss` must not be negative. Received: train_loss={train_loss}"
        )
    check_choice("constants.mode", constants.mode, ("plug-in", "probabilistic"))
    l2 = _norms("weights_l2", weights_l2)
    if constants.norm == "l2":
        beta2 = np.asarray(constants.beta2, "float64")
        if beta2.shape != l2.shape:
            raise ValueError(
                "`weights_l2` must have one norm for each output of the "
                f"constants, {len(beta2)}. Received: weights_l2={weights_l2}"
            )
        products = float(2 * np.sum(beta2 * l2))
    else:
        l1 = _norms("weights_l1", weights_l1)
        if len(l1) != len(l2) or np.any(l1 < l2 * (1 - 1e-6)):
            raise ValueError(
                "`weights_l1` must be at least `weights_l2`, for each output. "
                f"Received: weights_l1={weights_l1}, weights_l2={weights_l2}"
            )
        products = float(2 * constants.beta2 * np.sum(l1))
    slack = {
        "features": float(constants.beta1 * np.sum(l2**2)),
        "products": products,
        "targets": float(constants.beta3),
    }
    name = "path weights" + (", l2 extension" if constants.norm == "l2" else "")
    value = float(train_loss + math.fsum(slack.values()))
    if constants.mode == "plug-in":
        return Complexity(
            name=f"Data-dependent gap of {name}, plug-in",
            value=value - float(train_loss),
            unit="",
            formula="beta1 sum_k ||w_k||_2^2 + "
            + (
                "2 sum_k beta2_k ||w_k||_2 + beta3"
                if constants.norm == "l2"
                else "2 beta2 sum_k ||w_k||_1 + beta3"
            ),
            assumptions=(
                Assumption("the reference sample stands for the distribution"),
            ),
            reference=REFERENCE,
            terms={"train_loss": float(train_loss), **slack},
        )
    return Bound(
        name=f"Data-dependent bound of {name}",
        value=value,
        empirical=float(train_loss),
        slack=slack,
        delta=constants.delta,
        num_samples=constants.num_samples,
        assumptions=constants.assumptions,
        reference=REFERENCE,
        quantity="the squared loss",
        trivial=math.inf,
    )


def _norms(name, values):
    norms = np.array(values, dtype="float64")
    if norms.ndim != 1 or not np.all(norms >= 0):
        raise ValueError(
            f"`{name}` must hold a non-negative norm for each output. "
            f"Received: {name}={values}"
        )
    return norms
