import keras
import numpy as np
import pytest
from keras import ops

from tf_genbounds.functional.darc import darc_penalty
from tf_genbounds.functional.darc import rademacher_signs
from tf_genbounds.layers import DARC1Regularization
from tf_genbounds.layers import DARCRegularization

LAYERS = [DARC1Regularization, DARCRegularization]


def sequences():
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    mask = np.ones((4, 5), bool)
    mask[0, 2:] = False
    mask[3, 1:] = False
    return x, mask


@pytest.mark.parametrize("cls", LAYERS)
def test_layer_is_the_identity(cls):
    x, _ = sequences()
    layer = cls()
    np.testing.assert_array_equal(layer(x), x)
    assert layer.weights == []


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_logits_keep_their_dtype_under_a_mixed_policy(dtype):
    layer = DARC1Regularization(dtype="mixed_float16")
    logits = ops.ones((2, 3), dtype)
    assert layer(keras.Input((3,), dtype=dtype)).dtype == dtype
    assert ops.dtype(layer(logits)) == dtype
    assert ops.dtype(layer.losses[0]) == "float32"


def test_masked_steps_do_not_count():
    x, mask = sequences()
    expected = 0.5 * np.abs(x[mask]).mean(axis=0).max()
    layer = DARC1Regularization(0.5)
    layer(x, mask=mask)
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-6)


def test_masked_steps_do_not_count_with_signs():
    x, mask = sequences()
    signs = rademacher_signs(x, 4, seed=1)
    layer = DARCRegularization(0.5, num_draws=4, seed=1)
    layer(x, mask=mask)
    expected = 0.5 * float(darc_penalty(x, signs, mask))
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-6)


# Keras warns of a layer that would destroy a mask.
@pytest.mark.filterwarnings("error:Layer 'darc")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_mask_arrives_through_a_model_and_goes_on(jit_compile):
    x, mask = sequences()
    x[~mask] = 0.0
    inputs = keras.Input((5, 3))
    outputs = DARC1Regularization(0.5)(keras.layers.Masking()(inputs))
    model = keras.Model(inputs, keras.layers.LSTM(2)(outputs))
    zero = keras.losses.MeanSquaredError()
    model.compile("sgd", zero, loss_weights=0.0, jit_compile=jit_compile)
    expected = 0.5 * np.abs(x).sum(axis=(0, 1)).max() / mask.sum()
    value = model.evaluate(x, np.zeros((4, 2)), verbose=0)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    plain = keras.Model(inputs, model.layers[-1](keras.layers.Masking()(inputs)))
    np.testing.assert_allclose(
        model.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-5
    )


def nested_softmax(inputs):
    return keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])(inputs)


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize(
    "head",
    [
        keras.layers.Dense(3, activation="softmax"),
        keras.layers.Dense(3, activation="sigmoid"),
        keras.layers.Dense(3, activation="log_softmax"),
        keras.layers.Activation("softmax"),
        keras.layers.Softmax(),
        ops.softmax,
        ops.sigmoid,
        ops.log_softmax,
        nested_softmax,
    ],
)
def test_probabilities_are_refused_when_the_model_is_built(cls, head):
    with pytest.raises(ValueError, match="Regularization penalizes logits"):
        cls()(head(keras.Input((3,))))


def test_sequential_model_needs_no_warning_on_jax(recwarn):
    model = keras.Sequential([keras.layers.Dense(3), DARC1Regularization()])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 3)), verbose=0)
    assert not [w for w in recwarn if "cannot see" in str(w.message)]


def test_mask_of_another_rank_is_refused():
    x, _ = sequences()
    with pytest.raises(ValueError, match=r"Received: mask.shape=\(4,\)"):
        DARC1Regularization()(x, mask=np.ones(4, bool))
