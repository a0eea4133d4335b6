"""The compiled steps behind `measure`, kept for a second measurement."""

import contextlib
import functools
import sys

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_positive
from tf_genbounds.data.batches import batches
from tf_genbounds.data.batches import num_batches
from tf_genbounds.data.batches import tensors
from tf_genbounds.data.forms import in_batches
from tf_genbounds.functional.noise_stability import sample_norm
from tf_genbounds.measure import weight_norms
from tf_genbounds.measure.decided_margins import DecidedMargins
from tf_genbounds.measure.decided_margins import look_like_probabilities
from tf_genbounds.measure.decision import specs
from tf_genbounds.measure.jacobians import Jacobians
from tf_genbounds.measure.quantities import ALL
from tf_genbounds.measure.quantities import OF_PAIRS
from tf_genbounds.measure.quantities import OF_SAMPLES
from tf_genbounds.measure.samples import sample_quantities
from tf_genbounds.measure.smoothness import NOISES
from tf_genbounds.measure.smoothness import Smoothness
from tf_genbounds.measure.summary import summarize
from tf_genbounds.network.initial_weights import initial_values
from tf_genbounds.network.model import check_built
from tf_genbounds.network.model import check_shapes
from tf_genbounds.network.model import sizes_may_vary
from tf_genbounds.network.network import Network


