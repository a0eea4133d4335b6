"""Training for a short code: weights that are rounded while they are learned."""

import math

import keras
import numpy as np
from keras import ops

from tf_genbounds.checks import check_num_levels
from tf_genbounds.checks import check_positive
from tf_genbounds.compression import weight_code
from tf_genbounds.compression.compact import compact_model
from tf_genbounds.compression.compact import compactable
from tf_genbounds.compression.compress import certified


@keras.saving.register_keras_serializable(package="tf_genbounds")
class QuantizedTraining(keras.Model):
    """Trains a model through the rounding that its code will have.

    Each trainable array `w` of the model is used as
    `step * clip(round(w / step), -n, n)`, with a step that is learned too; the
    gradient goes through the rounding as if it were not there. `compress` then
    writes exactly the network that was trained.

    The loss gains `factor` times the length of a code in nats for each sample,
    `bits * ln(2) / num_samples`: what the certificate adds to the error. This code
    is that of the two-sided geometric distribution with the array's mean
    `abs(w / step)`, which is differentiable and makes small levels cheaper than
    large ones. (The length by the frequencies of the levels has no gradient where
    all are equally frequent, and training stays there.) The metric `bits` is the
    length of the code that will be written, without the header of each array, by
    the formula of the arithmetic code.

    Args:
        model: A built Functional or Sequential model. Its trainable weights are
            trained; others are written as float16.
        num_levels: Odd integer, `2 n + 1`, of the arrays of two or more axes.
            Defaults to `7`.
        vector_levels: Odd integer, of the others: biases, scales, shifts.
            Defaults to `31`.
        num_samples: Integer, of the certificate.
        factor: Non-negative float. Defaults to `1.0`. It is a variable: a
            callback may assign another, to learn first and shorten later.
        name: String, defaults to the name of the model.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> training = QuantizedTraining(model, num_samples=64)
    >>> training.compile(
    ...     "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ... )
    >>> history = training.fit(x, x[:, 0] > 0, verbose=0)
    >>> compressed = training.compress((x, (x[:, 0] > 0).astype(int)))
    >>> bool(np.all(compressed.model(x) == training(x)))
    True

    References:
        - [Esser et al., 2020](https://arxiv.org/abs/1902.08153), for the gradient
          of the step.
        - [Lotfi et al., 2022](https://arxiv.org/abs/2211.13609), who train for a
          certificate by the length of a code.
    """

    def __init__(
        self,
        model,
        num_samples,
        num_levels=7,
        vector_levels=31,
        factor=1.0,
        name=None,
        **kwargs,
    ):
        super().__init__(name=name or model.name, **kwargs)
        check_positive("num_samples", num_samples)
        for option, value in {
            "num_levels": num_levels,
            "vector_levels": vector_levels,
        }.items():
            check_num_levels(option, value)
        if not factor >= 0:
            raise ValueError(
                f"`factor` must not be negative. Received: factor={factor}"
            )
        self.model = model
        self.num_samples = num_samples
        self.num_levels = num_levels
        self.vector_levels = vector_levels
        self.factor = self.add_weight(
            shape=(),
            name="factor",
            trainable=False,
            initializer=keras.initializers.Constant(float(factor)),
        )
        self._bits = keras.metrics.Mean(name="bits")
        self.log_steps = []
        for i, variable in enumerate(model.trainable_variables):
            value = keras.ops.convert_to_numpy(variable)
            # The root mean square is where a weight at random will be.
            size = np.sqrt(np.mean(np.square(value))) or 0.1
            start = np.log(max(size, 1e-3) * 2 / np.sqrt(self._end(variable)))
            self.log_steps.append(
                self.add_weight(
                    shape=(),
                    name=f"log_step_{i}",
                    initializer=keras.initializers.Constant(float(start)),
                )
            )
        self.built = True

    def _end(self, variable):
        levels = self.num_levels if len(variable.shape) > 1 else self.vector_levels
        return levels // 2

    def call(self, inputs, training=None):
        scaled = [_scaled(*arguments) for arguments in self._arrays()]
        outputs, updates, losses = self.model.stateless_call(
            [_rounded(*pair) for pair in scaled],
            [v.value for v in self.model.non_trainable_variables],
            inputs,
            training=training,
            return_losses=True,
        )
        for variable, value in zip(
            self.model.non_trainable_variables, updates, strict=True
        ):
            variable.assign(value)
        for loss in losses:
            self.add_loss(loss)
        bits = sum(_geometric_length(array) for array, _ in scaled)
        factor = ops.convert_to_tensor(self.factor)
        self.add_loss(factor * bits * np.log(2) / self.num_samples)
        return outputs

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        # Keras lets a model change the state of metrics here and nowhere else.
        self._bits.update_state(
            sum(
                _code_length(_counts(_scaled(value, log_step, end)[0], end))
                for value, log_step, end in self._arrays()
            )
        )
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _arrays(self):
        """Returns `(value, log_step, end)` for each array that is rounded."""
        return [
            (ops.convert_to_tensor(v), ops.convert_to_tensor(s), self._end(v))
            for v, s in zip(
                self.model.trainable_variables, self.log_steps, strict=True
            )
        ]

    def compress(self, data, *, delta=0.05, batch_size=128):
        """Writes the code of the rounded network, and certifies it.

        Args:
            data: The sample, with labels: see `compression.compress`.
            delta: Float in (0, 1). Defaults to `0.05`.
            batch_size: Integer, for arrays.

        Returns:
            `compression.Compressed`.
        """
        model = self.model
        ends = {
            id(v): (self._end(v), float(_step(ops.convert_to_tensor(s))))
            for v, s in zip(model.trainable_variables, self.log_steps, strict=True)
        }
        coded, rounded = [], []
        for variable in model.weights:
            array = keras.ops.convert_to_numpy(variable)
            if id(variable) in ends:
                end, step = ends[id(variable)]
                coded.append(weight_code.levels(array, end, step))
            else:
                coded.append(weight_code.Floats(array, "e"))
            rounded.append(coded[-1].values())
        forms = [("plain",)] * len(compactable(model))
        compact = compact_model(model, forms, 0)
        compact.set_weights(rounded)
        return certified(
            model, forms, coded, compact, data, delta=delta, batch_size=batch_size
        )

    def get_config(self):
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "num_samples": self.num_samples,
            "num_levels": self.num_levels,
            "vector_levels": self.vector_levels,
            "factor": float(self.factor),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        model = keras.saving.deserialize_keras_object(
            config.pop("model"), custom_objects
        )
        return cls(model, **config)


