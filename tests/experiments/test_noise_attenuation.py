import keras
import models
import numpy as np
import pytest
from keras import layers

import tf_genbounds as gb
from tf_genbounds.experiments import NoiseAttenuation
from tf_genbounds.experiments import noise_attenuation
from tf_genbounds.functional.random import normals


def linear(*kernels):
    model = keras.Sequential(
        [keras.Input((len(kernels[0]),))]
        + [
            layers.Dense(kernel.shape[1], use_bias=False, name=f"layer_{k}")
            for k, kernel in enumerate(kernels)
        ]
    )
    model.set_weights(kernels)
    return model


def test_a_linear_layer_attenuates_what_is_not_its_top_direction():
    model = linear(np.diag([10.0, 1.0, 1.0, 1.0]))
    x = np.tile(np.eye(4, dtype="float32")[:1], (4000, 1))
    result = noise_attenuation(model, x, num_samples=None, batch_size=1000)
    # E of the norm, from the law of a direction: by a simulation of its own.
    generator = np.random.default_rng(1)
    eta = generator.normal(size=(200_000, 4))
    eta *= 0.1 / np.linalg.norm(eta, axis=1, keepdims=True)
    errors = np.linalg.norm(eta * [10, 1, 1, 1], axis=1) / 10
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(0.0507445, rel=0.01)
    mean, low, median, high = result.errors["layer_0", "layer_0"]
    assert mean == pytest.approx(errors.mean(), rel=0.01)
    expected = np.quantile(errors, [0.1, 0.5, 0.9])
    assert (low, median, high) == pytest.approx(tuple(expected), rel=0.03)
    assert result.num_samples == 4000 and result.num_draws == 4


def test_orthogonal_layers_keep_the_noise():
    orthogonal = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    model = linear(orthogonal, 3 * orthogonal, orthogonal)
    for at in ("input", "pre_activation"):
        result = noise_attenuation(model, np.ones((3, 5)), relative_norm=0.2, at=at)
        assert len(result.errors) == 6
        for numbers in result.errors.values():
            assert numbers == pytest.approx((0.2,) * 4, rel=1e-4)


def test_mean_square_error_is_the_inverse_square_of_a_cushion():
    # Noise at x^i of a linear network: 0.1 / (sqrt(n) mu_{i,j}), n of x^i.
    generator = np.random.default_rng(0)
    model = linear(*(generator.normal(size=s) for s in ((6, 8), (8, 7), (7, 5))))
    x = np.tile(generator.normal(size=(1, 6)).astype("float32"), (2000, 1))
    result = noise_attenuation(
        model, x, at="pre_activation", num_samples=None, num_draws=1, seed=3
    )
    measured = gb.measure(model, x[:1], exact=True, verbose=0)
    for (i, j), cushion in measured.interlayer_cushion.items():
        width = measured.layers[i].num_channels
        mean = result.errors[i, j][0]
        expected = 0.1 / (np.sqrt(width) * cushion)
        # The mean is a little less than the root of the mean square.
        assert 0.85 * expected < mean < 1.02 * expected


def test_noise_at_the_input_goes_through_the_folded_layer_alone():
    model = models.convolutional()
    x, _ = models.data(model, samples=6)
    result = noise_attenuation(model, x, num_draws=2)
    assert list(result.layers) == ["conv", "conv2", "logits"]
    assert result.curve("conv")[0] == ["conv", "conv2", "logits"]
    assert result.curve("logits")[0] == ["logits"]
    # At the first layer it is noise in the image: the model run on it.
    errors = []
    clean = np.asarray(model(x)).reshape(6, -1)
    for draw in range(2):
        eta = np.asarray(normals([0, draw, 0, np.arange(6)], 64)).reshape(x.shape)
        norms = np.linalg.norm(eta.reshape(6, -1), axis=1)
        sizes = 0.1 * np.linalg.norm(x.reshape(6, -1), axis=1) / norms
        noisy = np.asarray(model(x + eta * sizes[:, None, None, None]))
        errors.append(
            np.linalg.norm(noisy - clean, axis=1) / np.linalg.norm(clean, axis=1)
        )
    assert result.errors["conv", "logits"][0] == pytest.approx(
        np.mean(errors), rel=1e-3
    )


def test_batches_and_json():
    model = models.residual()
    x, _ = models.data(model, samples=7)
    expected = noise_attenuation(model, x)
    result = noise_attenuation(model, x, batch_size=3)
    assert result.errors.keys() == expected.errors.keys()
    for pair, numbers in result.errors.items():
        assert numbers == pytest.approx(expected.errors[pair], rel=1e-4)
    assert NoiseAttenuation.from_json(expected.to_json()) == expected
    other = noise_attenuation(model, x, seed=1)
    assert other.errors["stem", "logits"] != expected.errors["stem", "logits"]


def test_plot():
    result = noise_attenuation(models.convolutional(), models.images()[0])
    (ax,) = result.plot().axes
    assert len(ax.lines) == 3  # Two curves and the size of the noise.
    np.testing.assert_allclose(ax.lines[0].get_ydata(), result.curve("conv")[1])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"relative_norm": 0}, "`relative_norm` must be positive"),
        ({"at": "output"}, "`at` must be one of"),
        ({"num_draws": 0}, "`num_draws` must be a positive"),
    ],
)
def test_refuses_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        noise_attenuation(models.dense(), np.ones((2, 6)), **options)
