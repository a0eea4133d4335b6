"""What config and weights say of a model, and models that are made of just that.

The decoder has no more. State that is in neither is lost, and what a layer computes
from its weights once must be computed again after they are set.
"""

import keras

from tf_genbounds import backend
from tf_genbounds.checks import check_keras_model
from tf_genbounds.keras_internals import layers_in
from tf_genbounds.network.model import check_merged
from tf_genbounds.network.model import functional_graph

_LOOKUPS = (
    keras.layers.IntegerLookup,
    keras.layers.StringLookup,
    keras.layers.TextVectorization,
)


def check_can_be_rebuilt(model):
    """Refuses a model of which config and float weights do not say everything.

    Raises:
        ValueError: If a layer is quantized, is a lambda, or has learned its
            vocabulary.
        TypeError: If the model is of another kind.
    """
    check_keras_model(model)
    functional_graph(model)
    for layer in layers_in(model, include_self=False):
        reason = _reason(layer)
        if reason is not None:
            raise ValueError(f"Layer {layer.name!r} {reason} Received: layer={layer}")


def _reason(layer):
    mode = getattr(layer, "quantization_mode", None) or getattr(
        layer.dtype_policy, "quantization_mode", None
    )
    if mode is not None:
        return (
            f"is quantized ({mode}), and its integers are no weights that can be "
            "coded: compress the model from before `quantize`."
        )
    if isinstance(layer, keras.layers.Lambda):
        registered = keras.saving.get_registered_name(layer.function)
        if registered == getattr(layer.function, "__name__", None):
            return (
                "is a Lambda layer of Python code, which no config can hold: use "
                "`keras.ops`, a registered function or a registered layer."
            )
    if isinstance(layer, _LOOKUPS) and layer.get_config()["vocabulary"] is None:
        return (
            "has learned its vocabulary by `adapt`, which is neither in its weights "
            "nor in its config: make it with `vocabulary=layer.get_vocabulary("
            "include_special_tokens=False)`."
        )
    return None


def check_trainable(model):
    """Refuses a model whose trained weights would not be those of its copy."""
    check_can_be_rebuilt(model)
    check_merged(
        model, "train it without, or pass the trained model to `compress`, which merges"
    )


def float32_copy(model):
    """Returns a copy that computes in float32, whatever the policies of the model.

    LoRA weights are merged into their kernels, and nothing is compiled: Keras
    compiles a clone as its model was, and fails if a loss or a metric of the user's
    own cannot be found again.

    Raises:
        ValueError: If config and weights do not say everything, or the outputs of
            the copy are not float32.
        TypeError: If the model is of another kind.
    """
    check_can_be_rebuilt(model)
    with backend.scope(model):
        copy = bare_copy(model)
    for layer, twin in twins(model, copy):
        twin.load_own_variables(_saved(layer))
    _check_float32(model, copy)
    return copy


def _check_float32(model, copy):
    for layer in layers_in(copy, include_self=False):
        if "float" in layer.compute_dtype and layer.compute_dtype != "float32":
            raise ValueError(
                "A compressed model computes in float32. Received: layer "
                f"{layer.name!r} that computes in {layer.compute_dtype}, whatever its "
                "config says"
            )
    for output in keras.tree.flatten(copy.outputs):
        if "float" in output.dtype and output.dtype != "float32":
            raise ValueError(
                "A compressed model computes in float32, and an operation of this "
                f"one asks for {output.dtype}. Received: model={model.name!r}"
            )


def bare_copy(model):
    """Returns a float32 copy with fresh weights that is not compiled."""
    return type(model).from_config(_plain(model.get_config()))


def _plain(config):
    """A config without half precision, LoRA and how models are compiled."""
    if isinstance(config, dict):
        return {
            key: _float32(value) if key == "dtype" else _plain(value)
            for key, value in config.items()
            if key not in ("compile_config", "lora_rank", "lora_alpha")
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_plain(value) for value in config)
    return config


def _float32(dtype):
    """Float types and policies become float32; others are left alone."""
    if isinstance(dtype, dict) or "float" in str(dtype):
        return "float32"
    return dtype


def twins(model, copy):
    """Yields each layer with its counterpart in a copy, layers in layers too."""
    for layer, twin in counterparts(model, copy):
        yield from zip(layers_in(layer), layers_in(twin), strict=True)


def counterparts(model, copy):
    """The same for layers that are no models, and without the layers in them."""
    for layer in model.layers:
        twin = copy.get_layer(layer.name)
        if isinstance(layer, keras.Model):
            yield from counterparts(layer, twin)
        else:
            yield layer, twin


def set_weights(model, arrays):
    """Sets the weights, and has the layers compute anew what they derive from them.

    Of itself `Normalization` would go on with the mean and variance of before.
    """
    model.set_weights(arrays)
    finalize(model)


def finalize(model):
    """Has the layers compute anew what they derive from their weights."""
    for layer in layers_in(model, include_self=False):
        layer.load_own_variables(_saved(layer))  # Where Keras derives it.


def _saved(layer):
    """A layer's own weights as Keras saves them: those of LoRA are merged."""
    store = {}
    layer.save_own_variables(store)
    return {key: keras.ops.convert_to_numpy(value) for key, value in store.items()}


def derived_from(model):
    """Returns the ids of the weights that layers derive a state from."""
    return {
        id(weight)
        for layer in layers_in(model, include_self=False)
        if hasattr(layer, "finalize_state")
        for weight in layer.weights
    }
