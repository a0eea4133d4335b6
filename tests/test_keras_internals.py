"""What Keras does not export is still there and does what we think."""

import pathlib
import re

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import keras_internals

PACKAGE = pathlib.Path(keras_internals.__file__).parent
PRIVATE = re.compile(
    r"^\s*(from|import) keras\.src|\._(run_through_graph|inputs_struct|flatten_layers"
    r"|functional|keras_history|inbound_nodes)\b|(?<!self)\._layers\b",
    re.M,
)
CHANGED = "Keras changed it: see keras_internals.py"


def test_no_other_module_names_them():
    found = [
        (path.name, match[0])
        for path in PACKAGE.rglob("*.py")
        if path.name != "keras_internals.py"
        for match in PRIVATE.finditer(path.read_text())
    ]
    assert not found
    assert PRIVATE.search((PACKAGE / "keras_internals.py").read_text())


@pytest.fixture
def model():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="in")])
    inputs = {"x": keras.Input((3,), name="x")}
    return keras.Model(inputs, layers.ReLU(name="relu")(inner(inputs["x"])))


def test_layers(model):
    names = [each.name for each in keras_internals.layers_in(model)]
    assert {"relu", "in"} <= set(names) and model.name in names, CHANGED
    names = [each.name for each in keras_internals.layers_in(model, False)]
    assert model.name not in names, CHANGED
    wrapper = layers.TimeDistributed(layers.Dense(2, name="in"))
    inside = [each.name for each in keras_internals.sublayers(wrapper)]
    assert inside == ["in"], CHANGED


def test_graphs(model):
    assert keras_internals.to_functional(model) is model
    sequential = keras.Sequential([layers.Dense(2)])
    assert keras_internals.to_functional(sequential) is None, CHANGED
    sequential.build((None, 3))
    functional = keras_internals.to_functional(sequential)
    assert keras_internals.runs_through_graph(functional), CHANGED

    class Subclass(keras.Model):
        pass

    assert not keras_internals.runs_through_graph(Subclass()), CHANGED
    found = keras_internals.run_through_graph(
        functional, ["a"], lambda operation: lambda x: f"{x}, {operation.name}"
    )
    assert found == f"a, {sequential.layers[0].name}", CHANGED


def test_inputs(model):
    assert set(keras_internals.inputs_of(model)) == {"x"}, CHANGED
    sequential = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert keras_internals.inputs_of(sequential).shape == (None, 3), CHANGED

    class Subclass(keras.Model):
        pass

    assert keras_internals.inputs_of(Subclass()) is None


def test_makers(model):
    operation, node, index, inputs = keras_internals.makers_inputs(model.outputs[0])
    assert (operation.name, node, index, len(inputs)) == ("relu", 0, 0, 1), CHANGED
    *_, inputs = keras_internals.makers_inputs(model.inputs[0])
    assert list(inputs) == [], CHANGED
    assert keras_internals.makers_inputs(ops.ones(3)) is None


def test_masks():
    x = layers.Masking()(np.zeros((1, 2, 3), "float32"))
    assert keras_internals.get_keras_mask(x) is not None, CHANGED
    assert keras_internals.get_keras_mask(ops.ones(3)) is None, CHANGED


def test_a_function_becomes_a_loss():
    loss = keras_internals.LossFunctionWrapper(lambda y, p: ops.abs(y - p))
    assert float(loss(np.array([1.0]), np.array([3.0]))) == 2.0, CHANGED


def test_float32_in_a_step():
    layer = layers.Dense(1, dtype="float16")
    layer.build((None, 2))
    with keras_internals.AutocastScope("float32"):
        dtype = keras.backend.standardize_dtype(ops.add(layer.kernel, 0.0).dtype)
    assert dtype == "float32", CHANGED


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="of JAX")
def test_tracers():
    import jax

    seen = []
    jax.jit(lambda x: seen.append(keras_internals.is_in_jax_tracing_scope(x)))(1.0)
    assert seen == [True], CHANGED
    assert not keras_internals.is_in_jax_tracing_scope(ops.ones(3)), CHANGED
