"""Max pooling as a maximum of slices: the same values, exact derivatives."""

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


def max_pool(operation, x):
    """Computes what a max pooling operation does, as a maximum of slices."""
    spatial = len(x.shape) - 2
    data_format = operation.data_format or keras.config.image_data_format()
    first = 2 if data_format == "channels_first" else 1
    window = _per_axis(operation.pool_size, spatial)
    strides = _per_axis(operation.strides or window, spatial)
    padding = [(0, 0)] * len(x.shape)
    counts = []
    for axis, (size, stride) in enumerate(zip(window, strides, strict=True)):
        length = x.shape[first + axis]
        if operation.padding == "same":
            counts.append(-(-length // stride))
            missing = max((counts[-1] - 1) * stride + size - length, 0)
            padding[first + axis] = (missing // 2, missing - missing // 2)
        else:
            counts.append((length - size) // stride + 1)
    if operation.padding == "same":
        x = ops.pad(x, padding, constant_values=-float("inf"))
    result = None
    for offsets in itertools.product(*map(range, window)):
        index = [slice(None)] * len(x.shape)
        for axis, offset in enumerate(offsets):
            stop = offset + (counts[axis] - 1) * strides[axis] + 1
            index[first + axis] = slice(offset, stop, strides[axis])
        part = x[tuple(index)]
        result = part if result is None else ops.maximum(result, part)
    return result


def _per_axis(value, spatial):
    return (value,) * spatial if isinstance(value, int) else tuple(value)
