"""The one module that names a backend; everything else is `keras.ops`.

TensorFlow is the home and JAX is supported; each function below says what
the two do differently and why `keras.ops` cannot.
"""

import contextlib

import keras

from tf_genbounds.keras_internals import AutocastScope

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
    """Multiplies `cotangent` by the transposed Jacobian of `function` at `x`.

    `x`, `function(x)` and `cotangent` may be lists of tensors.
    """
    if name == "tensorflow":
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(
            y, x, output_gradients=cotangent, unconnected_gradients="zero"
        )
    _, pull_back = jax.vjp(function, x)
    return pull_back(cotangent)[0]


def jvp(function, x, tangent):
    """Returns `function(x)` and its derivative in the direction `tangent`."""
    if name == "tensorflow":
        with tf.autodiff.ForwardAccumulator(x, tangent) as accumulator:
            y = function(x)
        return y, accumulator.jvp(y, unconnected_gradients="zero")
    return jax.jvp(function, (x,), (tangent,))


def dependencies(function, *specs):
    """Traces `function` and says which of its tensors are made of which.

    Args:
        function: Takes nests of tensors, returns a flat list of tensors.
        specs: As for `trace`.

    Returns:
        A tuple `(steps, arguments, results)`: pairs `(inputs, outputs)` of
        lists of tensor ids, in the order of the computation; the ids of the
        flat arguments; the ids of the flat results.
    """
    if name == "tensorflow":
        specs = keras.tree.map_structure(
            lambda t: tf.TensorSpec(t.shape, t.dtype), specs
        )
        concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
        graph = concrete.graph
        # A shape is not made of the numbers of its tensor.
        shapes = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike")
        steps = [
            (
                [] if op.type in shapes else [t.ref() for t in op.inputs],
                [t.ref() for t in op.outputs],
            )
            for op in graph.get_operations()
            if op.type != "Placeholder"
        ]
        # Constants that the function captures come after its arguments.
        count = len(keras.tree.flatten(specs))
        arguments = [t.ref() for t in concrete.inputs[:count]]
        results = [t.ref() for t in concrete.outputs]
    else:
        specs = keras.tree.map_structure(
            lambda t: jax.ShapeDtypeStruct(t.shape, t.dtype), specs
        )
        jaxpr = jax.make_jaxpr(function)(*specs).jaxpr
        steps = [
            ([id(v) for v in step.invars], [id(v) for v in step.outvars])
            for step in jaxpr.eqns
        ]
        arguments = [id(v) for v in jaxpr.invars]
        results = [id(v) for v in jaxpr.outvars]
    return steps, arguments, results


def pooling_has_jvp(xla):
    """Whether `jvp` goes through max pooling as it is.

    TensorFlow's XLA compares the entries of a window at low precision there,
    and takes the derivative of the wrong one.
    """
    return name != "tensorflow" or not xla


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


def sum_of_squares(x):
    """Sums the squares of all entries of a float tensor, in parts.

    TensorFlow keeps the squares as a second tensor, and takes three times as
    long, unless they are asked for as a loss: half their sum. Flat, since its
    XLA adds the entries of a long column one after the other.
    """
    x = keras.ops.reshape(x, (-1,))
    if name == "tensorflow":
        return 2 * tf.nn.l2_loss(x)
    return keras.ops.sum(keras.ops.square(x))


@contextlib.contextmanager
def full_precision():
    """Multiplies float32 matrices in float32: GPUs else round to TF32, 10 bits.

    A function of JAX that was compiled outside this scope is compiled again in it;
    TensorFlow asks when a product is computed.
    """
    if name == "tensorflow":
        config = tf.config.experimental
        before = config.tensor_float_32_execution_enabled()
        config.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            config.enable_tensor_float_32_execution(before)
    else:
        with jax.default_matmul_precision("float32"):
            yield


def is_traced(x):
    """Whether a tensor has no values yet: a function is being compiled."""
    if name == "tensorflow":
        return not tf.executing_eagerly()
    return isinstance(x, jax.core.Tracer)


def scope(model):
    """The scope in which variables go where those of `model` are."""
    if name == "tensorflow":
        return model.distribute_strategy.scope()
    return contextlib.nullcontext()


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
