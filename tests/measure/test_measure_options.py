"""`measure` with one of several outputs, initial weights, and what follows."""

import keras
import models
import numpy as np
import pytest
from keras import layers

from tf_genbounds import measure


def norms(x):
    return np.linalg.norm(np.asarray(x).reshape(len(x), -1), axis=1)


@pytest.mark.parametrize("output, classes", [("main", 3), ("head", 2), (1, 3)])
def test_one_of_several_outputs(output, classes):
    model = models.two_outputs()
    x, _ = models.data(models.dense())
    y = np.arange(len(x)) % classes
    result = measure(model, (x, y), output=output, quantities=["margins"], verbose=0)
    layer = model.get_layer("main" if classes == 3 else "head")
    kernel, bias = layer.get_weights()
    logits = x @ kernel + bias
    np.testing.assert_allclose(result.max_output_norm, norms(logits).max(), rtol=1e-5)
    expected = [
        row[k] - max(np.delete(row, k)) for row, k in zip(logits, y, strict=True)
    ]
    np.testing.assert_allclose(result.margins, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["list", ".keras", ".weights.h5"])
def test_distance_from_the_initial_weights(kind, tmp_path):
    model = models.convolutional()
    start = model.get_weights()
    if kind == ".keras":
        start = tmp_path / "start.keras"
        model.save(start)
    elif kind == ".weights.h5":
        start = str(tmp_path / "start.weights.h5")
        model.save_weights(start)
    before = [np.asarray(k) for k in (model.layers[0].kernel, model.layers[4].kernel)]
    scale = np.asarray(model.layers[1].gamma) / np.sqrt(
        np.asarray(model.layers[1].moving_variance) + 1e-3
    )
    models.randomize(model, seed=7)
    weights = model.get_weights()
    result = measure(
        model,
        models.data(model),
        quantities=["layer_cushion"],
        initial_weights=start,
        verbose=0,
    )
    for new, old in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    after = np.asarray(model.layers[1].gamma) / np.sqrt(
        np.asarray(model.layers[1].moving_variance) + 1e-3
    )
    expected = {
        # The batch norm is folded into both.
        "conv": np.asarray(model.layers[0].kernel) * after - before[0] * scale,
        "conv2": np.asarray(model.layers[4].kernel) - before[1],
    }
    for name, change in expected.items():
        layer = result.layers[name]
        distance = np.linalg.norm(change)
        assert layer.distance_from_init == pytest.approx(distance, rel=1e-4)
        assert layer.layer_cushion_from_init == pytest.approx(
            layer.layer_cushion * layer.frobenius_norm / distance, rel=1e-4
        )
    same = measure(
        model,
        models.data(model),
        quantities=["layer_cushion"],
        initial_weights=weights,
        verbose=0,
    )
    assert same.layers["conv"].distance_from_init == 0
    assert same.layers["conv"].layer_cushion_from_init == np.inf


def pooled(pool):
    """A ReLU of `(3, -4, 1, 2)`, pooled, before the last layer."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, use_bias=False, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Reshape((4, 1)),
            pool,
            layers.Flatten(),
            layers.Dense(2, use_bias=False, name="last"),
        ]
    )
    model.layers[0].set_weights([np.eye(4)])
    return model, np.array([[3.0, -4.0, 1.0, 2.0]], "float32")


@pytest.mark.parametrize(
    "pool, size",
    [(layers.MaxPooling1D(2), 13**0.5), (layers.AveragePooling1D(2), 4.5**0.5)],
)
def test_lemma_3_contracts_by_pooling_too(pool, size):
    model, x = pooled(pool)  # ReLU leaves (3, 0, 1, 2), pooling (3, 2) or (3, 3) / 2.
    result = measure(model, x, num_draws=1, verbose=0)
    first, last = result.layers.values()
    assert first.pooled_contraction == 1
    assert last.activation_contraction == pytest.approx((30 / 14) ** 0.5)
    assert last.pooled_contraction == pytest.approx(30**0.5 / size)
    # Without constants as in the paper's table, with them as in its proof.
    assert last.effective_parameters == pytest.approx(
        (30 / 14)
        * (last.jacobian_spread / last.layer_cushion / last.minimal_interlayer_cushion)
        ** 2
    )
    number = result.effective_parameters("explicit", margin=0.5, delta=0.1)
    eps = min(1.0, 0.5 / np.sqrt(2) / result.max_output_norm)
    by_hand = sum(
        (layer.layer_cushion * layer.minimal_interlayer_cushion) ** -2
        for layer in result.layers.values()
    )
    by_hand *= (
        72
        * 30
        / size**2
        * max(layer.jacobian_spread for layer in result.layers.values()) ** 2
    )
    by_hand *= 4 * np.log(1 * 2 * 4 / 0.1) / eps**2
    assert number.value == pytest.approx(by_hand)


def test_the_contraction_is_of_all_layers_behind_a_layer_together():
    inputs = keras.Input((2,))
    a = layers.Dense(1, use_bias=False, name="a")(inputs)
    b = layers.Dense(1, "relu", use_bias=False, name="b")(inputs)
    joined = layers.Concatenate()([a, b])
    last = layers.Dense(1, use_bias=False, name="last")(joined)
    model = keras.Model(inputs, last)
    model.set_weights([np.eye(2)[:, :1], np.eye(2)[:, 1:], np.ones((2, 1))])
    result = measure(
        model,
        np.array([[3.0, -4.0]], "float32"),
        quantities=["activation_contraction"],
        verbose=0,
    )
    # (3, -4) comes out of both, and (3, 0) goes in.
    assert result.layers["last"].pooled_contraction == pytest.approx(5 / 3)


def test_effective_parameters_are_the_formula():
    model = models.convolutional()
    result = measure(model, models.data(model), num_draws=1, verbose=0)
    for layer in result.layers.values():
        overlap = {"conv": 9, "conv2": 4, "logits": 1}[layer.name]
        assert layer.patch_overlap == overlap
        expected = (
            overlap
            * (
                layer.activation_contraction
                * layer.jacobian_spread
                / layer.layer_cushion
                / layer.minimal_interlayer_cushion
            )
            ** 2
        )
        assert layer.effective_parameters == pytest.approx(expected)
