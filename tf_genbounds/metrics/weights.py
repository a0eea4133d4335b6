"""Metrics of weights, for `compile(metrics=[...])` and for the monitor."""

from typing import Any

import keras
from keras import ops

from tf_genbounds import backend
from tf_genbounds.checks import check_positive
from tf_genbounds.functional.calling_model import calling_model
from tf_genbounds.functional.operators import check_matrix
from tf_genbounds.functional.operators import frobenius_norm
from tf_genbounds.functional.spectral import spectral_norm
from tf_genbounds.functional.spectral import stable_rank
from tf_genbounds.functional.spectral import start_vectors
from tf_genbounds.metrics.layer_metric import LayerMetric
from tf_genbounds.network.model import has_open_size
from tf_genbounds.network.network import Network


class WeightMetric(LayerMetric):
    """A quantity of the weights alone, which each update follows."""

    default_matrix = "kernel"
    iterates = True  # Whether the value needs a power iteration.

    def __init__(self, layer, matrix, every, name):
        super().__init__(layer=layer, name=name)
        check_matrix(None, matrix)
        check_positive("every", every)
        self.matrix = matrix
        self.every = every
        self._maps = None

    @property
    def field(self):
        if self.matrix == self.default_matrix:
            return self.quantity
        return f"{self.matrix}_{self.quantity}"

    def bind(self, model):
        """Chooses the model whose weights are measured.

        In `compile(metrics=[...])` this happens by itself.

        Args:
            model: A built Keras model.

        Raises:
            ValueError: If the model is not built, has no such layer, or leaves open
                the size of which the operator is meant.
        """
        maps = Network.of(model).choose()
        self._maps = {name: maps[name] for name in self.choose(maps)}
        if self.matrix == "operator" and has_open_size(model):
            _refuse_open_sizes(self._maps)
        self._values, self._vectors = {}, {}
        self._count = self._state("count", 0, "int32")
        for name, linear in self._maps.items():
            self._values[name] = self._state(name, float("nan"))
            if self.iterates:
                self._vectors[name] = self._state(
                    f"{name}_vectors",
                    start_vectors(linear.operator(), self.matrix),
                )

    def watch(self, network):
        self.bind(network.model)

    def update_state(self, y_true=None, y_pred=None, sample_weight=None):
        """Makes one step; the arguments, which Keras passes, play no part."""
        if self._maps is None:
            self.bind(_calling_model())
        for name in self._maps:
            old = (
                self._values[name] + 0.0,
                self._vectors[name] + 0.0 if self.iterates else (),
            )
            if self.every == 1:
                new = self._step(name, old)
            else:
                new = ops.cond(
                    ops.equal(self._count % self.every, 0),
                    lambda name=name, old=old: self._step(name, old),
                    lambda old=old: old,
                )
            self._values[name].assign(new[0])
            if self.iterates:
                self._vectors[name].assign(new[1])
        self._count.assign(self._count + 1)

    def _step(self, name, old):
        """Returns the new value, and the vectors of the power iteration."""
        operator = self._maps[name].operator()
        if not self.iterates:
            return self.value(operator, None), ()
        estimate = spectral_norm(operator, self.matrix, max_iterations=1, start=old[1])
        return self.value(operator, estimate), estimate.vectors

    def result(self):
        if self._maps is None:
            return {self.name: ops.convert_to_tensor(float("nan"))}
        # `+ 0`: Keras would read the variable itself later, too late.
        return {
            f"{self.name}/{name}": value + 0.0 for name, value in self._values.items()
        }

    def reset_state(self):
        """Does nothing: values are the latest, and the vectors stay warm."""

    def get_config(self):
        return {
            **super().get_config(),
            "matrix": self.matrix,
            "every": self.every,
        }

    def _state(self, name, value, dtype="float32"):
        return self.add_variable(
            getattr(value, "shape", ()),
            lambda shape, dtype: ops.convert_to_tensor(value, dtype),
            dtype,
            # Every replica computes the same; a sum would multiply it.
            aggregation="only_first_replica",
            name=name.replace("/", "_").replace("#", "_"),
        )


