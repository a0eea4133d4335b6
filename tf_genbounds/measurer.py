"""The compiled steps behind `measure`, kept for a second measurement."""

import contextlib
import functools
import sys

import keras
import numpy as np
from keras import ops

from tf_genbounds import backend
from tf_genbounds.batches import batches, class_indices, num_batches
from tf_genbounds.functional.margins import margins
from tf_genbounds.functional.noise_stability import (
    activation_contraction,
    layer_cushion,
)
from tf_genbounds.functional.spectral import frobenius_norm, spectral_norm
from tf_genbounds.measurements import (
    LayerMeasurements,
    Measurements,
    check_choice,
)
from tf_genbounds.linear_map import activation_tensors
from tf_genbounds.network import Network, check_built

OF_WEIGHTS = ("spectral_norm", "frobenius_norm", "stable_rank")
OF_SAMPLES = ("layer_cushion", "activation_contraction", "margins")


class Measurer:
    """A measurement that can be repeated: compiled once, started warm.

    After the weights of the model have changed, a second call needs no new
    compilation, and the power iterations go on from where they were.

    Args:
        model: A built Keras model.
        quantities: See `measure`; so are the other arguments.
        layers: List of layer names, or `None`.
        bias: `"ignore"` or `"error"`.
        seed: Integer.

    Raises:
        ValueError: If the model is not built, or a name is unknown.
    """

    def __init__(
        self, model, *, quantities=None, layers=None, bias="ignore", seed=0
    ):
        check_built(model)
        check_choice("bias", bias, ("ignore", "error"))
        for quantity in quantities or ():
            check_choice("quantity", quantity, OF_WEIGHTS + OF_SAMPLES)
        self.model = model
        self.quantities = quantities
        self.layers = layers
        self.bias = bias
        self.seed = seed
        self._network = None
        self._vectors = {}  # Where the power iterations stand.

    def __call__(self, data, *, num_samples=None, batch_size=128, verbose=0):
        """Measures the model as it is now; returns `Measurements`."""
        limits = {"num_samples": num_samples, "batch_size": batch_size}
        if self._network is None:
            self.prepare(data, **limits)
        values = backend.values(self.model.variables)
        parts = []
        with _progress(verbose, num_batches(data, **limits)) as advance:
            for batch in batches(data, **limits):
                if not self._wanted.intersection(OF_SAMPLES):
                    break
                parts.append(self._samples(values, batch))
                advance()
        per_sample = {
            key: np.concatenate([part[key] for part in parts])
            for key in (parts[0] if parts else ())
        }
        return self._result(self._weights(values), per_sample)

    def prepare(self, data, *, num_samples=None, batch_size=128):
        """Reads the network off the first batch; runs nothing."""
        batch = next(
            batches(data, num_samples=num_samples, batch_size=batch_size)
        )
        _check_shapes(self.model, batch.x)
        network = Network.of(
            self.model,
            keras.tree.map_structure(
                lambda a: keras.KerasTensor(a.shape, _dtype(a)), batch.x
            ),
        )
        maps = network.choose(self.layers)
        if self.bias == "error":
            _refuse_bias(maps)
        wanted = set(self.quantities or OF_WEIGHTS + OF_SAMPLES)
        if batch.y is None:
            if self.quantities and "margins" in wanted:
                raise ValueError(
                    "Margins need labels: pass a pair `(x, y)`. "
                    f"Received: quantities={self.quantities}"
                )
            wanted.discard("margins")
        if "margins" in wanted:
            network.check_classifier()
        self._maps, self._wanted = maps, wanted
        self._sample_step = backend.jit(self._sample_quantities)
        self._network = network

    def _samples(self, values, batch):
        """Returns the per-sample quantities of a batch, without padding."""
        x = keras.tree.map_structure(
            lambda a: ops.convert_to_tensor(a, _dtype(a)), batch.x
        )
        found = {
            key: ops.convert_to_numpy(value)[: batch.count]
            for key, value in self._sample_step(values, x).items()
        }
        if "margins" in self._wanted:
            logits = found.pop("logits")
            labels = batch.y[: batch.count]
            labels = class_indices(labels, logits.shape[1], batch.start)
            found["margins"] = ops.convert_to_numpy(margins(logits, labels))
            found["probable"] = _look_like_probabilities(logits)
        return found

    def _sample_quantities(self, values, x):
        """The step over data: every per-sample quantity of one batch."""
        logits, calls = self._network.run(values, x)
        found = {}
        with backend.stateless(self.model.variables, values):
            for name, linear in self._maps.items():
                call = calls[linear.key]
                if "layer_cushion" in self._wanted:
                    found[f"layer_cushion/{name}"] = layer_cushion(
                        linear.operator(),
                        call.inputs[0],
                        outputs=linear.outputs(call),
                    )
                if "activation_contraction" in self._wanted and (
                    linear.activations
                ):
                    found[f"activation_contraction/{name}"] = functools.reduce(
                        ops.maximum,
                        [
                            activation_contraction(
                                *activation_tensors(calls[key])
                            )
                            for key in linear.activations
                        ],
                    )
        if "margins" in self._wanted:
            found["logits"] = ops.cast(logits, "float32")
        return found

    def _weights(self, values):
        """Returns the norms of each layer's matrices, as floats."""
        found = {}
        if not self._wanted.intersection(OF_WEIGHTS):
            return found
        with backend.stateless(self.model.variables, values):
            for name, linear in self._maps.items():
                operator = linear.operator()
                found[name] = _norms(
                    *(
                        self._matrix_norms(name, operator, matrix)
                        for matrix in ("kernel", "operator")
                    ),
                    self._wanted,
                )
        return found

    def _matrix_norms(self, name, operator, matrix):
        norms = {"frobenius_norm": float(frobenius_norm(operator, matrix))}
        if self._wanted & {"spectral_norm", "stable_rank"}:
            estimate = spectral_norm(
                operator,
                matrix,
                start=self._vectors.get((name, matrix)),
                seed=self.seed,
            )
            self._vectors[name, matrix] = estimate.vectors
            norms["spectral_norm"] = float(estimate.value)
            norms["converged"] = bool(estimate.converged)
        return norms

    def _result(self, weights, per_sample):
        """Puts the numbers of both steps together."""
        layers, distributions = {}, {}
        for name, linear in self._maps.items():
            scalars = {}
            cushion = per_sample.get(f"layer_cushion/{name}")
            if cushion is not None:
                distributions["layer_cushion", name] = cushion
                # Minimum, since the definition asks for every sample.
                scalars["layer_cushion"] = float(np.min(cushion))
                scalars["num_degenerate"] = int(np.isposinf(cushion).sum())
            contraction = per_sample.get(f"activation_contraction/{name}")
            if contraction is not None:
                distributions["activation_contraction", name] = contraction
                scalars["activation_contraction"] = float(np.max(contraction))
            elif linear.activations == () and (
                "activation_contraction" in self._wanted
            ):
                scalars["activation_contraction"] = 1.0
            layers[name] = LayerMeasurements(
                **linear.facts(), **scalars, **weights.get(name, {})
            )
        found = {}
        notes = list(self._network.notes)
        if "margins" in self._wanted:
            found["margins"] = per_sample["margins"]
            # Counted, since a float32 mean is not a multiple of 1 / m.
            found["train_error"] = float(np.mean(~(found["margins"] > 0)))
            if per_sample["probable"].all():
                notes.append(
                    "Every output is a probability vector: if the model ends "
                    "in a softmax, the margins are not those of the logits."
                )
        return Measurements(
            layers=layers,
            num_samples=len(next(iter(per_sample.values()), ())),
            unsupported=self._network.unsupported,
            notes=tuple(notes),
            settings={
                "model": self.model.name,
                "bias": self.bias,
                "dtype": "float32",
                "seed": self.seed,
            },
            distributions=distributions,
            **found,
        )


