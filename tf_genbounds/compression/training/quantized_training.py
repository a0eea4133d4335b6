"""Training for a short code: weights that are rounded while they are learned."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_genbounds.checks import check_num_levels
from tf_genbounds.checks import check_positive
from tf_genbounds.compression.certificate.certify import certify
from tf_genbounds.compression.codes import weight_code
from tf_genbounds.compression.forms.compact_model import CompactModel
from tf_genbounds.compression.forms.rebuilding import check_trainable
from tf_genbounds.compression.forms.rebuilding import derived_from
from tf_genbounds.compression.forms.rebuilding import float32_copy
from tf_genbounds.compression.forms.rebuilding import set_weights
from tf_genbounds.compression.training import smooth_length
from tf_genbounds.compression.training.freezing import Freezing
from tf_genbounds.compression.training.grid_array import GridArray
from tf_genbounds.data.batches import has_labels

# The share of frozen weights from which on the steps are those of the code.
_FIXED = 0.5


@keras.saving.register_keras_serializable(package="tf_genbounds")
class QuantizedTraining(keras.Model):
    """Trains a model to be written with few bits.

    Each trainable array of the model becomes `step * l`, with whole numbers `l` from
    `-n` to `n` and a step of its own. `fit` goes through three phases: it trains
    exact weights; it finds a grid for each array, and freezes weights on it, stage by
    stage, the most sensitive ones first, while the others go on learning and make up
    for the rounding. Biases, scales and shifts, which are few and move whole channels,
    come last, and have more levels. The steps are learned too, until half of the
    weights are frozen. `compress` writes exactly the network that comes out.

    The weights are learned in units of their steps: a learning rate of 0.03 moves them
    by 3 % of a step. The loss gains `factor` times the length of a code in nats for each
    sample, `bits * ln(2) / num_samples`, what the certificate adds to the error. This
    code is that of the two-sided geometric distribution with the array's mean
    magnitude, which is differentiable. The metric `bits` is the length of the code
    that will be written, without the header of each array, by the formula of the
    arithmetic code; the metric `frozen` is the share of the weights that are frozen.

    Args:
        model: A built Functional or Sequential model. Its trainable weights are
            rounded; others are written as float16, the
            statistics of `Normalization` as float32. After `fit` it has the weights
            of the rounded network.
        num_samples: Integer, of the certificate.
        num_levels: Odd integer, `2 n + 1`, of the arrays of two or more axes.
            Defaults to `5`.
        vector_levels: Odd integer, of the others: biases, scales, shifts.
            Defaults to `15`.
        exact_fraction: Float in [0, 1), which share of the epochs trains exact
            weights. Defaults to `0.25`; 0 if the model is trained already.
        coarseness: Positive float, the first step of an array over the one with the
            least squared rounding error. Defaults to `1.3`: more zeros, fewer bits.
        num_stages: Integer, in how many stages the weights are frozen. Defaults to
            `100`.
        factor: Non-negative float. Defaults to `1.0`. It is a variable: a callback
            may assign another.
        name: String, defaults to the name of the model.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> training = QuantizedTraining(model, num_samples=64)
    >>> training.compile(
    ...     "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ... )
    >>> history = training.fit(x, x[:, 0] > 0, epochs=4, verbose=0)
    >>> training.frozen_fraction()
    1.0
    >>> compressed = training.compress((x, (x[:, 0] > 0).astype(int)))
    >>> bool(np.all(compressed.model(x) == training(x)))
    True

    References:
        - [Zhou et al., 2017](https://arxiv.org/abs/1702.03044), who freeze the
          largest weights first.
        - [Frantar et al., 2023](https://arxiv.org/abs/2210.17323), for the order by
          sensitivity.
        - [Lotfi et al., 2022](https://arxiv.org/abs/2211.13609), who train for a
          certificate by the length of a code.
    """

    def __init__(
        self,
        model: keras.Model,
        num_samples: int,
        num_levels: Any = 5,
        vector_levels: int = 15,
        exact_fraction: float = 0.25,
        coarseness: float = 1.3,
        num_stages: int = 100,
        factor: float = 1.0,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_trainable(model)
        super().__init__(name=name or model.name, **kwargs)
        check_positive("num_samples", num_samples)
        check_positive("num_stages", num_stages)
        check_num_levels("num_levels", num_levels)
        check_num_levels("vector_levels", vector_levels)
        if not 0 <= exact_fraction < 1:
            raise ValueError(
                "`exact_fraction` must lie in [0, 1). "
                f"Received: exact_fraction={exact_fraction}"
            )
        if not coarseness > 0 or not factor >= 0:
            raise ValueError(
                "`coarseness` must be positive, and `factor` not negative. "
                f"Received: coarseness={coarseness}, factor={factor}"
            )
        self.arrays = []
        self.model = model
        self.num_samples = num_samples
        self.num_levels = num_levels
        self.vector_levels = vector_levels
        self.exact_fraction = exact_fraction
        self.coarseness = coarseness
        self.num_stages = num_stages
        self.factor = self.add_weight(
            shape=(),
            name="factor",
            trainable=False,
            initializer=keras.initializers.Constant(float(factor)),
        )
        self._bits = keras.metrics.Mean(name="bits")
        self._share = keras.metrics.Mean(name="frozen")
        self.arrays = [self._array(a, i) for i, a in enumerate(self._initial_arrays())]
        self.built = True

    def _array(self, array, i):
        matrix = array.ndim > 1
        return GridArray(
            array,
            (self.num_levels if matrix else self.vector_levels) // 2,
            self.coarseness if matrix else 1.0,
            name=f"array_{i}",
        )

    # What is trained are the scaled arrays; the weights of the model, which are made
    # of them, are not.

    def _learned(self):
        return {id(v) for array in self.arrays for v in (array.scaled, array.log_step)}

    @property
    def trainable_variables(self) -> list:
        learned = self._learned()
        return [v for v in self.variables if id(v) in learned]

    @property
    def non_trainable_variables(self) -> list:
        learned = self._learned()
        return [v for v in self.variables if id(v) not in learned]

    @property
    def trainable_weights(self) -> list:
        return self.trainable_variables

    @property
    def non_trainable_weights(self) -> list:
        learned = self._learned()
        return [v for v in self.weights if id(v) not in learned]

    def _initial_arrays(self):
        """The arrays that are learned and written, as they are at first."""
        return [ops.convert_to_numpy(v) for v in self.model.trainable_variables]

    def _weights(self, arrays):
        """The trainable weights of the model, made of these arrays."""
        return arrays

    def call(self, inputs: Any, training: Any = None) -> Any:
        weights = self._weights([array.value() for array in self.arrays])
        outputs, updates, losses = self.model.stateless_call(
            weights,
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
        bits = sum(smooth_length.geometric_length(a.within()) for a in self.arrays)
        factor = ops.convert_to_tensor(self.factor)
        self.add_loss(factor * bits * np.log(2) / self.num_samples)
        return outputs

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: Any = True,
    ) -> Any:
        # Keras lets a model change the state of metrics here and nowhere else.
        lengths = (
            smooth_length.code_length(smooth_length.counts(a.rounded(), a.end))
            for a in self.arrays
        )
        self._bits.update_state(sum(lengths))
        frozen = sum(ops.sum(ops.convert_to_tensor(a.frozen)) for a in self.arrays)
        self._share.update_state(frozen / self._size())
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _size(self):
        return sum(array.size for array in self.arrays)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.fit`; the phases are shares of `epochs`.

        A second call begins anew from the rounded weights.
        """
        data = x if y is None else (x, y)
        if not has_labels(data):
            raise ValueError(
                "Training needs labels: pass `fit(x, y)` or a dataset of pairs. "
                "Received: data without labels"
            )
        freezing = Freezing(data, self.exact_fraction, self.num_stages)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(freezing)
        else:
            given = [] if callbacks is None else keras.tree.flatten(callbacks)
            callbacks = [freezing, *given]
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def frozen_fraction(self) -> float:
        """Returns the share of the weights that are frozen."""
        frozen = (np.sum(ops.convert_to_numpy(a.frozen)) for a in self.arrays)
        return float(sum(frozen)) / self._size()

    def exact(self) -> bool:
        """Returns whether the weights are learned without a grid."""
        return self.arrays[0].exact

    def thaw(self) -> None:
        """Makes every weight learn again, from where it is, without a grid."""
        for array in self.arrays:
            array.thaw()

    def find_grid(self) -> None:
        """Chooses the step of each array for what it is now."""
        for array in self.arrays:
            array.find_grid()

    def freeze(self, share: float, sensitivities: Any) -> None:
        """Freezes weights on the grid until a share of all of them is.

        Args:
            share: Float in [0, 1].
            sensitivities: An array for each of `arrays`; weights with the largest
                values are frozen first, but biases, scales and shifts last.
        """
        frozen = _flat(ops.convert_to_numpy(a.frozen) for a in self.arrays)
        late = _flat(np.full(s.shape, s.ndim < 2) for s in sensitivities)
        values = _flat(sensitivities)
        chosen = np.zeros(len(values), bool)
        # What is frozen stays so.
        order = np.lexsort((-values, late, -frozen))
        chosen[order[: round(share * len(values))]] = True
        ends = np.cumsum([array.size for array in self.arrays])
        for array, part in zip(self.arrays, np.split(chosen, ends[:-1]), strict=True):
            array.freeze(part.reshape(array.scaled.shape))
            if share >= _FIXED and not float(ops.convert_to_numpy(array.fixed)):
                array.fix_step()

    def assign_rounded(self) -> None:
        """Gives the model the weights of the rounded network."""
        values = [ops.convert_to_tensor(c.values()) for c in self._coded()]
        for variable, value in zip(
            self.model.trainable_variables, self._weights(values), strict=True
        ):
            variable.assign(value)

    def _coded(self):
        """The arrays as they are written; what is not frozen yet is rounded."""
        return [array.coded() for array in self.arrays]

    def compress(
        self,
        data: Any,
        *,
        delta: float = 0.05,
        choice: tuple[int, int] = (0, 1),
        threshold: float | None = None,
        batch_size: int = 128,
    ) -> Any:
        """Writes the code of the rounded network, and certifies it.

        Args:
            data: The sample, with labels: see `compression.compress`.
            delta: Float in (0, 1). Defaults to `0.05`.
            choice: Which of how many architectures this is, see there.
            threshold: Float, for one output, see there.
            batch_size: Integer, for arrays.

        Returns:
            `compression.Compressed`.
        """
        self.assign_rounded()
        rounded = iter(self._coded())
        trainable = {id(v) for v in self.model.trainable_variables}
        coded = [
            next(rounded) if id(v) in trainable else self._statistic(v)
            for v in self.model.weights
        ]
        compact = CompactModel(float32_copy(self.model))
        set_weights(compact.copy, [c.values() for c in coded])
        return certify(
            compact,
            coded,
            data,
            delta=delta,
            batch_size=batch_size,
            choice=choice,
            threshold=threshold,
        )

    def _statistic(self, variable):
        """A weight that is not trained, as it is written."""
        derived = id(variable) in derived_from(self.model)
        write = weight_code.exact if derived else weight_code.half
        return write(ops.convert_to_numpy(variable))

    def get_config(self) -> dict:
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "num_samples": self.num_samples,
            "num_levels": self.num_levels,
            "vector_levels": self.vector_levels,
            "exact_fraction": self.exact_fraction,
            "coarseness": self.coarseness,
            "num_stages": self.num_stages,
            "factor": float(ops.convert_to_numpy(self.factor)),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:
        config = dict(config)
        model = keras.saving.deserialize_keras_object(
            config.pop("model"), custom_objects
        )
        return cls(model, **config)


def _flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])
