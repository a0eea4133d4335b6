"""Interlayer smoothness, through `measure`."""

import keras
import models
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import backend
from tf_genbounds import measure
from tf_genbounds.functional import linear_operator
from tf_genbounds.functional.random import normals
from tf_genbounds.measure.smoothness import Smoothness
from tf_genbounds.measure.smoothness import _kernel_noise
from tf_genbounds.network import Network
from tf_genbounds.network import taps


def measured(model, x, **options):
    return measure(model, x, quantities=["interlayer_smoothness"], verbose=0, **options)


@pytest.mark.parametrize("noise", ["projection", "gaussian"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_linear_networks_are_perfectly_smooth(noise, jit_compile):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.AveragePooling2D(2),
            layers.Conv2D(4, 2, strides=2),
            layers.Flatten(),
            layers.Dense(5),
            layers.Dense(3),
        ]
    )
    models.randomize(model)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 2)).astype("float32")
    result = measured(model, x, noise=noise, jit_compile=jit_compile)
    *hidden, last = result.layers.values()
    assert [layer.interlayer_smoothness for layer in hidden] == [np.inf] * 3
    assert last.interlayer_smoothness is None
    assert result.smoothness() == np.inf


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gaussian_equals_a_slow_twin(jit_compile):
    model = models.dense()
    x, _ = models.data(model)
    first, second = model.layers
    kernel, bias = first.get_weights()
    pre = x @ kernel + bias
    later = second.get_weights()[0]
    expected = np.empty((len(x), 3))
    for draw in range(3):
        for n, row in enumerate(pre):
            eta = np.asarray(normals([4, draw, 0, n], 5)).reshape(-1)
            eta = eta * 0.1 * np.linalg.norm(row) / np.linalg.norm(eta)
            out = np.maximum(row, 0) @ later + second.get_weights()[1]
            change = (np.maximum(row + eta, 0) - np.maximum(row, 0)) @ later
            residual = change - ((row > 0) * eta) @ later
            with np.errstate(divide="ignore"):
                expected[n, draw] = (
                    np.linalg.norm(eta) * np.linalg.norm(out)
                    / np.linalg.norm(row) / np.linalg.norm(residual)
                )  # fmt: skip
            if np.linalg.norm(residual) < 1e-6:
                expected[n, draw] = np.inf
    result = measured(
        model, x, noise="gaussian", num_draws=3, seed=4, jit_compile=jit_compile
    )
    values = result.distribution("interlayer_smoothness", "first")
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(values, expected, rtol=1e-3)
    assert result.layers["first"].interlayer_smoothness == values.min()
    # The least of each draw is the smoothness of the draw.
    draws = np.sort(values.min(axis=0))
    assert result.smoothness(0.05) == draws[0]
    assert result.smoothness(0.5) == draws[1]


def test_the_smoothness_of_a_layer_is_the_least_to_any_later_one():
    widths, seed = (6, 8, 8, 6, 3), 2
    kernels = [
        np.random.default_rng(k).normal(size=shape)
        for k, shape in enumerate(zip(widths[:-1], widths[1:], strict=True))
    ]
    model = keras.Sequential(
        [keras.Input(widths[:1])]
        + [layers.Dense(w, "relu", use_bias=False, name=f"l{w}{k}")
           for k, w in enumerate(widths[1:-1])]
        + [layers.Dense(widths[-1], use_bias=False, name="last")]
    )  # fmt: skip
    model.set_weights(kernels)
    x, _ = models.data(models.dense(), samples=30)
    found = measured(model, x, noise="gaussian", num_draws=1, seed=seed)

    def later(v, slopes=None):
        """The pre-activations after one, or its derivative at given slopes."""
        values = []
        for k, kernel in enumerate(kernels[1:]):
            v = (np.maximum(v, 0) if slopes is None else v * slopes[k]) @ kernel
            values.append(v)
        return values

    expected = []
    for n, row in enumerate(x @ kernels[0]):
        eta = np.asarray(normals([seed, 0, 0, n], widths[1])).reshape(-1)
        eta = eta * 0.1 * np.linalg.norm(row) / np.linalg.norm(eta)
        clean = later(row)
        slopes = [v > 0 for v in (row, *clean[:-1])]
        residuals = [
            np.linalg.norm(a - b - c)
            for a, b, c in zip(later(row + eta), clean, later(eta, slopes), strict=True)
        ]
        expected.append(
            [
                np.linalg.norm(v) / residual * 0.1 if residual > 1e-6 else np.inf
                for v, residual in zip(clean, residuals, strict=True)
            ]
        )
    values = found.distribution("interlayer_smoothness", "l80")[:, 0]
    np.testing.assert_allclose(values, np.min(expected, axis=1), rtol=1e-3)
    # The least is not always at the same layer, and far from the others.
    finite = np.array(expected)[np.isfinite(values)]
    assert len(set(finite.argmin(axis=1))) > 1
    assert (finite.mean(axis=1) > 1.05 * finite.min(axis=1)).all()


