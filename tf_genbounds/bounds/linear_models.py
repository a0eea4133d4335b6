"""Linear models that fit anything, and whose norms say nothing.

With more features than examples every labelling is fitted exactly; and adding a
multiple of a null vector changes no prediction, on training and test data
alike, while the norm of the weights and their distance to any other weights
grow without limit. So neither fitting random labels nor a large norm implies
a large gap.
"""

import numpy as np
import numpy.typing as npt
from scipy import linalg


def minimum_norm_interpolant(
    features: npt.ArrayLike, targets: npt.ArrayLike
) -> np.ndarray:
    """Computes the shortest weights that fit the targets exactly.

    `w = X^T (X X^T)^-1 Y`, for features `X` of full row rank.

    Args:
        features: Float array of shape `(samples, features)`, `X`.
        targets: Float array of shape `(samples,)` or `(samples, outputs)`, `Y`.

    Returns:
        Float64 array of shape `(features,)` or `(features, outputs)`.

    Raises:
        ValueError: If the rows of `features` are linearly dependent, so that
            some targets cannot be fitted.

    Example:

    >>> minimum_norm_interpolant([[1.0, 1.0]], [2.0])
    array([1., 1.])

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468), the
          theorem on over-parameterized linear models.
    """
    features = _matrix(features)
    targets = np.asarray(targets, "float64")
    if targets.shape[:1] != features.shape[:1] or targets.ndim > 2:
        raise ValueError(
            "`targets` must have one row for each row of `features`. "
            f"Received: targets.shape={targets.shape}, "
            f"features.shape={features.shape}"
        )
    # Through the singular values, which `X X^T` would square.
    weights, _, rank, _ = np.linalg.lstsq(features, targets)
    if rank < len(features):
        raise ValueError(
            "The rows of `features` must be linearly independent. "
            f"Received: features.shape={features.shape} of rank {rank}"
        )
    return weights


def null_direction(
    train_features: npt.ArrayLike, test_features: npt.ArrayLike
) -> np.ndarray:
    """Computes a direction in which weights move without any effect.

    A unit vector `v` with `X v = 0` and `X_test v = 0`: the predictions of
    `w + t v` are those of `w`, for every `t`.

    Args:
        train_features: Float array of shape `(samples, features)`, `X`.
        test_features: Float array of shape `(test samples, features)`.

    Returns:
        Float64 array of shape `(features,)`, up to its sign.

    Raises:
        ValueError: If all the rows together have full column rank: then only 0
            has no effect.

    Example:

    >>> np.abs(null_direction([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]))
    array([0., 0., 1.])

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468), the
          theorem on over-parameterized linear models.
    """
    train, test = _matrix(train_features), _matrix(test_features)
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            "Train and test must have as many features. Received: "
            f"{train.shape[1]} and {test.shape[1]}"
        )
    basis = linalg.null_space(np.concatenate([train, test]))
    if not basis.shape[1]:
        raise ValueError(
            "No direction is without effect: train and test features together "
            f"have full column rank. Received: {len(train)} and {len(test)} rows "
            f"of {train.shape[1]} features"
        )
    return basis[:, 0]


def _matrix(features):
    features = np.asarray(features, "float64")
    if features.ndim != 2 or not features.size:
        raise ValueError(
            "Features must have shape (samples, features). "
            f"Received: features.shape={features.shape}"
        )
    return features
