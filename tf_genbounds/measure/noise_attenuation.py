"""Noise attenuation: how fast noise at one layer dies out in the next ones."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.bounds.result import Result
from tf_genbounds.bounds.result import from_plain
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_positive
from tf_genbounds.data.batches import batches
from tf_genbounds.data.batches import tensors
from tf_genbounds.functional.noise_stability import ratio
from tf_genbounds.functional.noise_stability import sample_norm
from tf_genbounds.measure.smoothness import gaussian_noise
from tf_genbounds.network.linear_map import perturbation
from tf_genbounds.network.network import Network

_QUANTILES = (0.1, 0.5, 0.9)


@dataclasses.dataclass(frozen=True)
class NoiseAttenuation(Result):
    """What `noise_attenuation` found.

    Attributes:
        model: Name of the model.
        layers: Names of the linear maps, in the order of the calls.
        errors: By `(i, j)`, the relative error `||x'^j - x^j|| / ||x^j||` that
            noise at layer `i` makes of the pre-activation of layer `j`: its
            mean over samples and draws, then its 10 %, 50 % and 90 %
            quantiles.
        relative_norm: Norm of the noise, over that of what it is added to.
        at: `"input"` or `"pre_activation"`: what it is added to.
        num_samples: Number of samples.
        num_draws: Number of draws of the noise for each.
    """

    model: str
    layers: tuple
    errors: dict
    relative_norm: float
    at: str
    num_samples: int
    num_draws: int

    def curve(self, source):
        """Returns the later layers, and the mean error at each.

        Args:
            source: Name of the layer with the noise.

        Returns:
            A pair of lists.
        """
        check_choice("source", source, self.layers)
        targets = [j for j in self.layers if (source, j) in self.errors]
        return targets, [self.errors[source, j][0] for j in targets]

    def _fields(self):
        errors = [[*k, *v] for k, v in self.errors.items()]
        return super()._fields() | {"errors": errors}

    @classmethod
    def _of(cls, fields):
        errors = {
            (i, j): tuple(map(from_plain, numbers))
            for i, j, *numbers in fields["errors"]
        }
        return cls(**fields | {"errors": errors, "layers": tuple(fields["layers"])})


def noise_attenuation(
    model: keras.Model,
    data: Any,
    *,
    relative_norm: float = 0.1,
    at: str = "input",
    num_samples: int = 64,
    num_draws: int = 4,
    batch_size: int = 128,
    seed: int = 0,
) -> NoiseAttenuation:
    """Adds noise at one layer, and follows it through the later ones.

    For each layer `i`, Gaussian noise with the direction uniform and the norm
    `relative_norm ||v||` is added to the layer's input `v`, and the relative
    errors `||x'^j - x^j|| / ||x^j||` of the pre-activations of all later
    layers are recorded: figure 1 of the compression paper. A network that
    generalizes tends to attenuate noise.

    Args:
        model: A built Keras model.
        data: Any data that `tf_genbounds.measure` takes; labels play no part.
        relative_norm: Positive number.
        at: `"input"` of the layer, as in the paper, or `"pre_activation"`.
        num_samples: Integer, how many samples of the data, or `None` for all.
        num_draws: Integer, draws of the noise for each sample.
        batch_size: Integer, for arrays.
        seed: Integer, of the noise; the same on every backend.

    Returns:
        `NoiseAttenuation`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    The identity keeps the noise as it is.

    >>> model = keras.Sequential(
    ...     [keras.Input((3,)), keras.layers.Dense(3, use_bias=False)]
    ... )
    >>> model.set_weights([np.eye(3)])
    >>> result = noise_attenuation(model, np.ones((2, 3)))
    >>> round(result.errors["dense", "dense"][0], 6)
    0.1

    References:
        - [Arora et al., 2018](https://arxiv.org/abs/1802.05296), figure 1.
    """
    if not relative_norm > 0:
        raise ValueError(
            f"`relative_norm` must be positive. Received: relative_norm={relative_norm}"
        )
    check_choice("at", at, ("input", "pre_activation"))
    check_positive("num_draws", num_draws)
    limits = {"num_samples": num_samples, "batch_size": batch_size}
    first = tensors(next(batches(data, **limits)).x)
    network = Network.of(
        model,
        keras.tree.map_structure(lambda t: keras.KerasTensor(t.shape, t.dtype), first),
    )
    maps = network.choose()
    names = list(maps)
    step = backend.jit(_step(network, maps, relative_norm, at, seed))
    reached = {
        name: [name, *(j for i, j in network.pairs if i == name)] for name in names
    }
    values = backend.values(model.variables)
    found = {}
    samples = 0
    for batch in batches(data, **limits):
        samples += batch.count
        for draw in range(num_draws):
            for k, name in enumerate(names):
                mask = np.eye(len(names), dtype="float32")[k]
                errors = ops.convert_to_numpy(
                    step(
                        values, tensors(batch.x), mask, np.int32(draw),
                        np.int32(batch.start),
                    )
                )  # fmt: skip
                for target in reached[name]:
                    found.setdefault((name, target), []).append(
                        errors[names.index(target), : batch.count]
                    )
    return NoiseAttenuation(
        model=model.name,
        layers=tuple(names),
        errors={
            pair: _statistics(np.concatenate(parts)) for pair, parts in found.items()
        },
        relative_norm=float(relative_norm),
        at=at,
        num_samples=samples,
        num_draws=num_draws,
    )


def _step(network, maps, relative_norm, at, seed):
    def errors(values, x, mask, draw, start):
        """Relative errors, `(maps, samples)`, of noise where `mask` is 1."""

        def noise(k, tensor):
            norm = mask[k] * relative_norm
            return gaussian_noise(tensor, norm, [seed, draw, k], start)

        def change(k, linear):
            def at_input(v, _):
                with backend.stateless(network.model.variables, values):
                    operator = linear.operator()
                return operator.matvec(noise(k, ops.cast(v, "float32")))

            return at_input if at == "input" else lambda _, x: noise(k, x)

        perturb = {}
        for k, linear in enumerate(maps.values()):
            perturb |= perturbation(linear, change(k, linear))
        _, clean = network.run(values, x)
        _, noisy = network.run(values, x, perturb)
        return ops.stack(
            [
                _relative(clean[linear.tap].value, noisy[linear.tap].value)
                for linear in maps.values()
            ]
        )

    return errors


def _relative(clean, noisy):
    error = sample_norm(noisy - clean)
    # Nothing that stays nothing has no error.
    return ops.where(error == 0, 0.0, ratio(error, sample_norm(clean)))


def _statistics(values):
    return tuple(float(v) for v in (np.mean(values), *np.quantile(values, _QUANTILES)))
