"""A model as a network of linear maps, measured in one watched run."""

import dataclasses
import functools
from typing import Any

import keras

from tf_genbounds import backend, taps
from tf_genbounds.graph import Graph
from tf_genbounds.checks import check_choice
from tf_genbounds.checks import check_keras_model
from tf_genbounds.pairs import find_pairs


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
                By default the shapes that the model was built with.
            output: Name or index of the output whose logits are meant; may be
                `None` for a model with one.

        Raises:
            ValueError: If the model is not built, its shapes are unknown, or
                it has no such output.
        """
        check_built(model)
        if inputs is None:
            inputs = _built_inputs(model)
        found = {}

        def watch(values, x):
            output, calls = taps.run(model, values, x)
            found.update(output=output, calls=calls, inputs=x)

        values = [keras.KerasTensor(v.shape, v.dtype) for v in model.variables]
        backend.trace(watch, values, inputs)
        output = _output_index(model, found["output"], output)
        graph = Graph(model, **found, index=output or 0)
        return cls(
            model=model,
            maps=graph.maps,
            logits=graph.logits,
            end=graph.end,
            mixing=graph.mixing,
            output_shapes=[(None, *t.shape[1:]) for t in graph.outputs],
            output=output,
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
        output, calls = taps.run(
            self.model, values, x, perturb, slice_pooling
        )
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


def _output_index(model, outputs, output):
    """Returns which of the flat outputs is meant, `None` if it is not said."""
    count = len(keras.tree.flatten(outputs))
    if output is None:
        return 0 if count == 1 else None
    if isinstance(outputs, dict):
        names = sorted(outputs)  # The order of a flat dict.
    else:
        names = getattr(model, "output_names", None) or []
    if output in names:
        return list(names).index(output)
    check_choice("output", output, [*names, *range(count)])
    return output


def check_built(model):
    """Refuses what is not a built Keras model."""
    check_keras_model(model)
    if not model.built:
        raise ValueError(
            "`model` must be built: call it on a batch, or `model.build()`. "
            f"Received: model={model.name!r}, which has no weights yet."
        )


def _built_inputs(model):
    """Returns the inputs with which a model was built, as a batch of one."""

    def one(shape, dtype):
        if any(d is None for d in shape[1:]):
            raise ValueError(
                "The model's input has no fixed shape: measure it on data. "
                f"Received: shape={tuple(shape)}"
            )
        return keras.KerasTensor((1, *shape[1:]), dtype)

    if getattr(model, "inputs", None):
        return keras.tree.map_structure(
            lambda t: one(t.shape, t.dtype), model._inputs_struct
            if hasattr(model, "_inputs_struct") else model.inputs[0]
        )
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise ValueError(
            "The input shape of the model is not known: measure it on data. "
            f"Received: model={model.name!r}"
        )
    return one(shape, keras.config.floatx())


def check_shapes(model, x):
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
