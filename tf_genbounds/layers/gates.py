"""Layers of a network whose activation pattern is a fixed function of the input.

Each takes a pair `[x, gate]`. The gate, which no gradient enters, decides what
the layer does with `x`: which units are on, and which one a pooling window
passes on.
"""

import math

import keras
from keras import ops

from tf_genbounds import backend
from tf_genbounds.functional import pooling


class _Gated(keras.layers.Layer):
    def __init__(self, **kwargs):
        # The pair comes from layers with a dtype policy of their own.
        super().__init__(autocast=False, **kwargs)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


@keras.saving.register_keras_serializable(package="tf_genbounds")
class Gate(_Gated):
    """Multiplies `x` by the slope that a ReLU has at `gate`.

    For `u` in `gate` and `t` in `x`: `t` where `0 < u < max_value`,
    `negative_slope * t` where `u <= 0`, and `max_value` where
    `u >= max_value`. With `x = gate` it is the ReLU itself.

    Args:
        negative_slope: Non-negative float. Defaults to `0.0`.
        max_value: Positive float, or `None` for no cap (the default).
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: List `[x, gate]` of float tensors of one shape.

    Example:

    >>> x, gate = np.array([[1.0, 2.0]]), np.array([[-3.0, 0.5]])
    >>> keras.ops.convert_to_numpy(Gate()([x, gate])).tolist()
    [[0.0, 2.0]]

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(self, negative_slope=0.0, max_value=None, **kwargs):
        super().__init__(**kwargs)
        self.negative_slope = negative_slope
        self.max_value = max_value

    @property
    def has_offset(self):
        """Whether some pieces are not through the origin."""
        return self.max_value is not None

    def call(self, inputs):
        x, gate = inputs
        return self._piece(x, ops.stop_gradient(gate), self.max_value)

    def slope(self, gate):
        """Returns the slope of each unit, in the shape of `gate`."""
        return self._piece(ops.ones_like(gate), gate, 0.0)

    def offset(self, gate):
        """Returns what each unit adds, whatever `x`, in the shape of `gate`."""
        return self._piece(ops.zeros_like(gate), gate, self.max_value)

    def _piece(self, x, gate, cap):
        # Not a product with 0 or 1, which would make NaN of an infinity.
        result = ops.where(gate > 0, x, self._below(x))
        if self.max_value is not None:
            cap = ops.cast(cap, x.dtype)
            result = ops.where(gate < self.max_value, result, cap)
        return result

    def _below(self, x):
        if self.negative_slope == 0:
            return ops.zeros_like(x)
        return ops.cast(self.negative_slope, x.dtype) * x

    def get_config(self):
        return super().get_config() | {
            "negative_slope": self.negative_slope,
            "max_value": self.max_value,
        }


@keras.saving.register_keras_serializable(package="tf_genbounds")
class PReLUGate(Gate):
    """`Gate` with a negative slope for each unit, learned before and frozen.

    Args:
        shared_axes: As of `keras.layers.PReLU`.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: List `[x, gate]` of float tensors of one shape.

    Example:

    >>> layer = PReLUGate()
    >>> layer.build([(None, 2), (None, 2)])
    >>> layer.set_weights([np.array([0.5, 0.25])])
    >>> x, gate = np.array([[8.0, 8.0]]), np.array([[-1.0, 1.0]])
    >>> keras.ops.convert_to_numpy(layer([x, gate])).tolist()
    [[4.0, 8.0]]
    """

    def __init__(self, shared_axes=None, **kwargs):
        super().__init__(**kwargs)
        self.shared_axes = shared_axes

    def build(self, input_shape):
        shape = list(input_shape[0][1:])
        for axis in self.shared_axes or ():
            shape[axis - 1] = 1
        self.alpha = self.add_weight(
            shape=shape, name="alpha", initializer="zeros", trainable=False
        )

    def _below(self, x):
        return ops.cast(self.alpha, x.dtype) * x

    def get_config(self):
        config = super().get_config()
        del config["negative_slope"], config["max_value"]
        return config | {"shared_axes": self.shared_axes}


@keras.saving.register_keras_serializable(package="tf_genbounds")
class MaxPoolingGate(_Gated):
    """Takes from each window of `x` the unit at the maximum of `gate`.

    The first one, in row-major order, where several are largest. With
    `x = gate` it is the max pooling itself.

    Args:
        pool_size: Tuple of integers, one for each spatial axis.
        strides: Tuple of integers.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: List `[x, gate]` of float tensors of one shape.

    Example:

    >>> x, gate = np.array([[[1.0], [2.0]]]), np.array([[[5.0], [4.0]]])
    >>> layer = MaxPoolingGate((2,), (2,), "valid", "channels_last")
    >>> keras.ops.convert_to_numpy(layer([x, gate])).tolist()
    [[[1.0]]]

    References:
        - [Kawaguchi et al., 2017](https://arxiv.org/abs/1710.05468)
    """

    def __init__(self, pool_size, strides, padding, data_format, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = tuple(pool_size)
        self.strides = tuple(strides)
        self.padding = padding
        self.data_format = data_format

    def call(self, inputs):
        x, gate = inputs
        gate = ops.stop_gradient(gate)
        size = math.prod(self.pool_size)
        if len(self.pool_size) == 3:
            # The gradient of TensorFlow's 3D pooling goes to all maxima.
            return self._select(x, gate)
        if (
            # A unit lies in one window, and a sum is exact as a mean.
            all(map(int.__le__, self.pool_size, self.strides))
            and size & (size - 1) == 0
            and (self.padding == "valid" or not pooling.is_padded(self, x.shape))
        ):
            chosen = self._pull_back(gate)
            mean = ops.average_pool(
                x * ops.cast(chosen, x.dtype), **self._options | {"padding": "valid"}
            )
            return mean * ops.cast(size, x.dtype)
        return self._select_fast(x, gate)

    def _select_fast(self, x, gate):
        """`_select`, with the gradient of max pooling in place of its own."""

        @ops.custom_gradient
        def select(x, gate):
            def gradient(*args, upstream=None):
                upstream = args[0] if upstream is None else upstream
                return self._pull_back(gate, upstream), ops.zeros_like(gate)

            return self._select(x, gate), gradient

        return select(x, gate)

    def _pull_back(self, gate, upstream=None):
        """Adds up, for each unit of `gate`, what the windows send that chose it."""

        def pool(gate):
            # Padded here, since TensorFlow's XLA does not take the first of
            # several maxima in a window that it pads itself.
            gate = pooling.padded(self, gate, -float("inf"))
            return ops.max_pool(gate, **self._options | {"padding": "valid"})

        if upstream is None:
            upstream = ops.ones_like(pool(gate))
        return ops.stop_gradient(
            backend.vjp(pool, gate, ops.cast(upstream, gate.dtype))
        )

    def _select(self, x, gate):
        largest = None
        for part, gate_part in zip(
            pooling.slices(self, x, 0.0),
            pooling.slices(self, gate, -float("inf")),
            strict=True,
        ):
            if largest is None:
                result, largest = part, gate_part
            else:
                result = ops.where(gate_part > largest, part, result)
                largest = ops.maximum(largest, gate_part)
        return result

    @property
    def _options(self):
        return {
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }

    def compute_output_shape(self, input_shape):
        return pooling.output_shape(self, input_shape[0])

    def get_config(self):
        return super().get_config() | self._options


@keras.saving.register_keras_serializable(package="tf_genbounds")
class GlobalMaxPoolingGate(_Gated):
    """Takes from each channel of `x` the unit at the maximum of `gate`.

    Args:
        data_format: `"channels_last"` or `"channels_first"`.
        keepdims: Boolean, whether the spatial axes stay, with size 1.
        **kwargs: Of `keras.layers.Layer`.

    Call arguments:
        inputs: List `[x, gate]` of float tensors of one shape.

    Example:

    >>> x, gate = np.array([[[1.0], [2.0]]]), np.array([[[5.0], [4.0]]])
    >>> layer = GlobalMaxPoolingGate("channels_last")
    >>> keras.ops.convert_to_numpy(layer([x, gate])).tolist()
    [[1.0]]
    """

    def __init__(self, data_format, keepdims=False, **kwargs):
        super().__init__(**kwargs)
        self.data_format = data_format
        self.keepdims = keepdims

    def call(self, inputs):
        last = self.data_format == "channels_last"
        axis = 1 if last else 2
        x, gate = (self._flat(t, last) for t in inputs)
        chosen = ops.argmax(ops.stop_gradient(gate), axis=axis, keepdims=True)
        result = ops.squeeze(ops.take_along_axis(x, chosen, axis=axis), axis)
        if not self.keepdims:
            return result
        for _ in range(len(inputs[0].shape) - 2):
            result = ops.expand_dims(result, axis)
        return result

    @staticmethod
    def _flat(x, last):
        shape = ops.shape(x)
        return ops.reshape(x, (shape[0], -1, shape[-1]) if last else (*shape[:2], -1))

    def compute_output_shape(self, input_shape):
        shape = list(input_shape[0])
        spatial = [1] * (len(shape) - 2 if self.keepdims else 0)
        if self.data_format == "channels_last":
            return (shape[0], *spatial, shape[-1])
        return (*shape[:2], *spatial)

    def get_config(self):
        return super().get_config() | {
            "data_format": self.data_format,
            "keepdims": self.keepdims,
        }


@keras.saving.register_keras_serializable(package="tf_genbounds")
class FixedStatisticsBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by its moving statistics, in training as well.

    With the statistics of a batch the output for one example would depend on
    the others. Scale and shift are trained as usual.

    Args:
        **kwargs: Of `keras.layers.BatchNormalization`.
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


GATES = (Gate, PReLUGate, MaxPoolingGate, GlobalMaxPoolingGate)
