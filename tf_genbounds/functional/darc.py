"""The DARC family: penalties on the logits of a batch.

Every form (loss, regularizer, layer, metric) calls the functions below, so
that the same logits always give the same number.
"""

from typing import Any

from keras import ops

from tf_genbounds.functional.random import mix
from tf_genbounds.functional.random import uint32


def darc1_penalty(logits: Any, mask: Any = None) -> Any:
    """Computes the largest mean absolute logit of a batch.

    For logits `h` and the `m` unmasked positions `i` this is
    `max_k (1/m) sum_i |h[i, k]|`. Only the logit `k` that attains the maximum
    has a gradient; at a tie it is split equally. An empty or fully masked
    batch gives 0.

    Args:
        logits: Float tensor of shape `(batch, classes)`, or
            `(batch, ..., classes)`, where time or space counts as batch.
            Outputs of a softmax or sigmoid are not logits.
        mask: Boolean tensor of shape `logits.shape[:-1]`, true at the
            positions that count, or `None` where all do.

    Returns:
        Scalar tensor, float32 whatever the dtype of `logits`, since a float16
        sum would overflow.

    Raises:
        ValueError: If `logits` has fewer than two dimensions, or `mask` does
            not have exactly one less than `logits`.

    Example:

    >>> h = np.array([[1.0, -2.0, 0.5], [-3.0, 1.0, 0.0], [2.0, 2.0, -4.0]])
    >>> float(darc1_penalty(h))
    2.0
    >>> float(darc1_penalty(h, mask=np.array([True, False, True])))
    2.25

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """
    rows, count = _rows(logits, mask)
    return ops.max(ops.sum(ops.abs(rows), axis=0)) / count


def darc_penalty(logits: Any, signs: Any, mask: Any = None) -> Any:
    """Averages the largest signed mean of the logits over draws of signs.

    For logits `h`, signs `xi` and the `m` unmasked positions `i` this is
    `mean_d max_k (1/m) sum_i xi[d, i] h[i, k]`. Over random signs it estimates
    the empirical Rademacher complexity of the last layer with its weights
    fixed; it is never above `darc1_penalty`.

    Args:
        logits: Float tensor of shape `(batch, ..., classes)`, as for
            `darc1_penalty`. With one class the expectation is 0.
        signs: Tensor of -1 and 1 of shape `(draws, positions)`, where
            `positions` is the product of `logits.shape[:-1]`.
        mask: Boolean tensor of shape `logits.shape[:-1]`, or `None`.

    Returns:
        Scalar float32 tensor.

    Raises:
        ValueError: As `darc1_penalty`.

    Example:

    >>> h = np.array([[1.0, -2.0, 0.5], [-3.0, 1.0, 0.0], [2.0, 2.0, -4.0]])
    >>> float(darc_penalty(h, [[1, -1, 1], [-1, 1, -1]]))  # (6 + 3.5) / 2 / 3
    1.5833333730697632

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """
    rows, count = _rows(logits, mask)
    signed_sums = ops.matmul(ops.cast(signs, "float32"), rows)
    return ops.mean(ops.max(signed_sums, axis=-1)) / count


def rademacher_signs(logits, num_draws, seed=0):
    """Draws Rademacher signs for `darc_penalty`, from a seed and the logits.

    Keras keeps no random state for a loss or a regularizer on JAX: inside a
    compiled step it would draw the same signs for ever. The signs are
    therefore a hash of `seed` and of the bits of the batch of logits. They
    change whenever the weights or the batch do, need no state, and are the
    same on every backend and device for the same bits.

    Args:
        logits: Float tensor of shape `(batch, ..., classes)`.
        num_draws: Positive integer.
        seed: Integer; its lowest 32 bits are used.

    Returns:
        Float32 tensor of -1 and 1, of shape `(num_draws, positions)`, where
        `positions` is the product of `logits.shape[:-1]`.

    Example:

    >>> signs = rademacher_signs(np.ones((5, 3)), num_draws=2, seed=1)
    >>> tuple(signs.shape)
    (2, 5)
    """
    rows, _ = _rows(logits)
    # The sum of bit patterns wraps around, so that its order is of no matter.
    data = mix(ops.sum(ops.view(rows, "uint32")))
    shape = (num_draws, ops.shape(rows)[0])
    counter = ops.cast(ops.arange(shape[0] * shape[1], dtype="int32"), "uint32")
    bits = mix(ops.bitwise_xor(mix(counter + uint32(seed)), data))
    top_bit = ops.cast(ops.right_shift(bits, uint32(31)), "float32")
    return ops.reshape(1.0 - 2.0 * top_bit, shape)


def _rows(logits, mask=None):
    """Float32 logits of shape `(positions, classes)`, and how many count."""
    logits = ops.convert_to_tensor(logits)
    if len(logits.shape) < 2:
        raise ValueError(
            "`logits` must have at least two dimensions, the last for the "
            f"classes. Received: logits.shape={tuple(logits.shape)}"
        )
    rows = ops.cast(logits, "float32")
    if len(logits.shape) > 2:
        rows = ops.reshape(rows, (-1, logits.shape[-1]))
    if mask is None:
        count = ops.cast(ops.shape(rows)[0], "float32")
    else:
        mask = ops.cast(mask, "bool")
        if len(mask.shape) != len(logits.shape) - 1:
            raise ValueError(
                "`mask` must have the shape of `logits` without its last "
                f"dimension, {tuple(logits.shape[:-1])}. "
                f"Received: mask.shape={tuple(mask.shape)}"
            )
        mask = ops.reshape(mask, (-1, 1))
        # Not a product: a padded position may hold NaN.
        rows = ops.where(mask, rows, 0.0)
        count = ops.sum(ops.cast(mask, "float32"))
    return rows, ops.maximum(count, 1.0)
