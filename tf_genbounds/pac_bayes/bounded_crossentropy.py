"""`BoundedCrossentropy`: a loss in [0, 1], as PAC-Bayes bounds need it."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tf_genbounds")
class BoundedCrossentropy(keras.losses.Loss):
    """Cross-entropy with probabilities clipped from below, divided by its maximum.

    `-ln(max(p_y, p_min)) / ln(1 / p_min)`, which lies in [0, 1], with `p_y` the
    probability of the label.

    Args:
        from_logits: Whether the predictions are logits, and not probabilities.
            Defaults to `False`.
        p_min: Float in (0, 1). Defaults to `1e-5`.
        reduction: As for `keras.losses.Loss`.
        name: String.
        dtype: As for `keras.losses.Loss`.

    Call arguments:
        y_true: Class indices of shape `(batch,)` or `(batch, 1)`; or one-hot labels of
            the shape of the predictions.
        y_pred: Shape `(batch, classes)`, or `(batch, 1)` for two classes.

    Example:

    >>> loss = BoundedCrossentropy(p_min=0.01)
    >>> print(f"{float(loss(np.array([0, 1]), np.array([[0.1, 0.9], [1.0, 0.0]]))):.4f}")
    0.7500

    References:
        - [Perez-Ortiz et al., 2021](https://jmlr.org/papers/v22/20-879.html)
    """

    def __init__(
        self,
        from_logits: bool = False,
        p_min: float = 1e-5,
        reduction: str = "sum_over_batch_size",
        name: str = "bounded_crossentropy",
        dtype: Any = None,
    ) -> None:
        if not 0 < p_min < 1:
            raise ValueError(f"`p_min` must lie in (0, 1). Received: p_min={p_min}")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = bool(from_logits)
        self.p_min = float(p_min)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.convert_to_tensor(y_true)
        least = math.log(self.p_min)
        logs = ops.maximum(_log_probabilities(y_pred, self.from_logits, least), least)
        classes = logs.shape[-1]
        if y_pred.shape[-1] > 1 and tuple(y_true.shape) == tuple(y_pred.shape):
            target = ops.cast(y_true, logs.dtype)
        else:
            index = ops.cast(ops.reshape(y_true, (-1,)), "int32")
            target = ops.one_hot(index, classes, dtype=logs.dtype)
        return ops.sum(target * logs, axis=-1) / least

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "p_min": self.p_min,
        }


def _log_probabilities(y_pred, from_logits, least):
    """Returns the logarithms, of shape `(batch, classes)`, one output as two."""
    if from_logits and y_pred.shape[-1] == 1:
        return ops.concatenate(
            [ops.log_sigmoid(-y_pred), ops.log_sigmoid(y_pred)], axis=-1
        )
    if from_logits:
        return ops.log_softmax(y_pred)
    if y_pred.shape[-1] == 1:
        y_pred = ops.concatenate([1 - y_pred, y_pred], axis=-1)
    # The logarithm of 0 has an infinite derivative, which times 0 is NaN.
    return ops.log(ops.maximum(y_pred, math.exp(least)))
