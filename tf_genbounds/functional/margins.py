"""Margins of classifiers, and the losses that are made of them."""

from typing import Any

from keras import ops


def margins(logits: Any, labels: Any) -> Any:
    """Computes how far each sample is from being misclassified.

    The margin of a sample is `f(x)[y] - max_{j != y} f(x)[j]`. It is positive
    if and only if the sample is classified correctly, without a tie. For a
    single logit `t`, the classes are `(0, t)`, so that the margin is `t` for
    label 1 and `-t` for label 0.

    Args:
        logits: Float tensor of shape `(samples, classes)`. Not probabilities.
        labels: Integer tensor of shape `(samples,)`, with values in
            `[0, classes)`, or in `{0, 1}` for a single logit.

    Returns:
        Float32 tensor of shape `(samples,)`. NaN where the logits are NaN,
        their difference is `inf - inf`, or the label is no class.

    Raises:
        ValueError: If `logits` is not a matrix.

    Example:

    >>> np.asarray(margins([[1.5, 0.0], [1.0, 3.0]], [0, 0])).tolist()
    [1.5, -2.0]

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), section 2.
    """
    logits = ops.cast(ops.convert_to_tensor(logits), "float32")
    if len(logits.shape) != 2:
        raise ValueError(
            "`logits` must have shape (samples, classes). "
            f"Received: logits.shape={tuple(logits.shape)}"
        )
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    if logits.shape[-1] == 1:
        logits = ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
    own = ops.one_hot(labels, logits.shape[-1], dtype="bool")
    score = ops.max(ops.where(own, logits, -float("inf")), axis=-1)
    rival = ops.max(ops.where(own, -float("inf"), logits), axis=-1)
    # `max` may skip a NaN, depending on the backend: put it back.
    broken = ops.any(ops.isnan(logits), axis=-1)
    broken = ops.logical_or(broken, ops.logical_not(ops.any(own, axis=-1)))
    return ops.where(broken, float("nan"), score - rival)


def margin_loss(margins: Any, margin: float = 0.0) -> Any:
    """Computes the fraction of samples whose margin is at most `margin`.

    `L_gamma = mean_i 1[not (margin_i > gamma)]`. At `margin=0` it is the
    classification error, with ties counted as errors. A NaN margin is an error
    at every `margin`.

    Args:
        margins: Float tensor of shape `(samples,)`.
        margin: Float, the `gamma` of the formula. Defaults to `0.0`.

    Returns:
        Float32 scalar tensor in [0, 1]; it does not decrease with `margin`.

    Example:

    >>> float(margin_loss([1.5, 0.5, float("nan"), 0.0]))
    0.5

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), section 2.
    """
    margins = ops.convert_to_tensor(margins)
    above = ops.cast(margins > margin, "float32")
    return 1.0 - ops.mean(above)


def ramp_loss(margins: Any, margin: float) -> Any:
    """Computes the mean of `clip(1 - margin_i / margin, 0, 1)`.

    It lies between the classification error and `margin_loss(margins, margin)`.
    A NaN margin counts as 1.

    Args:
        margins: Float tensor of shape `(samples,)`.
        margin: Positive float, the `rho` of the formula.

    Returns:
        Float32 scalar tensor in [0, 1].

    Raises:
        ValueError: If `margin` is not positive.

    Example:

    >>> float(ramp_loss([2.0, 0.5, -1.0], margin=1.0))
    0.5

    References:
        - [Koltchinskii and Panchenko, 2002](https://arxiv.org/abs/math/0405343)
    """
    if not margin > 0:
        raise ValueError(f"`margin` must be positive. Received: margin={margin}")
    margins = ops.convert_to_tensor(margins)
    ramp = ops.clip(1.0 - margins / margin, 0.0, 1.0)
    return ops.mean(ops.where(ops.isnan(margins), 1.0, ramp))
