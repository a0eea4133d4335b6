"""DARC1 and DARC as Keras losses, around any other loss."""

import functools
import inspect
from typing import Any

import keras
from keras import ops

from tf_genbounds import backend
from tf_genbounds.checks import check_factor
from tf_genbounds.checks import check_positive
from tf_genbounds.checks import check_seed
from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.functional.darc import darc_penalty
from tf_genbounds.functional.darc import rademacher_signs
from tf_genbounds.functional.logits import refuse_probable_predictions
from tf_genbounds.keras_internals import LossFunctionWrapper
from tf_genbounds.keras_internals import get_keras_mask

__all__ = ["DARC", "DARC1"]

# The registered names say "losses.", since `regularizers` has a DARC1 as well
# and Keras would let the one registered last take the place of the other.


class _PenalizedLoss(keras.losses.Loss):
    """A loss plus `factor` times the penalty that a subclass computes."""

    def __init__(self, loss, factor, *, allow_probabilities, name):
        self.factor = check_factor(factor)
        self.allow_probabilities = bool(allow_probabilities)
        self.loss = _loss_on_logits(loss, self.allow_probabilities)
        super().__init__(
            name=name, reduction=self.loss.reduction, dtype=self.loss.dtype
        )

    # Not in `call`, whose result is multiplied by sample and class weights.
    def __call__(self, y_true, y_pred, sample_weight=None):
        value = self.loss(y_true, y_pred, sample_weight)
        if self.factor == 0:
            return value
        if not self.allow_probabilities:
            refuse_probable_predictions(y_pred, type(self).__name__)
        mask = get_keras_mask(y_pred)  # The base loss reads the same one.
        penalty = self.factor * self._penalty(y_pred, mask)
        if self.reduction == "sum":
            # The base loss is a sum over positions: weigh the penalty alike.
            penalty = penalty * _count(y_pred, mask)
        elif self.reduction not in (None, "none"):
            # Gradients of replicas are summed, so Keras has divided as well.
            penalty = penalty / backend.num_replicas()
        return value + ops.cast(penalty, value.dtype)

    def get_config(self):
        return {
            "name": self.name,
            "loss": keras.saving.serialize_keras_object(self.loss),
            "factor": self.factor,
            "allow_probabilities": self.allow_probabilities,
        }

    @classmethod
    def from_config(cls, config):
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**{**config, "loss": loss})


