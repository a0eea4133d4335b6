"""How far the second moments of a sample are from those of the distribution."""

import dataclasses

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True, eq=False)
class ConcentrationConstants:
    """How far a sample's second moments are from those of the distribution.

    Attributes:
        beta1: At least the largest eigenvalue of
            `E[z z^T] - mean_i z_i z_i^T`. May be negative.
        beta2: At least `||mean_i y_ik z_i - E[y_k z]||` for every output: one
            number for the sup norm, or an array of shape `(outputs,)` for the
            l2 norm.
        beta3: At least `E[y^T y] - mean_i y_i^T y_i`. May be negative.
        mode: `"plug-in"` if a second sample stands for the distribution, which
            estimates the constants, or `"probabilistic"` if they hold with
            probability at least `1 - delta`.
        delta: Failure probability; `None` in plug-in mode.
        num_samples: Size of the sample.
        assumptions: Tuple of `Assumption`.

    Example:

    >>> constants = ConcentrationConstants(
    ...     0.1, 0.2, 0.1, mode="plug-in", delta=None, num_samples=100, assumptions=()
    ... )
    >>> constants.beta2
    0.2
    """

    beta1: float
    beta2: float | np.ndarray
    beta3: float
    mode: str
    num_samples: int
    delta: float | None = None
    assumptions: tuple = ()

    @property
    def norm(self) -> str:
        """The norm of the brackets of `beta2`: `"sup"` or `"l2"`."""
        return "l2" if np.ndim(self.beta2) else "sup"


def gap_decomposition(
    weights: npt.ArrayLike,
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    reference_features: npt.ArrayLike,
    reference_targets: npt.ArrayLike,
) -> dict[str, float]:
    """Splits the gap of the squared loss between two samples, exactly.

    With `E` the mean over the reference sample, and `mean_i` that over the
    sample, the difference of their squared losses is the sum of

    - `"features"`: `sum_k w_k^T (E[z z^T] - mean_i z_i z_i^T) w_k`
    - `"products"`: `2 sum_k (mean_i y_ik z_i - E[y_k z])^T w_k`
    - `"targets"`: `E[y^T y] - mean_i y_i^T y_i`

    Args:
        weights: Float array of shape `(paths, outputs)`, `w_k` in columns.
        features: Float array of shape `(samples, paths)`.
        targets: Float array of shape `(samples, outputs)`, one-hot for classes.
        reference_features: Float array of shape `(references, paths)`.
        reference_targets: Float array of shape `(references, outputs)`.

    Returns:
        Dictionary of three floats. Their sum is the gap.

    Raises:
        ValueError: If the shapes do not fit.

    Example:

    Outputs 1 and 2 for targets 0 and 0: a gap of 4 - 1.

    >>> gap_decomposition([[1.0]], [[1.0]], [[0.0]], [[2.0]], [[0.0]])
    {'features': 3.0, 'products': 0.0, 'targets': 0.0}

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468),
          Proposition 4.
    """
    z, y, z_ref, y_ref = _samples(
        features, targets, reference_features, reference_targets
    )
    weights = np.asarray(weights, "float64")
    if weights.shape != (z.shape[1], y.shape[1]):
        raise ValueError(
            f"`weights` must have shape {(z.shape[1], y.shape[1])}. "
            f"Received: weights.shape={weights.shape}"
        )
    # Means of squared outputs: the moments are never formed.
    squares = np.sum((z_ref @ weights) ** 2) / len(z_ref)
    squares -= np.sum((z @ weights) ** 2) / len(z)
    products = z.T @ y / len(z) - z_ref.T @ y_ref / len(z_ref)
    return {
        "features": float(squares),
        "products": float(2 * np.sum(products * weights)),
        "targets": _target_gap(y, y_ref),
    }


def plug_in_constants(
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    reference_features: npt.ArrayLike,
    reference_targets: npt.ArrayLike,
) -> ConcentrationConstants:
    """Estimates the constants of a data set by a second, independent sample.

    The reference sample stands for the distribution, so the constants are
    estimates, and what follows from them is a `Complexity`.

    Args:
        features: Float array of shape `(samples, paths)`.
        targets: Float array of shape `(samples, outputs)`.
        reference_features: Float array of shape `(references, paths)`.
        reference_targets: Float array of shape `(references, outputs)`.

    Returns:
        `ConcentrationConstants`, with the sup norm in `beta2`. Forms a matrix
        of shape `(paths, paths)`; for more paths use `gram_constants`.

    Raises:
        ValueError: If the shapes do not fit.

    Example:

    >>> plug_in_constants([[1.0]], [[1.0]], [[2.0]], [[1.0]]).beta1
    3.0

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468),
          Definition 3.
    """
    z, y, z_ref, y_ref = _samples(
        features, targets, reference_features, reference_targets
    )
    moments = z_ref.T @ z_ref / len(z_ref) - z.T @ z / len(z)
    products = z.T @ y / len(z) - z_ref.T @ y_ref / len(z_ref)
    return ConcentrationConstants(
        beta1=float(np.linalg.eigvalsh(moments)[-1]),
        beta2=float(np.max(np.abs(products))),
        beta3=_target_gap(y, y_ref),
        mode="plug-in",
        num_samples=len(z),
    )