def test_projection_has_the_moments_of_the_algorithm():
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(3, 4)).astype("float32")
    count, draws = kernel.size, 4000
    noise = backend.jit(_kernel_noise)  # Uncompiled, JAX traces its branches each time.
    noises = np.array(
        [
            noise(
                ops.convert_to_tensor(kernel),
                ops.convert_to_tensor(generator.chisquare(count) / count, "float32"),
                ops.convert_to_tensor(
                    generator.standard_normal(kernel.shape), "float32"
                ),
            )
            for _ in range(draws)
        ]
    )
    square = (kernel**2).sum()
    # Gaussian matrices, k = N: E ||Ahat - A||^2 = (N + 1) / N ||A||^2.
    norms = (noises**2).sum(axis=(1, 2))
    expected = (count + 1) / count * square
    assert abs(norms.mean() - expected) < 4 * norms.std() / np.sqrt(draws)
    # Var <Ahat, B> = (||A||^2 ||B||^2 + <A, B>^2) / k, along A and across.
    for direction in (kernel, generator.normal(size=kernel.shape)):
        along = (noises * direction).sum(axis=(1, 2))
        variance = (
            square * (direction**2).sum() + (kernel * direction).sum() ** 2
        ) / count
        assert abs(along.mean()) < 4 * np.sqrt(variance / draws)
        assert along.var() == pytest.approx(variance, rel=0.12)


def test_a_folded_batch_norm_scales_the_noise_of_its_kernel():
    model = models.convolutional()
    x, _ = models.data(model, samples=3)
    net = Network.of(model)
    smoothness = Smoothness(
        net, net.pairs, noise="projection", num_draws=1, seed=0, xla=False
    )
    values = backend.values(model.variables)
    factors = smoothness._factors(values, 0)
    noise = np.asarray(smoothness._noises(values, x, factors, 0, 0)[0])
    conv, norm = model.get_layer("conv"), model.get_layer("norm")
    operator = net.maps["conv"].operator()
    change = np.asarray(_kernel_noise(operator.kernel, *factors[0]))
    scale = np.asarray(net.maps["conv"].operator().kernel / conv.kernel)
    before = np.asarray(norm(conv(x), training=False))
    kernel, bias = conv.get_weights()
    conv.set_weights([kernel + change / scale, bias])
    after = np.asarray(norm(conv(x), training=False))
    np.testing.assert_allclose(noise, after - before, rtol=1e-3, atol=1e-4)


def test_projection_moves_what_comes_after_the_kernels():
    # Draw 0 replaces the kernel of the layer itself; draw 1 does not, so that
    # nothing moves the first layer.
    model = models.convolutional()
    x, _ = models.data(model, samples=3)
    result = measured(model, x, num_draws=4)
    first = result.distribution("interlayer_smoothness", "conv")
    assert np.isinf(first[:, [1, 3]]).all()
    assert np.isfinite(first[:, [0, 2]]).any()
    second = result.distribution("interlayer_smoothness", "conv2")
    assert np.isfinite(second[:, 1]).any()


def test_calls_of_a_shared_layer_share_its_noise():
    # With the identity for a kernel, and the same input, both calls of the
    # layer are moved alike.
    inputs = keras.Input((4,))
    shared = layers.Dense(4, use_bias=False, name="shared")
    model = keras.Model(
        inputs,
        layers.Dense(2, name="out")(shared(inputs) - shared(inputs)),
    )
    x = np.ones((2, 4), "float32")
    net = Network.of(model)
    smoothness = Smoothness(
        net, net.pairs, noise="projection", num_draws=1, seed=0, xla=False
    )
    values = backend.values(model.variables)
    factors = smoothness._factors(values, 0)
    noises = smoothness._noises(values, x, factors, 0, 0)
    np.testing.assert_array_equal(noises[0], noises[1])
    assert np.abs(noises[0]).max() > 0


def test_the_same_noise_for_every_batch_size():
    model = models.convolutional()
    x, _ = models.data(model, samples=7)
    expected = measured(model, x, num_draws=2)
    result = measured(model, x, num_draws=2, batch_size=3)
    for name in ("conv", "conv2"):
        np.testing.assert_allclose(
            result.distribution("interlayer_smoothness", name),
            expected.distribution("interlayer_smoothness", name),
            rtol=1e-2,
        )


def test_noise_at_a_tap_is_what_the_operator_makes_of_it():
    # The run with perturbations is the run with other weights.
    model = models.convolutional()
    x, _ = models.data(model, samples=3)
    conv = model.get_layer("conv2")
    change = np.random.default_rng(0).normal(size=conv.kernel.shape)
    change = change.astype("float32")
    net = Network.of(model)
    linear = net.maps["conv2"]
    operator = linear_operator(conv, linear.input_shape)

    def perturb(inputs, _):
        return type(operator)(operator.structure, change).matvec(inputs[0])

    output, _ = taps.run(
        model,
        backend.values(model.variables),
        ops.convert_to_tensor(x),
        {linear.tap: perturb},
    )
    kernel, bias = conv.get_weights()
    conv.set_weights([kernel + change, bias])
    np.testing.assert_allclose(output, model(x), rtol=1e-4, atol=1e-4)
