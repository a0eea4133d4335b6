"""Training in a random subspace: a network that is a short vector."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_genbounds.compression.certificate.certify import certify_subspace
from tf_genbounds.compression.forms.rebuilding import check_trainable
from tf_genbounds.compression.forms.rebuilding import float32_copy
from tf_genbounds.compression.forms.subspace import Subspace
from tf_genbounds.compression.forms.subspace import check_dimension
from tf_genbounds.compression.training.quantized_training import QuantizedTraining


@keras.saving.register_keras_serializable(package="tf_genbounds")
class RandomSubspace(QuantizedTraining):
    """Trains a model within a random subspace around its initial weights.

    The trainable weights are `w_0 + D P v`: what is learned, rounded and written is
    the short vector `v`. The projection `P` is made of hashes of the seed, `D` scales
    each array of weights by the root mean square of its initial values (0.1 for
    zeros). A network of any size can so have a short code; it learns as much as fits
    into `dimension` numbers.

    The initial weights and the seed have to be fixed before the sample: pass a fresh
    model, or one that was trained on other data. They are not in the code.

    Args:
        model: A built Functional or Sequential model with its initial weights.
        dimension: Integer, at most how many numbers `v` has (the largest number
            `a (dimension // a)` for `a = floor(sqrt(dimension))`).
        num_samples: Integer, of the certificate.
        seed: Integer, of the projection.
        **options: Of `QuantizedTraining`. `num_levels` are those of `v`.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((4,)),
    ...         keras.layers.Dense(50, activation="relu"),
    ...         keras.layers.Dense(2),
    ...     ]
    ... )
    >>> training = RandomSubspace(model, dimension=20, num_samples=64)
    >>> training.compile(
    ...     keras.optimizers.Adam(0.1),
    ...     keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> history = training.fit(x, x[:, 0] > 0, epochs=5, verbose=0)
    >>> compressed = training.compress((x, (x[:, 0] > 0).astype(int)))
    >>> model.count_params(), compressed.arrays[0].numbers
    (352, 20)

    References:
        - [Li et al., 2018](https://arxiv.org/abs/1804.08838)
        - [Lotfi et al., 2022](https://arxiv.org/abs/2211.13609)
    """

    def __init__(
        self,
        model: keras.Model,
        dimension: int,
        num_samples: int,
        seed: int = 0,
        **options: Any,
    ) -> None:
        check_trainable(model)
        weights = [ops.convert_to_numpy(v) for v in model.trainable_variables]
        check_dimension(dimension, sum(w.size for w in weights))
        self._initial = weights, dimension, seed
        super().__init__(model, num_samples, **options)
        self.dimension = dimension
        self.seed = seed
        # Variables, so that they are saved.
        self.origin = []
        for i, weight in enumerate(weights):
            variable = self.add_weight(
                shape=weight.shape,
                name=f"origin_{i}",
                initializer="zeros",
                trainable=False,
            )
            variable.assign(weight)
            self.origin.append(variable)
        self._subspace = Subspace(self.origin, dimension, seed)

    def _initial_arrays(self):
        return [np.zeros(Subspace(*self._initial).shape, "float32")]

    def _weights(self, arrays):
        return self._subspace.weights(arrays[0])

    def compress(
        self,
        data: Any,
        *,
        delta: float = 0.05,
        choice: tuple[int, int] = (0, 1),
        threshold: float | None = None,
        batch_size: int = 128,
    ) -> Any:
        """Writes the code of the rounded vector, and certifies the network.

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
        others = [self._statistic(v) for v in self.model.non_trainable_weights]
        return certify_subspace(
            float32_copy(self.model),
            [*self._coded(), *others],
            [ops.convert_to_numpy(v) for v in self.origin],
            data,
            dimension=self.dimension,
            seed=self.seed,
            delta=delta,
            batch_size=batch_size,
            choice=choice,
            threshold=threshold,
        )

    def get_config(self) -> dict:
        return super().get_config() | {
            "dimension": self.dimension,
            "seed": self.seed,
        }
