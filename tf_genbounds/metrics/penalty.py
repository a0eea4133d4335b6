"""The penalty of DARC1 as a metric, since a loss reports one number only."""

from typing import Any

import keras
from keras import ops

from tf_genbounds.checks import check_factor
from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.functional.logits import refuse_probable_predictions
from tf_genbounds.keras_internals import get_keras_mask


@keras.saving.register_keras_serializable(package="tf_genbounds")
class DARC1Penalty(keras.metrics.Mean):
    """Logs the penalty of DARC1, which is part of the loss or not.

    For each batch of logits `h` it is `factor * max_k mean_i |h[i, k]|`; the
    result is the mean over batches, weighted by batch size, as that of `loss`
    is. It is not the penalty of the whole data set, which is smaller unless
    every batch has its maximum at the same class. Sample weights do not enter.

    Use it in `compile(metrics=[...])`. On TensorFlow, positions that the mask
    of the predictions rules out do not count; on JAX Keras hands no mask to
    metrics, and they do.

    Args:
        factor: Non-negative float. Defaults to `1.0`: the bare penalty.
        name: String. Defaults to `"darc1"`.
        dtype: Of the result.

    Raises:
        ValueError: If `factor` is negative or not finite, or, when updated, if
            the predictions can be seen to come from a softmax or sigmoid.

    Example:

    >>> metric = DARC1Penalty()
    >>> metric.update_state(None, np.array([[1.0, -4.0], [-3.0, 0.0]]))
    >>> metric.update_state(None, np.array([[5.0, 0.0]]))
    >>> float(metric.result())  # (2 * 2 + 1 * 5) / 3
    3.0

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(
        self, factor: float = 1.0, name: str = "darc1", dtype: Any = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.factor = check_factor(factor)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        refuse_probable_predictions(y_pred, type(self).__name__)
        penalty = darc1_penalty(y_pred, get_keras_mask(y_pred))
        super().update_state(self.factor * penalty, ops.shape(y_pred)[0])

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": self.factor}