@keras.saving.register_keras_serializable("tf_genbounds", "losses.DARC1")
class DARC1(_PenalizedLoss):
    """Adds the largest mean absolute logit of the batch to a loss.

    For logits `h` of shape `(batch, classes)` the objective is
    `loss + factor * max_k mean_i |h[i, k]|`, whatever the batch size. Sample
    and class weights apply to `loss` alone. In `evaluate` and in `val_loss`
    the penalty is part of the loss as well.

    The reduction is that of `loss`. For `"sum"` the penalty is multiplied by
    the number of positions, so that `factor` keeps its meaning; for `None` it
    is added to each element, so that their mean has it once. Under
    `tf.distribute` each replica takes the maximum over its own part of the
    batch, and these penalties are averaged.

    Positions that the mask of the predictions rules out do not count.

    Args:
        loss: The loss to add to. A name, a Keras function or a class becomes
            a loss with `from_logits=True`, where it has that option. An
            instance or another function is taken as it is.
        factor: Non-negative float, the weight of the penalty: the lambda of
            the paper. With 0 this is `loss`, and nothing is computed.
            Defaults to `0.064`.
        allow_probabilities: Whether the model may end in a softmax or sigmoid.
            The penalty is then that of the probabilities, which bounds
            nothing, and a name or class is built with its own default of
            `from_logits`. Defaults to `False`.
        name: String. Defaults to `"darc1"`.

    Raises:
        ValueError: If `factor` is negative or not finite, if `loss` was told
            `from_logits=False`, or, when called, if the predictions can be
            seen to come from a softmax or sigmoid, also through reshapes, casts
            and averages. In training on JAX this needs a Functional or
            Sequential model; for others a warning says once that nothing can
            be seen.

    Example:

    >>> loss = DARC1("sparse_categorical_crossentropy", factor=0.5)
    >>> logits = np.array([[1.0, -4.0], [-3.0, 0.0]])  # Means: 2, 2.
    >>> base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> labels = np.array([0, 1])
    >>> round(float(loss(labels, logits) - base(labels, logits)), 5)
    1.0

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(
        self,
        loss: Any,
        factor: float = 0.064,
        *,
        allow_probabilities: bool = False,
        name: str = "darc1",
    ) -> None:
        super().__init__(
            loss, factor, allow_probabilities=allow_probabilities, name=name
        )

    def _penalty(self, logits, mask):
        return darc1_penalty(logits, mask)


@keras.saving.register_keras_serializable("tf_genbounds", "losses.DARC")
class DARC(_PenalizedLoss):
    """Adds an estimated Rademacher complexity of the logits to a loss.

    For logits `h` and random signs `xi` the objective is
    `loss + factor * mean_d max_k mean_i xi[d, i] h[i, k]`. Everything that
    `DARC1` says of weights, reductions, masks and replicas holds here too.

    The signs are a hash of `seed` and of the logits, since a loss has no
    random state on JAX: see `functional.darc.rademacher_signs`. They are new
    whenever the weights or the batch are, and `evaluate` repeats itself.

    Args:
        loss: The loss to add to, as for `DARC1`.
        factor: Non-negative float. Defaults to `0.064`.
        num_draws: Positive integer, the number of sign vectors for each batch.
            Defaults to `8`.
        seed: Integer, or `None` to draw one now. Defaults to `None`.
        allow_probabilities: As for `DARC1`. Defaults to `False`.
        name: String. Defaults to `"darc"`.

    Raises:
        ValueError: As `DARC1`, or if `num_draws` is not positive.

    Example:

    >>> loss = DARC("sparse_categorical_crossentropy", factor=0.1, seed=0)

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(
        self,
        loss: Any,
        factor: float = 0.064,
        num_draws: int = 8,
        seed: int | None = None,
        *,
        allow_probabilities: bool = False,
        name: str = "darc",
    ) -> None:
        super().__init__(
            loss, factor, allow_probabilities=allow_probabilities, name=name
        )
        self.num_draws = check_positive("num_draws", num_draws)
        self.seed = check_seed(seed)

    def _penalty(self, logits, mask):
        signs = rademacher_signs(logits, self.num_draws, self.seed)
        return darc_penalty(logits, signs, mask)

    def get_config(self) -> dict:
        draws = {"num_draws": self.num_draws, "seed": self.seed}
        return {**super().get_config(), **draws}


def _loss_on_logits(loss, allow_probabilities):
    """Turns anything that Keras takes for a loss into a `Loss` on logits."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
        if isinstance(loss, keras.losses.Loss):  # "Hinge" rather than "hinge".
            loss = type(loss)
    if inspect.isfunction(loss):
        loss = _classes_by_function().get(loss, loss)
    if inspect.isclass(loss) and issubclass(loss, keras.losses.Loss):
        has_option = "from_logits" in inspect.signature(loss).parameters
        on_logits = has_option and not allow_probabilities
        loss = loss(from_logits=True) if on_logits else loss()
    if not isinstance(loss, keras.losses.Loss):
        if not callable(loss):
            raise TypeError(
                "`loss` must be a name, a function, or a Keras loss. "
                f"Received: loss={loss!r}"
            )
        loss = LossFunctionWrapper(loss)
    if not allow_probabilities and _from_logits(loss) is False:
        raise ValueError(
            "`loss` must take logits, since DARC is about logits: build it "
            "with from_logits=True and leave the softmax or sigmoid out of "
            "the model, or pass allow_probabilities=True if you mean it. "
            f"Received: loss={type(loss).__name__}(from_logits=False)"
        )
    return loss


def _from_logits(loss):
    """What `loss` was told: true, false, or `None` if it has no such option."""
    if hasattr(loss, "from_logits"):
        return loss.from_logits
    return loss.get_config().get("from_logits")


@functools.cache
def _classes_by_function():
    """Which class of `keras.losses` calls which of its functions."""
    classes = filter(inspect.isclass, vars(keras.losses).values())
    losses = [cls() for cls in classes if cls is not keras.losses.Loss]
    return {loss.fn: type(loss) for loss in losses if hasattr(loss, "fn")}


def _count(logits, mask):
    if mask is not None:
        return ops.sum(ops.cast(mask, "float32"))
    shape = ops.shape(logits)[:-1]
    return ops.cast(ops.prod(ops.convert_to_tensor(shape)), "float32")
