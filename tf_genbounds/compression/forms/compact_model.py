"""A model with layers of few numbers in the place of Dense and convolution layers."""

import keras

from tf_genbounds import backend
from tf_genbounds.compression.forms.forms import Plain
from tf_genbounds.compression.forms.rebuilding import bare_copy
from tf_genbounds.compression.forms.rebuilding import counterparts
from tf_genbounds.compression.forms.rebuilding import finalize
from tf_genbounds.functional.operators import unsupported_reason

COMPACT = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)


def compactable(model):
    """Returns the layers that have compact forms, in a fixed order.

    The order is that of `model.layers`, nested models entered, each layer once.
    """
    found = {}

    def visit(layers):
        for layer in layers:
            if isinstance(layer, keras.Model):
                visit(layer.layers)
            elif type(layer) in COMPACT and unsupported_reason(layer) is None:
                if getattr(layer, "groups", 1) == 1:
                    found[layer] = None

    visit(model.layers)
    return list(found)


class CompactModel:
    """A model, the forms of its layers, and its copy in these forms.

    Args:
        model: Functional or Sequential model.
        forms: A form of `forms.FORMS` for each layer of `compactable(model)`, or
            `None`: all are plain.
        seed: Integer, of projected layers.

    Attributes:
        layers: `compactable(model)`.
        copy: The model in these forms, with fresh weights until `fill`.
    """

    def __init__(self, model, forms=None, seed=0):
        self.model = model
        self.layers = compactable(model)
        self.forms = [Plain()] * len(self.layers) if forms is None else list(forms)
        self.seed = seed
        self.copy = self._build()

    def _build(self):
        bare = bare_copy(self.model)
        index = {layer: i for i, layer in enumerate(compactable(bare))}

        def clone(layer):
            if layer not in index:
                return type(layer).from_config(layer.get_config())
            return self.forms[index[layer]].build(layer, self.seed, index[layer])

        with backend.scope(self.model):
            return keras.models.clone_model(bare, clone_function=clone, recursive=True)

    def fill(self):
        """Gives the copy the weights that stand for those of the model."""
        index = {layer: i for i, layer in enumerate(self.layers)}
        for layer, copy, form in self._pairs():
            weights = layer.get_weights()
            if form != Plain():
                kernel, *bias = weights
                weights = [*form.numbers(kernel, self.seed, index[layer]), *bias]
            copy.set_weights(weights)
        finalize(self.copy)

    def labels(self):
        """Returns the label of the form that each weight of the copy belongs to."""
        label_of = {
            id(weight): form.label
            for _, copy, form in self._pairs()
            for weight in copy.weights
        }
        return [label_of[id(weight)] for weight in self.copy.weights]

    def _pairs(self):
        """Yields each layer with weights, its copy, its form."""
        form_of = dict(zip(self.layers, self.forms, strict=True))
        for layer, copy in counterparts(self.model, self.copy):
            if layer.weights:
                yield layer, copy, form_of.get(layer, Plain())
