"""`measure` with one of several outputs, initial weights, and what follows."""

import models
import numpy as np
import pytest

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
    np.testing.assert_allclose(
        result.max_output_norm, norms(logits).max(), rtol=1e-5
    )
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
    before = [
        np.asarray(k)
        for k in (model.layers[0].kernel, model.layers[4].kernel)
    ]
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


def test_effective_parameters_are_the_formula():
    model = models.convolutional()
    result = measure(model, models.data(model), num_draws=1, verbose=0)
    for layer in result.layers.values():
        overlap = {"conv": 9, "conv2": 4, "logits": 1}[layer.name]
        assert layer.patch_overlap == overlap
        expected = overlap * (
            layer.activation_contraction
            * layer.jacobian_spread
            / layer.layer_cushion
            / layer.minimal_interlayer_cushion
        ) ** 2
        assert layer.effective_parameters == pytest.approx(expected)
