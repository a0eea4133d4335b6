"""Interlayer smoothness: how linear a network is about its pre-activations.

The noise is what compression makes of it: each kernel `A` is replaced by
`(1 / k) sum_l <A, M_l> M_l` with `k` Gaussian matrices `M_l` (algorithm 1 of
the compression paper), sampled in law without the matrices.
"""

import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.data.batches import tensors
from tf_genbounds.functional.interlayer import interlayer_smoothness
from tf_genbounds.functional.noise_stability import sample_norm
from tf_genbounds.functional.operators import LinearOperator
from tf_genbounds.functional.operators import root_of_squares
from tf_genbounds.functional.random import normals
from tf_genbounds.network.linear_map import perturbation

NOISES = ("projection", "gaussian")
# Norm of the Gaussian noise, over that of the pre-activation.
_RELATIVE_NORM = 0.1


class Smoothness:
    """Measures the interlayer smoothness of a network, a draw at a time.

    Args:
        network: `Network`.
        pairs: `Pair` by `(source, target)`.
        noise: `"projection"`: of the kernels of all maps up to the layer, and
            in every other draw of those before it, with as many matrices as
            the kernel has entries. `"gaussian"`: a proxy, Gaussian noise of
            a tenth of the norm of the pre-activation.
        num_draws: Integer.
        seed: Integer.
        xla: Boolean, whether to compile with XLA.
    """

    def __init__(self, network, pairs, *, noise, num_draws, seed, xla):
        self._network = network
        self._gaussian = noise == "gaussian"
        self._num_draws = num_draws
        self._seed = seed
        self._slice_pooling = not backend.pooling_has_jvp(xla)
        names = [n for n in network.maps if any(n in pair for pair in pairs)]
        self._maps = {name: network.maps[name] for name in names}
        self._targets = {
            name: [names.index(j) for i, j in pairs if i == name] for name in names
        }
        self._noise = backend.jit(self._noises, xla)
        self._step = backend.jit(self._smoothness, xla)

    @property
    def num_steps(self):
        """How often `advance` is called for a batch."""
        return self._num_draws * sum(map(bool, self._targets.values()))

    def __call__(self, values, batch, advance):
        """Measures a batch.

        Returns:
            Dict from a map's name to a float32 array of shape `(samples,
            draws)`: the least `rho` over the later maps that it reaches.
        """
        x = tensors(batch.x)
        sources = [name for name, later in self._targets.items() if later]
        found = {
            name: np.empty((batch.count, self._num_draws), "float32")
            for name in sources
        }
        for draw in range(self._num_draws):
            noises = self._noise(
                values, x, self._factors(values, draw), np.int32(draw),
                np.int32(batch.start),
            )  # fmt: skip
            for name in sources:
                mask = np.array([n == name for n in self._maps], "float32")
                rho = ops.convert_to_numpy(self._step(values, x, noises, mask))
                rho = rho[self._targets[name], : batch.count]
                found[name][:, draw] = rho.min(axis=0)
                advance()
        return found

    def _factors(self, values, draw):
        """Draws the noise of the kernels: the same for every batch.

        `Ahat - A` has the law of `(s - 1) A + ||A|| sqrt(s / k) Z`, with `s` a
        chi-square of `k` degrees over `k`, and `Z` a standard normal array
        less its part along `A`. Returned are pairs `(s, Z)`, `Z` whole.
        """
        if self._gaussian:
            return []
        factors = []
        with backend.stateless(self._network.model.variables, values):
            kernels = [linear.operator().kernel for linear in self._maps.values()]
        layers = [linear.layer for linear in self._maps.values()]
        for layer, kernel in zip(layers, kernels, strict=True):
            # The calls of a shared layer share its kernel, and its noise.
            index = layers.index(layer)
            generator = np.random.default_rng([self._seed, draw, index])
            count = int(np.prod(kernel.shape))
            factors.append(
                (
                    np.float32(generator.chisquare(count) / count),
                    generator.standard_normal(tuple(kernel.shape), "float32"),
                )
            )
        return factors

    def _noises(self, values, x, factors, draw, start):
        """Returns the noise `eta` at every map."""
        clean = self._run(values, x, {})
        if self._gaussian:
            positions = map(list(self._network.maps).index, self._maps)
            return [
                gaussian_noise(value, _RELATIVE_NORM, [self._seed, draw, k], start)
                for k, value in zip(positions, clean, strict=True)
            ]
        before, perturb = {}, {}

        def replace(k, linear):
            def change(v, x):
                before[k] = x
                with backend.stateless(self._network.model.variables, values):
                    operator = linear.operator()
                noise = _kernel_noise(operator.kernel, *factors[k])
                return LinearOperator(operator.structure, noise).matvec(v)

            return change

        for k, linear in enumerate(self._maps.values()):
            perturb |= perturbation(linear, replace(k, linear))
        noisy = self._run(values, x, perturb)
        # With and without the layer's own kernel replaced.
        own = ops.equal(draw % 2, 0)
        return [
            ops.where(own, noisy[k], before[k]) - clean[k] for k in range(len(clean))
        ]

    def _smoothness(self, values, x, noises, mask):
        """Returns `rho` of shape `(maps, samples)` of the noise at one map."""

        def run(size):
            perturb = {
                linear.tap: lambda inputs, x, k=k: size[k] * noises[k]
                for k, linear in enumerate(self._maps.values())
            }
            return self._run(values, x, perturb)

        clean, linear = backend.jvp(run, ops.zeros_like(mask), mask)
        moved = run(mask)
        own = ops.cast(mask, "bool")[:, None]

        def at_source(tensors):
            norms = ops.stack([sample_norm(t) for t in tensors])
            return ops.sum(ops.where(own, norms, 0.0), axis=0)

        noise, source = at_source(noises), at_source(clean)
        return ops.stack(
            [
                interlayer_smoothness(noise, source, *target)
                for target in zip(clean, moved, linear, strict=True)
            ]
        )

    def _run(self, values, x, perturb):
        _, calls = self._network.run(values, x, perturb, self._slice_pooling)
        return [calls[linear.tap].value for linear in self._maps.values()]


def _kernel_noise(kernel, s, z):
    """Returns `Ahat - A`, see `Smoothness._factors`."""
    norm = root_of_squares(kernel)
    unit = kernel / ops.where(norm > 0, norm, 1.0)
    count = int(np.prod(kernel.shape))
    across = z - unit * ops.sum(unit * z)
    return (s - 1) * kernel + norm * ops.sqrt(s / count) * across


def gaussian_noise(tensor, relative_norm, seeds, start):
    """Returns noise of uniform direction for every sample of a batch.

    Args:
        tensor: `(samples, ...)`, what the noise will be added to.
        relative_norm: Its norm over that of the sample.
        seeds: List of integers, what the draw depends on.
        start: Integer, the position of the first sample in the data.
    """
    index = ops.arange(tensor.shape[0], dtype="int32") + start
    noise = normals([*seeds, index], int(np.prod(tensor.shape[1:])))
    scale = relative_norm * sample_norm(tensor) / sample_norm(noise)
    return ops.reshape(noise * scale[:, None], tensor.shape)
