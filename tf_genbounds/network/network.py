"""A model as a network of linear maps, measured in one watched run."""

import dataclasses
import functools
from typing import Any

import keras

from tf_genbounds import backend
from tf_genbounds.checks import check_choice
from tf_genbounds.network import taps
from tf_genbounds.network.graph import Graph
from tf_genbounds.network.model import built_inputs
from tf_genbounds.network.model import check_built
from tf_genbounds.network.model import has_open_size
from tf_genbounds.network.pairs import find_pairs

# A size to run a model with, shapes alone, where it leaves sizes open: large enough
# for convolutions without padding, or small enough for embeddings of positions.
_SIZES = (64, 256, 16, 4)


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """What a model is made of.

    Attributes:
        model: The Keras model.
        maps: `LinearMap` by name, in the order of the calls.
        logits: Where the logits are, see `Graph`.
        end: What the output is, see `Graph`.
        mixing: Names of operations that work along the batch axis.
        output_shapes: Shapes of the output tensors.
        output: Which of the flat outputs is measured, or `None`: not chosen.
        output_names: Their names, as far as the model says them.
        inputs: Nest of `keras.KerasTensor`, the shapes of a batch.
        normalizations: Keys of the calls that normalize each example.
        unsupported: Reason by name, for what is not a linear map here.
        notes: What a reader of the numbers must know.
    """

    model: Any
    maps: dict
    logits: tuple | None
    end: str | None
    mixing: tuple
    output_shapes: list
    output: int | None
    output_names: list
    inputs: Any
    normalizations: tuple
    unsupported: dict
    notes: tuple

    @classmethod
    def of(cls, model, inputs=None, output=None):
        """Finds the network of a built model.

        Args:
            model: Keras model.
            inputs: Nest of `keras.KerasTensor` with the shapes of a batch.
                By default the shapes that the model was built with; where
                these leave a size open, some size with which the model runs.
            output: Name or index of the output whose logits are meant; may be
                `None` for a model with one.

        Raises:
            ValueError: If the model is not built, its shapes are unknown, or
                it has no such output.
        """
        check_built(model)
        inputs, found = _watched(model, inputs)
        names = _output_names(model, found["output"])
        output = _output_index(names, found["output"], output)
        graph = Graph(model, **found, index=output or 0)
        return cls(
            model=model,
            maps=graph.maps,
            logits=graph.logits,
            end=graph.end,
            mixing=graph.mixing,
            output_shapes=[(None, *t.shape[1:]) for t in graph.outputs],
            output=output,
            output_names=names,
            inputs=inputs,
            normalizations=graph.normalizations,
            unsupported=graph.unsupported,
            notes=tuple(graph.notes),
        )

    @functools.cached_property
    def pairs(self):
        """`Pair` by the names `(source, target)`, see `find_pairs`."""
        return find_pairs(self)

    def run(self, values, x, perturb=None, slice_pooling=False):
        """Runs the model; see `taps.run`.

        Returns:
            A pair `(output, calls)`: the output that is measured, and the calls
            by key.
        """
        output, calls = taps.run(self.model, values, x, perturb, slice_pooling)
        calls = {call.key: call for call in calls}
        return keras.tree.flatten(output)[self.output or 0], calls

    def logits_of(self, output, calls):
        """Returns the logits of a run: the output, but for a softmax at the end."""
        if self.logits is None:
            return output
        key, tensor = self.logits
        if tensor == "pre_activation":
            logits = calls[key].pre_activation
        else:
            logits = calls[key].inputs[0]
        return keras.ops.reshape(logits, (-1, *output.shape[1:]))

    def labels_of(self, y):
        """Returns the labels of the output that is measured.

        Args:
            y: Array of labels, or a dict by output name or list of such, as `fit`
                takes them for a model with several outputs.

        Raises:
            ValueError: If there are none for this output.
        """
        if not isinstance(y, (dict, list, tuple)):
            return y
        names = self.output_names or list(range(len(self.output_shapes)))
        parts = y
        if not isinstance(y, dict):
            parts = dict(zip(names, y, strict=True)) if len(y) == len(names) else {}
        name = names[self.output]
        if name in parts:
            return parts[name]
        if len(parts) == len(names) == 1:
            return next(iter(parts.values()))
        raise ValueError(
            f"There must be labels for the output {name!r} that is measured. "
            f"Received: labels for {list(y) if isinstance(y, dict) else len(y)}"
        )

    def choose(self, names=None):
        """Returns the maps of the given names, or all of them.

        Raises:
            ValueError: If there is none, or a name is unknown or that of a
                layer that is not supported.
        """
        if not self.maps:
            raise ValueError(
                "The model has no linear layer that can be measured. "
                f"Received: model={self.model.name!r}, unsupported layers "
                f"{self.unsupported}"
            )
        for name in names or ():
            if name in self.unsupported:
                raise ValueError(
                    f"Layer {name!r} is not supported: "
                    f"{self.unsupported[name]}. Received: layers={names}"
                )
            check_choice("layer", name, self.maps)
        return {name: self.maps[name] for name in names or self.maps}

    def check_classifier(self):
        """Refuses a model whose output is not one matrix of logits."""
        if self.output is None:
            raise ValueError(
                "Margins need one output: choose it with `output`, leave "
                "them out of `quantities`, or pass `x` alone. "
                f"Received: output shapes {self.output_shapes}"
            )
        shape = self.output_shapes[self.output]
        if len(shape) != 2:
            raise ValueError(
                "Margins need an output of shape (samples, classes): leave "
                "them out of `quantities`, or pass `x` alone. "
                f"Received: output shape {shape}"
            )


def _watched(model, inputs):
    """Runs a model on shapes; returns these, and what `Graph` is made of."""
    found = {}

    def watch(values, x):
        output, calls = taps.run(model, values, x)
        found.update(output=output, calls=calls, inputs=x)

    values = [keras.KerasTensor(v.shape, v.dtype) for v in model.variables]
    if inputs is not None:
        backend.trace(watch, values, inputs)
        return inputs, found
    built = built_inputs(model)
    sizes = _SIZES if has_open_size(model) else (None,)
    for size in sizes:
        inputs = keras.tree.map_structure(
            lambda t, size=size: keras.KerasTensor(
                [size if s is None else s for s in t.shape], t.dtype
            ),
            built,
        )
        try:
            backend.trace(watch, values, inputs)
        except Exception as error:
            failure = error
        else:
            return inputs, found
    raise ValueError(
        "The model does not run on inputs of the shape that it was built with: "
        f"measure it on data. Received: model={model.name!r}"
    ) from failure


def _output_names(model, outputs):
    if isinstance(outputs, dict):
        return sorted(outputs)  # The order of a flat dict.
    return list(getattr(model, "output_names", None) or [])


def _output_index(names, outputs, output):
    """Returns which of the flat outputs is meant, `None` if it is not said."""
    count = len(keras.tree.flatten(outputs))
    if output is None:
        return 0 if count == 1 else None
    if output in names:
        return names.index(output)
    check_choice("output", output, [*names, *range(count)])
    return output
