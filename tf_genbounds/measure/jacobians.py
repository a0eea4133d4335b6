"""Interlayer cushions: compiled products with the Jacobians between layers.

`J^{i,j}` is the derivative of the pre-activation `x^j` in a perturbation of
`x^i`. It is never formed. `||J x^i||` for every `j` is one forward derivative;
`J^T v` for every `i` is one backward pass from `x^j`; and for random signs `v`
the mean of `||J^T v||^2` is `||J||_F^2`.
"""

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.data.batches import rows
from tf_genbounds.data.batches import tensors
from tf_genbounds.functional.noise_stability import sample_norm
from tf_genbounds.functional.random import signs

# Targets are compiled in so many groups at most: a deep network does not
# compile once for each layer, and a backward pass is at most 1 / 8 too long.
_NUM_GROUPS = 8


class Jacobians:
    """Measures the Jacobians between the linear maps of a network.

    Args:
        network: `Network`.
        pairs: `Pair` by `(source, target)`.
        num_probes: Integer, random vectors for each norm.
        exact: Boolean, whether to take basis vectors in their place. They are
            taken anyway where they are not more.
        seed: Integer, of the random vectors.
        xla: Boolean, whether to compile with XLA.
    """

    def __init__(self, network, pairs, *, num_probes, exact, seed, xla):
        self._network = network
        self._num_probes = num_probes
        self._exact = exact
        self._seed = seed
        self._xla = xla
        self._slice_pooling = not backend.pooling_has_jvp(xla)
        names = [n for n in network.maps if any(n in pair for pair in pairs)]
        self._maps = {name: network.maps[name] for name in names}
        self._sources = {name: [i for i, j in pairs if j == name] for name in names}
        targets = [name for name in names if self._sources[name]]
        parts = np.array_split(targets, min(_NUM_GROUPS, len(targets)) or 1)
        self._groups = [[str(name) for name in part] for part in parts]
        self._forward = backend.jit(self._images, xla)
        self._backward = [
            backend.jit(self._products(group), xla) for group in self._groups
        ]

    def num_probes(self, target):
        """Random vectors for each norm, `None` if the norm is exact."""
        size = _size(self._maps[target])
        return None if self._exact or size <= self._num_probes else self._num_probes

    def num_steps(self, batch_size):
        """How often `advance` is called for a batch of this size."""
        parts = -(-batch_size // self._samples(batch_size))
        return parts * sum(map(len, self._groups))

    def __call__(self, values, batch, advance):
        """Measures a batch.

        Args:
            values: Tensors for the variables of the model.
            batch: `Batch`.
            advance: Function that is called after each part of the work.

        Returns:
            Dict from `(source, target)` to a dict of float32 arrays of shape
            `(samples,)`: `cushion`; `error`, its standard error; `spread`,
            the largest share of `||J||_F` at a pixel, times the root of
            their number.
        """
        found = self._all_images(values, batch)
        count = self._samples(len(batch))
        for start in range(0, len(batch), count):
            part = rows(batch, start, count)
            for group, products in zip(self._groups, self._backward, strict=True):
                for target in group:
                    if part.count > 0:
                        sums = self._sums(values, part, group, target, products)
                        for pair, numbers in sums.items():
                            for key, number in numbers.items():
                                stop = start + part.count
                                found[pair][key][start:stop] = number[: part.count]
                    advance()
        return {
            (source, target): _cushion(
                **numbers, num_pixels=self._maps[source].num_pixels
            )
            for (source, target), numbers in found.items()
        }

    def _samples(self, batch_size):
        """Samples at a time, so that with all probes they make a batch."""
        return max(1, batch_size // self._num_probes)

    def _all_images(self, values, batch):
        """Returns the forward half, with room for the other."""
        x = tensors(batch.x)
        names = list(self._maps)
        found = {}
        for i, source in enumerate(names):
            targets = [j for j in names if source in self._sources[j]]
            if not targets:
                continue
            mask = np.eye(len(names), dtype="float32")[i]
            norms, images = map(ops.convert_to_numpy, self._forward(values, x, mask))
            for target in targets:
                found[source, target] = {
                    "image": images[names.index(target), : batch.count],
                    "norm": norms[i, : batch.count],
                    **{
                        key: np.empty(batch.count, "float64")
                        for key in ("square", "error", "spread")
                    },
                }
        return found

    def _images(self, values, x, mask):
        """Norms of every `x^j`, and of its derivative along `x^i`.

        `mask` is 1 at the one `i`. With `x^i` scaled to `(1 + t) x^i` the
        derivative in `t` is `J^{i,j} x^i`.
        """

        def run(scale):
            perturb = {
                linear.tap: lambda inputs, x, k=k: x * scale[k]
                for k, linear in enumerate(self._maps.values())
            }
            return self._taps(values, x, perturb)

        found, images = backend.jvp(run, ops.zeros_like(mask), mask)
        return (
            ops.stack([sample_norm(t) for t in found]),
            ops.stack([sample_norm(t) for t in images]),
        )

    def _taps(self, values, x, perturb):
        _, calls = self._network.run(values, x, perturb, self._slice_pooling)
        return [calls[linear.tap].value for linear in self._maps.values()]

    def _sums(self, values, part, group, target, products):
        """Squared norms from the products with enough vectors."""
        mask = np.array([name == target for name in group], "float32")
        x = tensors(part.x)
        size, probes = _size(self._maps[target]), self._num_probes
        exact = self.num_probes(target) is None
        total = None
        for first in range(0, size if exact else 1, probes):
            sums = products(
                values, x, mask, np.int32(first), np.int32(part.start),
                np.bool_(exact),
            )  # fmt: skip
            sums = {name: _unscaled(*parts) for name, parts in sums.items()}
            total = (
                sums if total is None else keras.tree.map_structure(np.add, total, sums)
            )
        found = {}
        for source in self._sources[target]:
            pixels, squares = total[source]
            # A basis is summed over; random vectors are averaged.
            pixels = pixels if exact else pixels / probes
            mean = pixels.sum(axis=1)
            if exact:
                error = np.zeros_like(mean)
            elif probes == 1:
                error = np.full_like(mean, np.nan)
            else:
                variance = np.maximum(squares / probes - mean**2, 0)
                error = np.sqrt(variance / (probes - 1))
            # NaN is neither above 0 nor 0, and stays.
            share = pixels.max(axis=1) / np.where(mean == 0, 1, mean)
            found[source, target] = {
                "square": mean,
                "error": error,
                "spread": np.where(mean == 0, 0, share * pixels.shape[1]),
            }
        return found

    def _products(self, group):
        """Returns the backward step of a group of targets."""
        linear = [self._maps[name] for name in group]
        sources = [
            name
            for name in self._maps
            if any(name in self._sources[target] for target in group)
        ]

        def products(values, x, mask, first, start, exact):
            """Products with `J^T` of the target at which `mask` is 1."""
            probes = self._num_probes
            samples = keras.tree.flatten(x)[0].shape[0]
            tiled = keras.tree.map_structure(lambda t: ops.repeat(t, probes, axis=0), x)
            index = ops.repeat(ops.arange(samples, dtype="int32"), probes) + start
            probe = ops.tile(ops.arange(probes, dtype="int32"), (samples,))

            def run(changes):
                perturb = {
                    self._maps[name].tap: lambda inputs, x, change=change: change
                    for name, change in zip(sources, changes, strict=True)
                }
                _, calls = self._network.run(values, tiled, perturb)
                return [calls[target.tap].value for target in linear]

            vectors = []
            for k, target in enumerate(linear):
                size = _size(target)
                position = list(self._network.maps).index(target.name)
                basis = ops.cast(
                    (probe + first)[:, None] == ops.arange(size, dtype="int32"),
                    "float32",
                )
                random = signs([self._seed, position, index, probe], size)
                vector = ops.where(exact, basis, random) * mask[k]
                vectors.append(ops.reshape(vector, (-1, *target.output_shape)))
            changes = [
                ops.zeros((samples * probes, *self._maps[name].output_shape))
                for name in sources
            ]
            gradients = backend.vjp(run, changes, vectors)
            return {
                name: _pixel_sums(self._maps[name], gradient, probes)
                for name, gradient in zip(sources, gradients, strict=True)
            }

        return products


def _pixel_sums(linear, gradient, probes):
    """Sums of squares over channels and probes, and of the totals' squares.

    Of the gradient over a scale, which comes third: a float32 square vanishes
    below 1e-23, and the Jacobian of a deep network is soon there.
    """
    rows = gradient.shape[0]
    largest = ops.max(ops.abs(ops.reshape(gradient, (rows // probes, -1))), axis=1)
    scale = ops.where(largest > 0, largest, 1.0)
    shape = (rows, *[1] * (len(gradient.shape) - 1))
    gradient = gradient / ops.reshape(ops.repeat(scale, probes), shape)
    squares = linear.pixel_sums(ops.square(gradient))
    squares = ops.reshape(squares, (-1, probes, linear.num_pixels))
    totals = ops.sum(squares, axis=2)
    return ops.sum(squares, axis=1), ops.sum(ops.square(totals), axis=1), scale


def _unscaled(pixels, squares, scale):
    pixels, squares, scale = (
        ops.convert_to_numpy(t).astype("float64") for t in (pixels, squares, scale)
    )
    return pixels * scale[:, None] ** 2, squares * scale**4


def _cushion(image, norm, square, error, spread, num_pixels):
    """Returns the cushion, with the error that the random vectors make."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(square) * norm
        cushion = np.sqrt(num_pixels) * image / scale
        cushion = np.where(scale == 0, np.inf, cushion)
        # Half, since the norm is the root of what was estimated.
        error = np.where(square == 0, 0.0, cushion * error / (2 * square))
    return {
        "cushion": cushion.astype("float32"),
        "error": error.astype("float32"),
        "spread": np.sqrt(spread).astype("float32"),
    }


def _size(linear):
    return int(np.prod(linear.output_shape))
