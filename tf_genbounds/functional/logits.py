"""Whether what should be logits are: refusals by whoever needs them."""

import functools
import warnings

from tf_genbounds.functional.calling_model import calling_model
from tf_genbounds.functional.probabilities import probabilities_behind
from tf_genbounds.keras_internals import is_in_jax_tracing_scope


def refuse_probabilities(x, owner, verb="penalizes"):
    """Raises if `x` can be seen to come from a softmax or a sigmoid.

    Keras marks such outputs in TensorFlow, and in JAX outside compiled
    functions; a symbolic tensor and one of a TensorFlow graph know what they
    were made of, see `probabilities.probabilities_behind`.

    Args:
        x: A tensor, or a symbolic `KerasTensor`.
        owner: String, who refuses, for the message.
        verb: String, what the owner does with logits.

    Raises:
        ValueError: If `x` holds probabilities or their logarithms.

    Example:

    >>> refuse_probabilities(keras.Input((3,)), "DARC1")
    """
    _refuse(probabilities_behind(x), owner, verb)


def refuse_probable_predictions(y_pred, owner, verb="penalizes"):
    """The same for predictions that Keras hands to a loss or a metric.

    Where they cannot be seen into, the outputs of the model that is being trained
    or evaluated are looked at: a Functional or Sequential model shows what they are
    on every backend. For other models of JAX a warning says once that nothing can
    be seen.

    Raises:
        ValueError: If `y_pred` holds probabilities or their logarithms.

    Example:

    >>> refuse_probable_predictions(np.zeros((2, 3)), "DARC1")
    """
    refuse_probabilities(y_pred, owner, verb)
    if hasattr(y_pred, "op"):
        return
    outputs = getattr(calling_model(), "outputs", None)
    if not outputs:
        warn_if_hidden(y_pred, owner)
        return
    # Of several outputs any of the same shape may be meant.
    names = [probabilities_behind(t) for t in outputs if _may_be(t, y_pred)]
    if names and all(names):
        _refuse(names[0], owner, verb)


def _may_be(output, y_pred):
    """Whether predictions have the shape of an output, batch size aside."""
    return len(output.shape) == len(y_pred.shape) and all(
        None in sizes or len(set(sizes)) == 1
        for sizes in zip(output.shape[1:], y_pred.shape[1:], strict=True)
    )


def _refuse(name, owner, verb):
    if name is not None:
        raise ValueError(
            f"{owner} {verb} logits: remove the activation of the last "
            "layer, and train with a loss that has from_logits=True. "
            f"Received: activation={name}"
        )


def warn_if_hidden(x, owner):
    """Warns once for each `owner` if the source of `x` cannot be seen.

    This is so in compiled functions of JAX, where a tensor knows neither the
    operation that made it nor its values.

    Example:

    >>> warn_if_hidden(np.zeros((2, 3)), "DARC1")
    """
    if is_in_jax_tracing_scope(x):
        _warn_hidden(owner)


@functools.cache
def _warn_hidden(owner):
    warnings.warn(
        f"On JAX {owner} cannot see whether its input went through a softmax "
        "or sigmoid. It must be logits. The layers DARC1Regularization and "
        "DARCRegularization, in a Functional or Sequential model, can see it.",
        stacklevel=4,
    )