def gram_constants(
    gram: npt.ArrayLike, targets: npt.ArrayLike, reference_targets: npt.ArrayLike
) -> ConcentrationConstants:
    """Estimates the constants by inner products of path features alone.

    A network has too many paths to list, but `<z(x), z(x')>` is a forward pass.
    With `G` the Gram matrix of both samples, and `D` diagonal with `1 / n` at
    each of the `n` references and `-1 / m` at each of the `m` samples, the
    nonzero eigenvalues of `E[z z^T] - mean_i z_i z_i^T` are those of
    `G^(1/2) D G^(1/2)`, and `beta1 = max(0, lam_max)`.

    The sup norm of `beta2` has no such form. Instead `beta2[k]` is the l2 norm
    `||mean_i y_ik z_i - E[y_k z]||_2 = sqrt(c^T G c)`, an extension of the paper
    that pairs with `||w_k||_2` in place of `||w_k||_1`.

    Args:
        gram: Float array of shape `(references + samples, references +
            samples)`, the references first.
        targets: Float array of shape `(samples, outputs)`.
        reference_targets: Float array of shape `(references, outputs)`.

    Returns:
        `ConcentrationConstants` in plug-in mode, with the l2 norm in `beta2`.

    Raises:
        ValueError: If the shapes do not fit.

    Example:

    >>> gram_constants([[4.0, 2.0], [2.0, 1.0]], [[1.0]], [[1.0]]).beta1
    3.0

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468),
          Definition 3.
    """
    gram = np.asarray(gram, "float64")
    y, y_ref = (
        _matrix("targets", targets),
        _matrix("reference_targets", reference_targets),
    )
    count = len(y) + len(y_ref)
    if gram.shape != (count, count) or y.shape[1] != y_ref.shape[1]:
        raise ValueError(
            f"`gram` must have shape {(count, count)}, one row for each reference "
            "and sample, and both targets as many outputs. Received: "
            f"gram.shape={gram.shape}, targets.shape={y.shape}, "
            f"reference_targets.shape={y_ref.shape}"
        )
    signs = np.repeat([1 / len(y_ref), -1 / len(y)], [len(y_ref), len(y)])
    values, vectors = np.linalg.eigh(gram)
    # `G = R^T R`; round-off makes some of its zeros negative.
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    largest = float(np.linalg.eigvalsh((root * signs) @ root.T)[-1])
    brackets = -signs[:, None] * np.concatenate([y_ref, y])
    squares = np.sum(brackets * (gram @ brackets), axis=0)
    return ConcentrationConstants(
        beta1=max(0.0, largest),
        beta2=np.sqrt(np.maximum(squares, 0.0)),
        beta3=_target_gap(y, y_ref),
        mode="plug-in",
        num_samples=len(y),
    )


def _target_gap(targets, reference_targets):
    return float(
        np.sum(reference_targets**2) / len(reference_targets)
        - np.sum(targets**2) / len(targets)
    )


def _samples(features, targets, reference_features, reference_targets):
    z, y = _matrix("features", features), _matrix("targets", targets)
    z_ref = _matrix("reference_features", reference_features)
    y_ref = _matrix("reference_targets", reference_targets)
    if len(z) != len(y) or len(z_ref) != len(y_ref):
        raise ValueError(
            "Features and targets must have as many rows. Received: "
            f"{len(z)} and {len(y)}, reference {len(z_ref)} and {len(y_ref)}"
        )
    if z.shape[1] != z_ref.shape[1] or y.shape[1] != y_ref.shape[1]:
        raise ValueError(
            "Both samples must have as many columns. Received: features "
            f"{z.shape[1]} and {z_ref.shape[1]}, targets {y.shape[1]} and "
            f"{y_ref.shape[1]}"
        )
    return z, y, z_ref, y_ref


def _matrix(name, values):
    values = np.asarray(values, "float64")
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"`{name}` must be a matrix with at least one row. "
            f"Received: {name}.shape={values.shape}"
        )
    return values
