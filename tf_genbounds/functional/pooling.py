"""Pooling as an operation on slices: the same values, exact derivatives."""

import functools
import itertools

import keras
from keras import ops

_LAYERS = (
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
)


def is_max_pooling(operation):
    """Whether an operation is a max pooling layer or `keras.ops.max_pool`."""
    # The class of the operation is not public.
    return isinstance(operation, _LAYERS) or (
        type(operation).__module__.startswith("keras.")
        and type(operation).__name__ == "MaxPool"
    )


def options(operation, rank):
    """Returns what a pooling operation does to tensors of `rank` axes.

    Returns:
        Dict of `pool_size` and `strides`, a tuple each, `padding` and
        `data_format`.
    """
    spatial = rank - 2
    pool_size = _per_axis(operation.pool_size, spatial)
    return {
        "pool_size": pool_size,
        "strides": _per_axis(operation.strides or pool_size, spatial),
        "padding": operation.padding,
        "data_format": operation.data_format or keras.config.image_data_format(),
    }


def max_pool(operation, x):
    """Computes what a max pooling operation does, as a maximum of slices."""
    return functools.reduce(ops.maximum, slices(operation, x, -float("inf")))


def slices(operation, x, fill):
    """Yields, in row-major order, the units of all windows at each offset.

    Args:
        operation: A pooling operation.
        x: Tensor with known spatial sizes.
        fill: Float, what padding holds.
    """
    windows = _windows(operation, x.shape)
    rank, axes = len(x.shape), [axis for axis, *_ in windows]
    padding, shape = [(0, 0)] * rank, [-1, *x.shape[1:]]
    reached = [slice(None)] * rank
    # One axis of length `stride` for each spatial axis goes to the front. Taken
    # apart like this once, the slices are contiguous: a slice with a stride is
    # ten times slower in TensorFlow's graph mode.
    for axis, size, stride, (before, _), count in windows:
        length = -(-((count - 1) * stride + size) // stride) * stride
        after = length - before - x.shape[axis]
        padding[axis] = before, max(after, 0)
        shape[axis] = length // stride, stride
        reached[axis] = slice(0, length - before)
    x = x[tuple(reached)]
    if any(map(any, padding)):
        x = ops.pad(x, padding, constant_values=fill)
    x = ops.reshape(x, keras.tree.flatten(shape))
    front = [axis + 1 + i for i, axis in enumerate(axes)]
    x = ops.moveaxis(x, front, list(range(len(front))))
    strides = [stride for _, _, stride, _, _ in windows]
    for offsets in itertools.product(*(range(size) for _, size, *_ in windows)):
        index = [slice(None)] * rank
        for offset, (axis, _, stride, _, count) in zip(offsets, windows, strict=True):
            first = offset // stride
            index[axis] = slice(first, first + count)
        phase = tuple(o % s for o, s in zip(offsets, strides, strict=True))
        yield x[(*phase, *index)]


def padded(operation, x, fill):
    """Returns `x` with the padding of a pooling operation around it."""
    if operation.padding == "valid" or not is_padded(operation, x.shape):
        return x
    padding = [(0, 0)] * len(x.shape)
    for axis, _, _, around, _ in _windows(operation, x.shape):
        padding[axis] = around
    return ops.pad(x, padding, constant_values=fill)


def is_padded(operation, shape):
    """Whether some window reaches over the border of an image of `shape`."""
    return any(sum(padding) for _, _, _, padding, _ in _windows(operation, shape))


def output_shape(operation, shape):
    """Returns the shape that pooling makes of `shape`; sizes may be None."""
    shape = list(shape)
    for axis, *_, count in _windows(operation, shape, known=False):
        shape[axis] = count
    return tuple(shape)


def window_sizes(operation, shape):
    """Returns how many units each window has, padding left out.

    Returns:
        Float tensor that broadcasts against the output of the pooling.
    """
    sizes = 1.0
    for axis, size, stride, (before, _), count in _windows(operation, shape):
        first = [i * stride - before for i in range(count)]
        length = [min(start + size, shape[axis]) - max(start, 0) for start in first]
        broadcast = [1] * len(shape)
        broadcast[axis] = count
        sizes = sizes * ops.reshape(ops.convert_to_tensor(length, "float32"), broadcast)
    return sizes


def _windows(operation, shape, known=True):
    """Returns `(axis, size, stride, padding, count)` for each spatial axis."""
    given = options(operation, len(shape))
    first = 2 if given["data_format"] == "channels_first" else 1
    found = []
    for i, (size, stride) in enumerate(
        zip(given["pool_size"], given["strides"], strict=True)
    ):
        length = shape[first + i]
        missing = 0
        if length is None:
            if known:
                raise ValueError(
                    "The spatial sizes of what is pooled must be known. "
                    f"Received: shape={tuple(shape)}, name={operation.name!r}"
                )
            count = None
        elif given["padding"] == "same":
            count = -(-length // stride)
            missing = max((count - 1) * stride + size - length, 0)
        else:
            count = (length - size) // stride + 1
        padding = missing // 2, missing - missing // 2
        found.append((first + i, size, stride, padding, count))
    return found


def _per_axis(value, spatial):
    return (value,) * spatial if isinstance(value, int) else tuple(value)
