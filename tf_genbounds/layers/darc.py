"""DARC1 and DARC as identity layers: the forms that see masks."""

from typing import Any

import keras

from tf_genbounds.checks import check_factor
from tf_genbounds.checks import check_positive
from tf_genbounds.checks import check_seed
from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.functional.darc import darc_penalty
from tf_genbounds.functional.darc import rademacher_signs
from tf_genbounds.functional.logits import refuse_probabilities
from tf_genbounds.functional.logits import warn_if_hidden

__all__ = ["DARC1Regularization", "DARCRegularization"]


@keras.saving.register_keras_serializable(package="tf_genbounds")
class DARC1Regularization(keras.layers.Layer):
    """Returns its input, and penalizes its largest mean absolute logit.

    For logits `h` and the unmasked positions `i` the layer adds the loss
    `factor * max_k mean_i |h[i, k]|`. Put it after the layer that gives the
    logits. As with Keras' activity regularizers, the penalty is part of `loss`
    in `fit`, and of `val_loss` and `evaluate` too.

    Args:
        factor: Non-negative float, the weight of the penalty: the lambda of
            the paper. Defaults to `0.064`.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of shape `(batch, ..., classes)`.
        mask: Boolean tensor of shape `inputs.shape[:-1]`, or `None`.

    Raises:
        ValueError: If `factor` is negative or not finite, or, when called, if
            the input can be seen to come from a softmax or sigmoid. In
            Functional and Sequential models this is when the model is built.
            Elsewhere on JAX it cannot be seen, and a warning says so once.

    Example:

    >>> layer = DARC1Regularization(0.5)
    >>> y = layer(np.array([[1.0, -4.0], [-3.0, 0.0]]))  # Means: 2, 2.
    >>> float(layer.losses[0])
    1.0

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(self, factor: float = 0.064, **kwargs: Any) -> None:
        # Under a mixed policy the logits are often float32 on purpose: do not
        # cast them to the policy's dtype on the way through.
        super().__init__(autocast=False, **kwargs)
        self.factor = check_factor(factor)
        self.supports_masking = True
        self._was_symbolic = False
        self._build_at_init()

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
        refuse_probabilities(inputs, type(self).__name__)
        self._was_symbolic = True
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if self.factor > 0:
            refuse_probabilities(inputs, type(self).__name__)
            if not self._was_symbolic:
                warn_if_hidden(inputs, type(self).__name__)
            self.add_loss(self.factor * self._penalty(inputs, mask))
        return inputs

    def _penalty(self, logits, mask):
        return darc1_penalty(logits, mask)

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="tf_genbounds")
class DARCRegularization(DARC1Regularization):
    """Returns its input, and penalizes its estimated Rademacher complexity.

    For logits `h`, random signs `xi` and the unmasked positions `i` the layer
    adds the loss `factor * mean_d max_k mean_i xi[d, i] h[i, k]`. Otherwise it
    is used as `DARC1Regularization`. The signs are a hash of `seed` and of the
    logits: see `functional.darc.rademacher_signs`.

    Args:
        factor: Non-negative float. Defaults to `0.064`.
        num_draws: Positive integer, the number of sign vectors for each batch.
            Defaults to `8`.
        seed: Integer, or `None` to draw one now. Defaults to `None`.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of shape `(batch, ..., classes)`.
        mask: Boolean tensor of shape `inputs.shape[:-1]`, or `None`.

    Raises:
        ValueError: As `DARC1Regularization`, or if `num_draws` is not positive.

    Example:

    >>> layer = DARCRegularization(0.1, num_draws=4, seed=0)

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(
        self,
        factor: float = 0.064,
        num_draws: int = 8,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(factor, **kwargs)
        self.num_draws = check_positive("num_draws", num_draws)
        self.seed = check_seed(seed)

    def _penalty(self, logits, mask):
        signs = rademacher_signs(logits, self.num_draws, self.seed)
        return darc_penalty(logits, signs, mask)

    def get_config(self) -> dict:
        draws = {"num_draws": self.num_draws, "seed": self.seed}
        return {**super().get_config(), **draws}