def _step(log_step):
    """The step as float16 has it, with the gradient of the exact one."""
    exact = ops.exp(log_step)
    half = ops.cast(ops.cast(exact, "float16"), "float32")
    return exact + ops.stop_gradient(half - exact)


def _scaled(value, log_step, end):
    """Returns an array in steps, from `-end` to `end`, and the step."""
    step = _step(log_step)
    return ops.clip(value / step, -end, end), step


def _rounded(scaled, step):
    """Rounds to whole steps; the gradient goes through."""
    return step * (scaled + ops.stop_gradient(ops.round(scaled) - scaled))


def _counts(scaled, end):
    """Returns how often each level occurs."""
    levels = ops.arange(-end, end + 1, dtype="float32")
    same = ops.equal(ops.reshape(ops.round(scaled), (-1, 1)), levels)
    return ops.sum(ops.cast(same, "float32"), axis=0)


def _geometric_length(scaled):
    """The bits of `P(l) = (1 - t) / (1 + t) t**abs(l)`, with the best `t`."""
    # The gradient of `abs` at 0 is 0, on every backend.
    mean = ops.mean(scaled * ops.stop_gradient(ops.sign(scaled))) + 1e-6
    # `(sqrt(1 + mean**2) - 1) / mean`, without the difference: it may be 0.
    ratio = mean / (1 + ops.sqrt(1 + mean**2))
    nats = ops.log((1 + ratio) / (1 - ratio)) - mean * ops.log(ratio)
    return math.prod(scaled.shape) * nats / np.log(2)


def _code_length(counts):
    """The bits of the Krichevsky-Trofimov code, by Stirling's formula."""
    alphabet = counts.shape[0]
    total = ops.sum(counts)
    nats = _log_gamma(total + alphabet / 2) - _log_gamma(alphabet / 2)
    nats = nats + ops.sum(_log_gamma(0.5) - _log_gamma(counts + 0.5))
    return nats / np.log(2)


def _log_gamma(x):
    # Shifted by 4, where the series is right to seven digits.
    x = ops.convert_to_tensor(x, "float32")
    shift = ops.log(x * (x + 1) * (x + 2) * (x + 3))
    x = x + 4
    series = 1 / (12 * x) - 1 / (360 * x**3)
    return (x - 0.5) * ops.log(x) - x + 0.5 * np.log(2 * np.pi) + series - shift
