"""A model as a network of linear maps, measured in one watched run."""

import dataclasses
from typing import Any

import keras

from tf_genbounds import backend, taps
from tf_genbounds.graph import Graph
from tf_genbounds.measurements import check_choice


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """What a model is made of.

    Attributes:
        model: The Keras model.
        maps: `LinearMap` by name, in the order of the calls.
        logits: Where the logits are, see `Graph`.
        output_shapes: Shapes of the output tensors.
        unsupported: Reason by name, for what is not a linear map here.
        notes: What a reader of the numbers must know.
    """

    model: Any
    maps: dict
    logits: tuple | None
    output_shapes: list
    unsupported: dict
    notes: tuple

    @classmethod
    def of(cls, model, inputs=None):
        """Finds the network of a built model.

        Args:
            model: Keras model.
            inputs: Nest of `keras.KerasTensor` with the shapes of a batch.
                By default the shapes that the model was built with.

        Raises:
            ValueError: If the model is not built, or its shapes are unknown.
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
        graph = Graph(model, **found)
        return cls(
            model=model,
            maps=graph.maps,
            logits=graph.logits,
            output_shapes=[(None, *t.shape[1:]) for t in graph.outputs],
            unsupported=graph.unsupported,
            notes=tuple(graph.notes),
        )

    def run(self, values, x):
        """Runs the model; see `taps.run`.

        Returns:
            A pair `(logits, calls)`, the calls by key.
        """
        output, calls = taps.run(self.model, values, x)
        calls = {call.key: call for call in calls}
        logits = keras.tree.flatten(output)[0]
        if self.logits is not None:
            key, tensor = self.logits
            if tensor == "pre_activation":
                logits = calls[key].pre_activation
            else:
                logits = calls[key].inputs[0]
        return logits, calls

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
        if len(self.output_shapes) != 1 or len(self.output_shapes[0]) != 2:
            raise ValueError(
                "Margins need one output of shape (samples, classes): leave "
                "them out of `quantities`, or pass `x` alone. "
                f"Received: output shapes {self.output_shapes}"
            )


def check_built(model):
    """Refuses what is not a built Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a Keras model. Received: model={model!r}"
        )
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
