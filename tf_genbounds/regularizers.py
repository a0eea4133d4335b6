"""DARC1 and DARC as activity regularizers of the layer that gives the logits."""

from typing import Any

import keras
from keras import ops

from tf_genbounds.checks import check_factor
from tf_genbounds.checks import check_positive
from tf_genbounds.checks import check_seed
from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.functional.darc import darc_penalty
from tf_genbounds.functional.darc import rademacher_signs
from tf_genbounds.functional.logits import refuse_probabilities
from tf_genbounds.functional.logits import warn_if_hidden

__all__ = ["DARC", "DARC1"]


@keras.saving.register_keras_serializable("tf_genbounds", "regularizers.DARC1")
class DARC1(keras.regularizers.Regularizer):
    """Penalizes the largest mean absolute logit of a batch.

    For logits `h` of shape `(batch, classes)` the layer's loss is
    `factor * max_k mean_i |h[i, k]|`, whatever the batch size. Use it as the
    `activity_regularizer` of the last layer, without a softmax. The penalty is
    part of `loss` in `fit`, and of `val_loss` and `evaluate` too.

    In outputs of shape `(batch, ..., classes)` every position counts: a
    regularizer does not see the mask. `layers.DARC1Regularization` does.

    Args:
        factor: Non-negative float, the weight of the penalty: the lambda of
            the paper. Defaults to `0.064`.

    Raises:
        ValueError: If `factor` is negative or not finite, or, when called, if
            the output can be seen to come from a softmax or sigmoid. Inside a
            compiled function of JAX it cannot be seen, and a warning says so
            once.

    Example:

    >>> x = np.array([[1.0, -4.0], [-3.0, 0.0]])  # Means: 2, 2.
    >>> layer = keras.layers.Dense(
    ...     2, kernel_initializer="identity", activity_regularizer=DARC1(0.5)
    ... )
    >>> y = layer(x)
    >>> float(layer.losses[0])
    1.0

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(self, factor: float = 0.064) -> None:
        self.factor = check_factor(factor)

    def __call__(self, x: Any) -> Any:
        if self.factor == 0:
            return ops.zeros((), "float32")
        refuse_probabilities(x, type(self).__name__)
        warn_if_hidden(x, type(self).__name__)
        # Keras >= 3.14 divides activity penalties by the batch size. The
        # penalty is a batch mean already, so multiply it back here.
        batch_size = ops.cast(ops.shape(x)[0], "float32")
        return self.factor * batch_size * self._penalty(x)

    def _penalty(self, logits):
        return darc1_penalty(logits)

    def get_config(self) -> dict:
        return {"factor": self.factor}


@keras.saving.register_keras_serializable("tf_genbounds", "regularizers.DARC")
class DARC(DARC1):
    """Penalizes an estimated Rademacher complexity of the logits.

    For logits `h` and random signs `xi` the layer's loss is
    `factor * mean_d max_k mean_i xi[d, i] h[i, k]`, whatever the batch size.
    Otherwise it is used as `DARC1`. The signs are a hash of `seed` and of the
    logits: see `functional.darc.rademacher_signs`.

    Args:
        factor: Non-negative float. Defaults to `0.064`.
        num_draws: Positive integer, the number of sign vectors for each batch.
            Defaults to `8`.
        seed: Integer, or `None` to draw one now. Defaults to `None`.

    Raises:
        ValueError: As `DARC1`, or if `num_draws` is not positive.

    Example:

    >>> layer = keras.layers.Dense(10, activity_regularizer=DARC(0.1, seed=0))

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(
        self, factor: float = 0.064, num_draws: int = 8, seed: int | None = None
    ) -> None:
        super().__init__(factor)
        self.num_draws = check_positive("num_draws", num_draws)
        self.seed = check_seed(seed)

    def _penalty(self, logits):
        signs = rademacher_signs(logits, self.num_draws, self.seed)
        return darc_penalty(logits, signs)

    def get_config(self) -> dict:
        draws = {"num_draws": self.num_draws, "seed": self.seed}
        return {**super().get_config(), **draws}
