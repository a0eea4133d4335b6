import models
import numpy as np
import pytest

import tf_genbounds as gb
from tf_genbounds.experiments import NoiseStability
from tf_genbounds.experiments import noise_stability
from tf_genbounds.experiments.noise_stability import QUANTITIES


def test_trained_beside_random():
    model = models.convolutional()
    x, _ = models.data(model)
    weights = model.get_weights()
    result = noise_stability(model, x, num_draws=2)
    assert list(result.measurements) == ["trained", "random"]
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    measured = gb.measure(model, x, num_draws=2, verbose=0)
    for quantity in QUANTITIES:
        expected = [
            values.min(axis=1) if values.ndim > 1 else values
            for (name, _), values in measured.distributions.items()
            if name == quantity
        ]
        np.testing.assert_allclose(
            result.values("trained", quantity), np.concatenate(expected), rtol=1e-4
        )
        assert result.median("trained", quantity) == pytest.approx(
            float(np.median(np.concatenate(expected))), rel=1e-4
        )
    assert result.median("trained", "layer_cushion") != (
        result.median("random", "layer_cushion")
    )


def test_several_models_by_label_and_json():
    labelled = {"a": models.dense(), "b": models.randomize(models.dense(), 1)}
    x, _ = models.data(labelled["a"])
    result = noise_stability(labelled, x, num_samples=5, num_draws=1)
    assert {m.num_samples for m in result.measurements.values()} == {5}
    again = NoiseStability.from_json(result.to_json())
    for label in labelled:
        np.testing.assert_array_equal(
            again.values(label, "layer_cushion"),
            result.values(label, "layer_cushion"),
        )
    with pytest.raises(ValueError, match="put it into the dict"):
        noise_stability(labelled, x, random_model=models.dense())


def test_plot():
    model = models.convolutional()
    result = noise_stability(model, models.data(model)[0], num_draws=1)
    figure = result.plot()
    assert len(figure.axes) == 5
    assert figure.axes[0].get_title(loc="left") == "Layer cushion"


def test_refuses_what_is_no_model():
    with pytest.raises(TypeError, match="must be a Keras model or a dict"):
        noise_stability("model", np.ones((2, 6)))
    with pytest.raises(ValueError, match="Did you mean 'trained'"):
        NoiseStability({"trained": None}).values("traned", "layer_cushion")