@keras.saving.register_keras_serializable(package="tf_genbounds")
class StableRank(WeightMetric):
    """Follows the stable rank of each linear map, `||A||_F^2 / ||A||_2^2`.

    A batch normalization that directly follows a linear map is folded in. On
    TensorFlow it goes into `compile(metrics=[...])`, where each training step
    makes one step of a warm power iteration, so that the value follows the
    weights with a short delay, from above. On every backend it goes into
    `GeneralizationMonitor`, which iterates until the value stands.

    The keys in the logs are `"stable_rank/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        matrix: `"kernel"` or `"operator"`: which matrix of a convolution is
            meant, see `tf_genbounds.functional.stable_rank`.
        every: Integer: measure only in every so many updates, which makes
            the others free. Defaults to `1`.
        name: String, what the keys begin with. Defaults to `"stable_rank"`.

    Raises:
        ValueError: If an argument is not as above, or on the first update if
            the model has no such layer.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> model.compile("sgd", "mse", metrics=[StableRank()])

    In a loop of one's own:

    >>> metric = StableRank()
    >>> metric.bind(model)
    >>> metric.update_state()
    >>> list(metric.result())
    ['stable_rank/dense']

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296)
    """

    quantity = "stable_rank"

    def __init__(
        self,
        layer: Any = None,
        matrix: str = "kernel",
        every: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(layer, matrix, every, name)

    def value(self, operator: Any, estimate: Any) -> Any:
        return stable_rank(operator, self.matrix, estimate=estimate)


@keras.saving.register_keras_serializable(package="tf_genbounds")
class SpectralNorm(WeightMetric):
    """Follows the spectral norm of each linear map, `||A||_2`.

    Of the operator by default: the Lipschitz constant of the layer on inputs
    of its own size. As `StableRank`, but from below, and so never for a guarantee
    (`functional.spectral_norm_upper_bound` is). The keys in the logs are
    `"spectral_norm/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        matrix: `"operator"` or `"kernel"`: which matrix of a convolution.
        every: Integer: measure only in every so many updates.
        name: String, what the keys begin with. Defaults to
            `"spectral_norm"`.

    Raises:
        ValueError: If an argument is not as above, or on the first update if
            the model has no such layer.

    Example:

    >>> SpectralNorm(layer="dense").get_config()["matrix"]
    'operator'
    """

    quantity = "spectral_norm"
    default_matrix = "operator"

    def __init__(
        self,
        layer: Any = None,
        matrix: str = "operator",
        every: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(layer, matrix, every, name)

    def value(self, operator: Any, estimate: Any) -> Any:
        return estimate.value


@keras.saving.register_keras_serializable(package="tf_genbounds")
class FrobeniusNorm(WeightMetric):
    """Follows the Frobenius norm of each linear map, `||A||_F`, exactly.

    As `StableRank`, without an iteration. The keys in the logs are
    `"frobenius_norm/<layer>"`.

    Args:
        layer: A Keras layer, its name, or `None` for all linear layers.
        matrix: `"kernel"` or `"operator"`: which matrix of a convolution.
        every: Integer: measure only in every so many updates.
        name: String, what the keys begin with. Defaults to
            `"frobenius_norm"`.

    Raises:
        ValueError: If an argument is not as above, or on the first update if
            the model has no such layer.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> model.layers[0].set_weights([np.ones((3, 2)), np.zeros(2)])
    >>> metric = FrobeniusNorm()
    >>> metric.bind(model)
    >>> metric.update_state()
    >>> round(float(metric.result()["frobenius_norm/dense"]) ** 2)
    6
    """

    quantity = "frobenius_norm"
    iterates = False

    def __init__(
        self,
        layer: Any = None,
        matrix: str = "kernel",
        every: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(layer, matrix, every, name)

    def value(self, operator: Any, estimate: Any) -> Any:
        return frobenius_norm(operator, self.matrix)


def _refuse_open_sizes(maps):
    for name, linear in maps.items():
        if len(linear.input_shape) > 1:
            raise ValueError(
                f"The operator of layer {name!r} is of one size of its input, which "
                'the model leaves open: measure the kernel, `matrix="kernel"`, or '
                "put the metric into `GeneralizationMonitor`, whose data has a size. "
                'Received: matrix="operator"'
            )


def _calling_model():
    """Returns the model whose training step updates a metric right now."""
    model = calling_model()
    if model is None:
        raise ValueError(
            "The metric does not know its model: call `metric.bind(model)`, or "
            "put it into `model.compile(metrics=[...])`."
        )
    if backend.name != "tensorflow":
        raise ValueError(
            "Keras hands no weights to the metrics of `compile` on this "
            "backend: put the metric into "
            "`tf_genbounds.callbacks.GeneralizationMonitor(metrics=[...])`. "
            f"Received: KERAS_BACKEND={backend.name}"
        )
    return model
