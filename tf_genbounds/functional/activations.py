"""What activations are called, and which make probabilities, however spelt."""

import sys

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
# JAX' has another slope below zero than Keras' and TensorFlow's.
_SLOPE = 0.2
_OTHER_SLOPES = {("jax.nn", "leaky_relu"): 0.01}


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


def leaky_slope(function):
    """Returns the slope below zero of a leaky ReLU, or `None` for what is none.

    Args:
        function: A function, called without its other arguments.

    Example:

    >>> leaky_slope(keras.ops.leaky_relu), leaky_slope(keras.ops.relu)
    (0.2, None)
    """
    for (module, name), slope in _OTHER_SLOPES.items():
        if function is not None and function is getattr(_module(module), name, None):
            return slope
    return _SLOPE if activation_name(function) == "leaky_relu" else None


def _spellings(name):
    """Yields the functions of that name in the modules that are imported."""
    for module in _MODULES:
        found = _module(module)
        for alias in (name, *_ALIASES.get(name, ())):
            if (module, alias) not in _OTHER_SLOPES and hasattr(found, alias):
                yield getattr(found, alias)


def _module(path):
    """Returns a module if its package is imported, or `None`."""
    first, *parts = path.split(".")
    found = sys.modules.get(first)
    for part in parts:
        found = getattr(found, part, None)
    return found