class Measurer:
    """A measurement that can be repeated: compiled once, started warm.

    After the weights of the model have changed, a second call needs no new
    compilation, and the power iterations go on from where they were.

    Args:
        model: A built Keras model.
        quantities: See `measure`; so are the other arguments.
    """

    def __init__(
        self,
        model,
        *,
        quantities=None,
        layers=None,
        output=None,
        threshold=None,
        bias="ignore",
        num_probes=16,
        exact=False,
        noise="projection",
        num_draws=4,
        initial_weights=None,
        seed=0,
        jit_compile=False,
    ):
        check_built(model)
        check_choice("bias", bias, ("ignore", "error"))
        check_choice("noise", noise, NOISES)
        check_positive("num_probes", num_probes)
        check_positive("num_draws", num_draws)
        if quantities is not None and not len(quantities):
            raise ValueError(
                "`quantities` must name at least one, or be None for all. "
                f"Received: quantities={quantities}"
            )
        for quantity in quantities or ():
            check_choice("quantity", quantity, ALL)
        self.model = model
        self.initial = None
        if initial_weights is not None:
            self.initial = initial_values(model, initial_weights)
        self._quantities = quantities
        self._layers = layers
        self._output = output
        self._threshold = threshold
        self._bias = bias
        self._seed = seed
        self._xla = jit_compile
        self._jacobian_options = {"num_probes": num_probes, "exact": exact}
        self._noise_options = {"noise": noise, "num_draws": num_draws}
        self._network = None

    def __call__(self, data, *, num_samples=None, batch_size=128, verbose=0):
        """Measures the model as it is now; returns `Measurements`."""
        limits = {"num_samples": num_samples, "batch_size": batch_size}
        if self._network is None:
            self.prepare(data, **limits)
        variables = self.model.variables
        values = backend.values(variables)
        parts, shapes = [], None
        one_size = not in_batches(data) or not sizes_may_vary(self.model)
        with _progress(verbose, num_batches(data, **limits)) as progress:
            for batch in batches(data, **limits):
                shapes = self._largest_shapes(batch, shapes)
                if self._of_data:
                    advance = progress(1 + self._num_steps(len(batch)))
                    parts.append(self._measure_batch(values, batch, advance))
                elif one_size:
                    break
        if shapes != self._shapes:
            self._resize(shapes)
        per_sample = {
            key: np.concatenate([part[key] for part in parts])
            for key in (parts[0] if parts else ())
        }
        return summarize(
            self._network,
            self._maps,
            self._weight_norms(variables, values, self.initial),
            per_sample,
            wanted=self._wanted,
            margins=self._margins,
            pairs=self._pairs,
            jacobians=self._jacobians,
            settings={
                "model": self.model.name,
                "bias": self._bias,
                "dtype": "float32",
                "seed": self._seed,
                **(self._jacobian_options if self._jacobians else {}),
                **(self._noise_options if self._smoothness else {}),
            },
        )

    def check(self, data, *, num_samples=None, batch_size=128):
        """Prepares, and refuses data of which any sample does not fit."""
        limits = {"num_samples": num_samples, "batch_size": batch_size}
        self.prepare(data, **limits)
        if not self._of_data:
            return
        for batch in batches(data, **limits):
            if self._margins is not None:
                self._margins.labels(batch)

    def _largest_shapes(self, batch, shapes):
        """Returns the largest shape so far of each input."""
        new = [a.shape for a in keras.tree.flatten(batch.x)]
        if self._pairs and new != self._shapes:
            raise ValueError(
                "Between layers only inputs of one size can be measured: measure "
                "each size by itself, or leave these quantities out of "
                f"`quantities`. Received: inputs of shape {self._shapes} and {new}"
            )
        if shapes is None:
            return new
        return [tuple(map(max, a, b)) for a, b in zip(shapes, new, strict=True)]

    def _resize(self, shapes):
        """Makes the operators those of inputs of these shapes.

        Kernels are the same for every size. Operators are not, and of which size
        they are must not depend on which batch comes first.
        """
        inputs = [
            keras.KerasTensor(shape, t.dtype)
            for shape, t in zip(
                shapes, keras.tree.flatten(self._network.inputs), strict=True
            )
        ]
        inputs = keras.tree.pack_sequence_as(self._network.inputs, inputs)
        maps = Network.of(self.model, inputs, self._output).maps
        self._maps = {name: maps[name] for name in self._maps}
        self._weight_norms = weight_norms.WeightNorms(
            self._maps, self._wanted, self._seed
        )
        self._shapes = shapes

    def prepare(self, data, *, num_samples=None, batch_size=128):
        """Reads the network off the first batch; runs nothing."""
        batch = next(batches(data, num_samples=num_samples, batch_size=batch_size))
        check_shapes(self.model, batch.x)
        self._shapes = [a.shape for a in keras.tree.flatten(batch.x)]
        network = Network.of(
            self.model,
            specs(tensors(batch.x)),
            self._output,
        )
        wanted = set(self._quantities or ALL)
        # Margins are of the outputs: any network has them.
        maps = {} if wanted == {"margins"} else network.choose(self._layers)
        if self._bias == "error":
            _refuse_bias(maps)
        if batch.y is None:
            if self._quantities and "margins" in wanted:
                raise ValueError(
                    "Margins need labels: pass a pair `(x, y)`. "
                    f"Received: quantities={self._quantities}"
                )
            wanted.discard("margins")
        self._margins = None
        if "margins" in wanted:
            self._margins = DecidedMargins(network, self._threshold)
        self._maps, self._wanted = maps, wanted
        self._of_data = wanted.intersection(OF_SAMPLES + OF_PAIRS)
        self._sample_step = backend.jit(
            functools.partial(sample_quantities, network, maps, wanted), self._xla
        )
        self._weight_norms = weight_norms.WeightNorms(maps, wanted, self._seed)
        self._pairs, self._jacobians, self._smoothness = {}, None, None
        shared = {"seed": self._seed, "xla": self._xla}
        if wanted.intersection(OF_PAIRS):
            self._pairs = {
                names: pair
                for names, pair in network.pairs.items()
                if maps.keys() >= set(names)
            }
        if wanted & {"interlayer_cushion", "jacobian_spread"}:
            self._jacobians = Jacobians(
                network, self._pairs, **self._jacobian_options, **shared
            )
        if "interlayer_smoothness" in wanted:
            self._smoothness = Smoothness(
                network, self._pairs, **self._noise_options, **shared
            )
        self._network = network

    def _num_steps(self, batch_size):
        steps = 0
        if self._jacobians is not None:
            steps += self._jacobians.num_steps(batch_size)
        if self._smoothness is not None:
            steps += self._smoothness.num_steps
        return steps

    def _measure_batch(self, values, batch, advance):
        """Returns the per-sample quantities of a batch, without padding."""
        logits, outputs, found = self._sample_step(values, tensors(batch.x))
        advance()
        found = {key: ops.convert_to_numpy(value) for key, value in found.items()}
        if any(len(value) != len(batch) for value in found.values()):
            # Seen here only where the graph does not know the batch size.
            raise ValueError(
                "Each layer must have a row for each sample. "
                f"Received: model={self.model.name!r}"
            )
        found = {key: value[: batch.count] for key, value in found.items()}
        logits = ops.convert_to_numpy(logits)[: batch.count]
        found["output_norm"] = ops.convert_to_numpy(sample_norm(logits))
        norms = _input_norms(batch.x)
        if norms is not None:
            found["input_norm"] = norms[: batch.count]
        if self._margins is not None:
            outputs = ops.convert_to_numpy(outputs)[: batch.count]
            found["margins"] = self._margins(logits, outputs, batch)
            found["probable"] = look_like_probabilities(logits)
        if self._jacobians is not None:
            found.update(self._pair_quantities(values, batch, advance))
        if self._smoothness is not None:
            smoothness = self._smoothness(values, batch, advance)
            for name, rho in smoothness.items():
                found["interlayer_smoothness", name] = rho
        return found

    def _pair_quantities(self, values, batch, advance):
        """Cushions and spreads, of pairs and of layers."""
        found = {}
        pairs = self._jacobians(values, batch, advance)
        for (source, target), numbers in pairs.items():
            cushion, spread = numbers["cushion"], numbers["spread"]
            found["interlayer_cushion", (source, target)] = cushion
            found["standard_error", (source, target)] = numbers["error"]
            for quantity, value, merge in (
                ("unclipped_interlayer_cushion", cushion, np.minimum),
                ("jacobian_spread", spread, np.maximum),
            ):
                key = quantity, source
                found[key] = merge(found[key], value) if key in found else value
        return found


def _input_norms(x):
    """Returns the norm of each input, `None` for tokens and the like."""
    parts = keras.tree.flatten(tensors(x))
    if not all("float" in keras.backend.standardize_dtype(p.dtype) for p in parts):
        return None
    norms = [ops.convert_to_numpy(sample_norm(ops.cast(p, "float32"))) for p in parts]
    return functools.reduce(np.hypot, norms)


def _refuse_bias(maps):
    for linear in maps.values():
        if getattr(linear.layer, "bias", None) is not None:
            raise ValueError(
                f'Layer {linear.name!r} has a bias, which `bias="error"` '
                'refuses; `bias="ignore"` measures its kernel alone.'
            )


@contextlib.contextmanager
def _progress(verbose, total):
    """Yields a function from the steps of a batch to what counts one step."""
    if verbose == "auto":
        verbose = sys.stdout.isatty()
    if not verbose:
        yield lambda steps: lambda: None
        return
    bar = None

    def progress(steps):
        nonlocal bar
        if bar is None:
            bar = keras.utils.Progbar(
                None if total is None else total * steps, unit_name="step"
            )
        return lambda: bar.add(1)

    yield progress
