import keras
import pytest

from tf_genbounds import backend
from tf_genbounds.functional.activations import activation_name


@pytest.mark.parametrize("name", ["relu", "relu6", "sigmoid", "softmax", "log_softmax"])
def test_a_function_has_one_name_in_all_modules(name):
    modules = [keras.activations, keras.ops]
    if backend.name == "tensorflow":
        modules.append(backend.tf.nn)
    else:
        modules.append(backend.jax.nn)
    for module in modules:
        assert activation_name(getattr(module, name)) == name


def test_other_functions_have_no_name():
    assert activation_name(keras.activations.tanh) is None
    assert activation_name(lambda x: keras.ops.relu(x)) is None
    assert activation_name(keras.layers.ReLU()) is None


def test_leaky_relu_of_jax_has_another_slope():
    jax = pytest.importorskip("jax")
    assert activation_name(jax.nn.leaky_relu) is None
