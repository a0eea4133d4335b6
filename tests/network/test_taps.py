import keras
import models
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import backend
from tf_genbounds.network import taps


def state(model):
    """Everything that a run may not change, as plain data."""
    attributes = {
        id(operation): {k: id(v) for k, v in vars(operation).items()}
        for operation in (model, *taps.operations(model))
    }
    return (
        attributes,
        [w.numpy().tobytes() for w in map(ops.convert_to_tensor, model.variables)]
        if keras.backend.backend() == "tensorflow"
        else [np.asarray(v).tobytes() for v in model.variables],
        [layer.trainable for layer in model.layers],
        [layer.dtype_policy.name for layer in model.layers],
    )


def run(model, x):
    return taps.run(model, backend.values(model.variables), ops.convert_to_tensor(x))


@pytest.mark.parametrize("make", models.ALL)
def test_output_is_the_models_own(make):
    model = make()
    x, _ = models.data(model)
    output, _ = run(model, x)
    np.testing.assert_allclose(output, model(x, training=False), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", models.ALL)
def test_model_is_the_same_afterwards(make):
    model = make()
    x, _ = models.data(model)
    model(x)
    before = state(model)
    run(model, x)
    assert state(model) == before


class Broken(layers.Layer):
    fails = False

    def call(self, x):
        if self.fails:
            raise RuntimeError("broken on purpose")
        return x


def test_model_is_the_same_after_a_run_that_raises():
    broken = Broken(name="broken")
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="relu", dtype="mixed_float16"),
            broken,
            layers.Dense(3),
        ]
    )
    x = np.ones((2, 6), "float32")
    model(x)
    broken.fails = True
    before = state(model)
    with pytest.raises(RuntimeError, match="on purpose"):
        run(model, x)
    assert state(model) == before


class Noisy(layers.Layer):
    """Draws in inference as well, from a seed that each draw advances."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seed)


def test_random_state_is_the_same_afterwards():
    model = keras.Sequential([keras.Input((6,)), Noisy(), layers.Dense(3)])
    x = np.ones((2, 6), "float32")
    first, _ = run(model, x)
    second, _ = run(model, x)
    np.testing.assert_array_equal(first, second)


def test_records_the_pre_activation():
    model = models.dense()
    x, _ = models.data(model)
    kernel, bias = map(np.asarray, model.layers[0].get_weights())
    first = next(c for c in run(model, x)[1] if c.operation.name == "first")
    np.testing.assert_allclose(first.pre_activation, x @ kernel + bias, rtol=1e-5)
    np.testing.assert_allclose(
        first.outputs[0], np.maximum(x @ kernel + bias, 0), rtol=1e-5
    )


def test_sees_keras_ops_nested_and_repeated_calls():
    def names(make):
        model = make()
        x, _ = models.data(model)
        return [(c.operation.name, c.index) for c in run(model, x)[1]]

    assert sum("relu" in name for name, _ in names(models.residual)) == 2
    assert names(models.nested)[:2] == [("dense", 0), ("inner", 0)]
    assert names(models.shared) == [("shared", 0), ("shared", 1), ("logits", 0)]


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"]
)
def test_runs_in_float32_whatever_the_policy(policy):
    with_policy = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="relu", dtype=policy),
            layers.Dense(3, dtype=policy),
        ]
    )
    models.randomize(with_policy)
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    output, calls = run(with_policy, x)
    dtypes = {backend_dtype(t) for c in calls for t in (*c.inputs, *c.outputs)}
    assert dtypes == {"float32"}
    (k1, b1, k2, b2) = (w.astype("float32") for w in with_policy.get_weights())
    expected = np.maximum(x @ k1 + b1, 0) @ k2 + b2
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def backend_dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


@pytest.mark.parametrize("xla", [False, True])
def test_weights_are_arguments_of_the_compiled_function(xla):
    model = models.dense()
    x, _ = models.data(model)
    compiled = backend.jit(lambda v, x: taps.run(model, v, x)[0], xla=xla)
    compiled(backend.values(model.variables), ops.convert_to_tensor(x))
    models.randomize(model, seed=1)
    output = compiled(backend.values(model.variables), ops.convert_to_tensor(x))
    np.testing.assert_allclose(output, model(x), rtol=1e-4, atol=1e-5)


def test_loops_are_not_looked_into():
    model = keras.Sequential(
        [
            keras.Input((4, 6)),
            layers.TimeDistributed(layers.Dense(5, name="inside"), name="loop"),
            layers.LSTM(3, name="lstm"),
        ]
    )
    assert [o.name for o in taps.operations(model)][-2:] == ["loop", "lstm"]
    _, calls = run(model, np.ones((2, 4, 6), "float32"))
    assert [c.operation.name for c in calls] == ["loop", "lstm"]
