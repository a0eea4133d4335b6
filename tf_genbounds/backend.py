"""The one module that names a backend; everything else is `keras.ops`.

TensorFlow is the home and JAX is supported; each function below says what
the two do differently and why `keras.ops` cannot.
"""

import contextlib

import keras
from keras.src.backend import AutocastScope  # Not exported by Keras.

name = keras.backend.backend()

if name == "tensorflow":
    import tensorflow as tf
elif name == "jax":
    import jax
else:
    raise ImportError(
        "tf_genbounds runs on the TensorFlow and JAX backends of Keras. "
        f"Received: KERAS_BACKEND={name}"
    )


def jit(function, xla=False):
    """Compiles a function of tensors: `tf.function` or `jax.jit`.

    `xla` matters to TensorFlow only, where graph mode is the faster of the
    two on a CPU.
    """
    if name == "tensorflow":
        compiled = tf.function(function, jit_compile=xla, autograph=False)
        # Layers of one structure share a function, which each graph that calls
        # it traces anew. That is no mistake to warn of.
        compiled._omit_frequent_tracing_warning = True
        return compiled
    return jax.jit(function)


def trace(function, *specs):
    """Runs `function` abstractly, on shapes alone, and drops its result.

    Each of `specs` is a nest of `(shape, dtype)` pairs wrapped in
    `keras.KerasTensor`. What `function` notes down while it is traced is
    the point: no number is computed.
    """
    if name == "tensorflow":
        def spec(t):
            return tf.TensorSpec(t.shape, t.dtype)

        tf.function(function, autograph=False).get_concrete_function(
            *keras.tree.map_structure(spec, specs)
        )
    else:
        def spec(t):
            return jax.ShapeDtypeStruct(t.shape, t.dtype)

        jax.eval_shape(function, *keras.tree.map_structure(spec, specs))


def vjp(function, x, cotangent):
    """Multiplies `cotangent` by the transposed Jacobian of `function` at `x`."""
    if name == "tensorflow":
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(
            y, x, output_gradients=cotangent, unconnected_gradients="zero"
        )
    _, pull_back = jax.vjp(function, x)
    return pull_back(cotangent)[0]


@contextlib.contextmanager
def stateless(variables, values):
    """Reads `variables` as `values` in float32, and discards every update.

    Values that enter a compiled function through here are its arguments, so
    that it sees today's weights and not those of its first trace. Updates
    (random seeds, statistics) are dropped when the scope ends.
    """
    mapping = list(zip(variables, values, strict=True))
    with keras.StatelessScope(state_mapping=mapping), AutocastScope("float32"):
        yield


def values(variables):
    """Returns the current values of Keras variables, as tensors."""
    return [keras.ops.convert_to_tensor(v.value) for v in variables]


def num_replicas():
    """Number of replicas that a `tf.distribute` strategy keeps in sync."""
    if name == "tensorflow":
        return tf.distribute.get_strategy().num_replicas_in_sync
    return 1


def gather(x):
    """Concatenates `x` of every replica along its first axis."""
    if name == "tensorflow":
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            return context.all_gather(x, axis=0)
    return x