def _norms(kernel, operator, wanted):
    """Names the norms of both matrices as `LayerMeasurements` does."""
    fields = {}
    if "frobenius_norm" in wanted:
        fields["frobenius_norm"] = kernel["frobenius_norm"]
        fields["operator_frobenius_norm"] = operator["frobenius_norm"]
    if "spectral_norm" in wanted:
        fields["spectral_norm"] = operator["spectral_norm"]
        fields["kernel_spectral_norm"] = kernel["spectral_norm"]
    if "stable_rank" in wanted:
        fields["stable_rank"] = _stable_rank(kernel)
        fields["operator_stable_rank"] = _stable_rank(operator)
    if "converged" in kernel:
        fields["converged"] = bool(
            kernel["converged"] and operator["converged"]
        )
    return fields


def _stable_rank(norms):
    if norms["spectral_norm"] == 0:
        return 0.0
    return (norms["frobenius_norm"] / norms["spectral_norm"]) ** 2


def _look_like_probabilities(logits):
    """Whether each row lies in [0, 1] and sums to 1."""
    return (
        (logits >= 0).all(axis=1)
        & (np.abs(logits.sum(axis=1) - 1) < 1e-3)
        & (logits.shape[1] > 1)
    )


def _dtype(array):
    """Floats enter a measurement as float32; integers as they are."""
    return "float32" if array.dtype.kind in "fb" else str(array.dtype)


def _check_shapes(model, x):
    """Refuses data that does not fit the inputs of a Functional model."""
    expected = [t.shape for t in getattr(model, "inputs", None) or ()]
    shapes = [a.shape for a in keras.tree.flatten(x)]
    if not expected or (
        len(shapes) == len(expected)
        and all(map(_fits, shapes, expected))
    ):
        return
    raise ValueError(
        f"`x` must fit the model's inputs of shape {expected}. "
        f"Received: shape {[(None, *shape[1:]) for shape in shapes]}"
    )


def _fits(shape, expected):
    # Keras adds or drops a last axis of size 1, so that is no mistake.
    if len(shape) == len(expected) - 1:
        shape = (*shape, 1)
    elif len(shape) == len(expected) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    return len(shape) == len(expected) and all(
        e is None or e == s
        for s, e in zip(shape[1:], expected[1:], strict=True)
    )


def _refuse_bias(maps):
    for linear in maps.values():
        if getattr(linear.layer, "bias", None) is not None:
            raise ValueError(
                f"Layer {linear.name!r} has a bias, which `bias=\"error\"` "
                "refuses; `bias=\"ignore\"` measures its kernel alone."
            )


@contextlib.contextmanager
def _progress(verbose, total):
    """Yields a function that advances a progress bar, or does nothing."""
    if verbose == "auto":
        verbose = sys.stdout.isatty()
    if not verbose:
        yield lambda: None
        return
    bar = keras.utils.Progbar(total, unit_name="batch")
    yield lambda: bar.add(1)
