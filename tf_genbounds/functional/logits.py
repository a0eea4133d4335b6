"""Which functions turn logits into probabilities, however they are spelt."""

import sys

import keras

# By the name that `keras.activations` gives them. `hard_sigmoid` is 1/2 at 0 too.
PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "log_softmax", "log_sigmoid")

_NAMES = ("linear", "relu", "relu6", "leaky_relu", *PROBABILITIES)
_MODULES = (
    "keras.activations",
    "keras.ops",
    "tensorflow",
    "tensorflow.nn",
    "tensorflow.math",
    "jax.nn",
)
# What other modules call them.
_ALIASES = {"linear": ("identity",)}
# JAX' has another slope than Keras' and TensorFlow's.
_OTHERS = {("jax.nn", "leaky_relu")}


def activation_name(function):
    """Names an activation as `keras.activations` does, however it is spelt.

    `keras.ops.relu`, `tf.nn.relu` and `jax.nn.relu` are the function
    `keras.activations.relu`.

    Args:
        function: A function, an `Activation` layer's `activation`.

    Returns:
        `"linear"`, `"relu"`, `"relu6"`, `"leaky_relu"`, one of `PROBABILITIES`, or
        `None` for any other function.

    Example:

    >>> activation_name(keras.ops.relu), activation_name(np.tanh)
    ('relu', None)
    """
    for name in _NAMES:
        if any(function is spelling for spelling in _spellings(name)):
            return name
    return None


def _spellings(name):
    """Yields the functions of that name in the modules that are imported."""
    for module in _MODULES:
        path = module.split(".")
        found = sys.modules.get(path[0])
        for part in path[1:]:
            found = getattr(found, part, None)
        for alias in (name, *_ALIASES.get(name, ())):
            if (module, alias) not in _OTHERS and hasattr(found, alias):
                yield getattr(found, alias)
