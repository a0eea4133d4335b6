"""Figure 3: its rows from a model, against NumPy and worked numbers."""

import keras
import models
import numpy as np
import pytest
from keras import layers

import tf_genbounds as gb
from tf_genbounds.experiments import BoundComparison
from tf_genbounds.experiments import compare_bounds

FIRST, SECOND = np.diag([2.0, 1.0]), np.array([[1.0, 1.0], [0.0, 1.0]])
ROWS = [
    "l1_inf",
    "frobenius",
    "spectral_l21",
    "spectral_frobenius",
    "parameters",
    "effective_parameters",
]


def network(*matrices):
    model = keras.Sequential([keras.Input((matrices[0].shape[1],))])
    for a in matrices[:-1]:
        model.add(layers.Dense(len(a), activation="relu", use_bias=False))
    model.add(layers.Dense(len(matrices[-1]), use_bias=False))
    model.set_weights([a.T for a in matrices])
    return model


def values(found):
    return np.array([c.value for c in found.complexities.values()])


@pytest.fixture(scope="module")
def case():
    x = np.abs(np.random.default_rng(0).normal(size=(50, 2)))
    return network(FIRST, SECOND), (x, np.zeros(50, int))


def test_worked_numbers(case):
    model, data = case
    found = compare_bounds(model, data, margin=1.0, exact=True)
    assert list(found.complexities) == ROWS
    expected = [16, 15, 46.8760144, 50.1803399, 8]
    np.testing.assert_allclose(values(found)[:5], expected, rtol=1e-6)
    measured = gb.measure(model, data, exact=True, verbose=0)
    total = sum(m.effective_parameters for m in measured.layers.values())
    assert values(found)[5] == pytest.approx(
        measured.max_output_norm**2 * total, rel=1e-5
    )
    assert found == BoundComparison.from_json(found.to_json())
    # The inputs and the margin, each where it belongs.
    scaled = compare_bounds(model, data, margin=0.5, scale_inputs=True, exact=True)
    norm = np.linalg.norm(data[0], axis=1).max()
    np.testing.assert_allclose(
        values(scaled) / values(found), [4 * norm**2] * 4 + [1, 4], rtol=1e-5
    )


def test_the_margin_is_a_percentile_of_all_samples(case):
    model, (x, _) = case
    logits = np.maximum(x @ FIRST.T, 0) @ SECOND.T
    # Every second label is the smaller logit: half of the margins are negative.
    labels = (np.argmax(logits, axis=1) + np.arange(50)) % 2
    found = compare_bounds(model, (x, labels), percentile=80, num_samples=4)
    signs = np.where(np.arange(50) % 2, -1, 1)
    expected = np.percentile(signs * np.abs(logits[:, 0] - logits[:, 1]), 80,
                             method="lower")  # fmt: skip
    assert found.margin == pytest.approx(expected, rel=1e-5)
    assert found.num_samples == 50
    wrong = compare_bounds(model, (x, labels), num_samples=4)
    assert wrong.margin < 0
    assert np.isinf(np.delete(values(wrong), 4)).all() and values(wrong)[4] == 8


def test_the_code_of_an_author_and_the_initial_weights(case):
    model, data = case
    initial = [np.eye(2), np.eye(2)]
    found = compare_bounds(
        model, data, margin=1.0, variant="neyshabur-code", initial_weights=initial
    )
    assert list(found.complexities) == ROWS[:4]
    differences = [FIRST - np.eye(2), SECOND - np.eye(2)]
    expected = gb.bounds.norm_based_complexities(
        spectral_norms=[np.linalg.norm(a, 2) for a in (FIRST, SECOND)],
        frobenius_norms=[np.linalg.norm(a) for a in (FIRST, SECOND)],
        l1_inf_norms=[2, 2],
        l21_norms=[np.linalg.norm(a, axis=1).sum() for a in differences],
        num_units=[2, 2],
        distances=[np.linalg.norm(a) for a in differences],
        margin=1.0,
        variant="neyshabur-code",
        num_samples=50,
        num_inputs=2,
        num_parameters=8,
    )
    np.testing.assert_allclose(
        values(found), [c.value for c in expected.values()], rtol=1e-5
    )
    # The effective parameters of the difference.
    near = compare_bounds(model, data, margin=1.0, initial_weights=model.get_weights())
    assert values(near)[5] == 0 and (values(near)[:5] > 0).all()


def test_convolutions_count_by_their_kernels():
    model = models.convolutional()
    found = compare_bounds(model, models.data(model), num_probes=4)
    kernels = [
        np.asarray(w).reshape(-1, w.shape[-1])
        for w in model.weights
        if w.path.endswith("kernel")
    ]
    scale = np.asarray(model.layers[1].gamma) / np.sqrt(
        np.asarray(model.layers[1].moving_variance) + 1e-3
    )
    kernels[0] = kernels[0] * scale  # The batch norm is folded.
    expected = np.prod([np.linalg.norm(k) for k in kernels]) ** 2
    if found.margin > 0:
        assert found.complexities["frobenius"].value == pytest.approx(
            expected / found.margin**2, rel=1e-4
        )
    else:
        assert np.isinf(found.complexities["frobenius"].value)


def test_during_training_and_its_plot(case):
    pytest.importorskip("matplotlib")
    _, data = case
    model = network(FIRST, SECOND)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    monitor = gb.callbacks.GeneralizationMonitor(
        data, metrics=[gb.metrics.Complexities(margin=1.0)], exact=True
    )
    history = model.fit(*data, epochs=2, verbose=0, callbacks=[monitor])
    found = compare_bounds(model, data, margin=1.0, exact=True, num_samples=None)
    for row, value in zip(ROWS, values(found), strict=True):
        assert history.history[f"complexities/{row}"][-1] == pytest.approx(
            value, rel=1e-4
        )
    assert len(found.plot().axes) == 1
    figure = found.plot(history)
    assert len(figure.axes) == 2 and len(figure.axes[1].lines) == 6
    with pytest.raises(ValueError, match="no complexities"):
        found.plot({"loss": [1.0]})


def test_labels_are_needed(case):
    model, (x, _) = case
    with pytest.raises(ValueError, match="Margins need labels"):
        compare_bounds(model, x)
    with pytest.raises(ValueError, match="unit_norms|l1_inf_norm"):
        gb.measure(
            model, x, quantities=["spectral_norm", "frobenius_norm"], verbose=0
        ).complexities(margin=1.0)
