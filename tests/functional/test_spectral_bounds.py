import numpy as np
import oracles
import pytest
from keras import layers
from keras import ops
from linear_layers import KINDS
from linear_layers import linear_layer

from tf_genbounds import backend
from tf_genbounds.functional.operators import frobenius_norm
from tf_genbounds.functional.operators import linear_operator
from tf_genbounds.functional.spectral_bounds import spectral_norm_upper_bound

METHODS = ["fourier", "reshaped", "frobenius"]
SEEDS = range(9 if backend.name == "tensorflow" else 1)


def convolution(seed, size, channels, filters, taps, **options):
    layer = layers.Conv2D(filters, taps, **options)
    layer.build((None, size, size, channels))
    generator = np.random.default_rng(seed)
    layer.kernel.assign(generator.normal(size=layer.kernel.shape))
    return linear_operator(layer)


def norm(operator):
    return oracles.spectral_norm(ops.convert_to_numpy(operator.as_matrix()))


@pytest.mark.parametrize("kind", KINDS)
def test_no_bound_falls_short_of_the_norm(kind):
    for seed in SEEDS:
        layer, _ = linear_layer(kind, seed)
        operator = linear_operator(layer)
        expected = norm(operator)
        bounds = {m: spectral_norm_upper_bound(operator, m) for m in METHODS}
        assert all(bound >= expected for bound in bounds.values()), (seed, bounds)
        assert spectral_norm_upper_bound(operator) == min(bounds.values())


@pytest.mark.parametrize("kind", ["Dense", "EinsumDense"])
@pytest.mark.parametrize("method", ["fourier", "reshaped", "tightest"])
def test_bounds_without_taps_are_the_norm(kind, method):
    layer, shape = linear_layer(kind, 0)
    np.testing.assert_allclose(
        spectral_norm_upper_bound(linear_operator(layer), method),
        oracles.spectral_norm(oracles.layer_matrix(layer, shape)),
        rtol=5e-6,
    )


def test_ones_in_closed_form():
    # Circular 9; a pixel lies in 9 patches, and the kernel has norm 3.
    layer = layers.Conv2D(1, 3, padding="same", kernel_initializer="ones")
    layer.build((None, 6, 6, 1))
    operator = linear_operator(layer)
    expected = {"fourier": 9.0, "reshaped": 9.0, "frobenius": 16.0}
    for method, value in expected.items():
        bound = spectral_norm_upper_bound(operator, method)
        np.testing.assert_allclose(bound, value * (1 + 1e-6), rtol=1e-12)


def test_the_transform_on_the_image_alone_is_exceeded_and_not_used():
    # Theory, section 31, row 20.
    exceeded = 0
    for seed in range(60):
        operator = convolution(seed, 4, 1, 1, 3, padding="same")
        kernel = ops.convert_to_numpy(operator.kernel)[:, :, 0, 0]
        on_image = np.max(np.abs(np.fft.fft2(kernel, (4, 4))))
        exceeded += norm(operator) > on_image * (1 + 1e-5)
        assert spectral_norm_upper_bound(operator, "fourier") > norm(operator)
    assert exceeded > 0


def test_fourier_is_the_norm_of_the_circular_convolution():
    operator = convolution(0, 5, 3, 2, (2, 3), padding="same", dilation_rate=2)
    kernel = ops.convert_to_numpy(operator.kernel)
    dilated = np.zeros((3, 5, 3, 2))
    dilated[::2, ::2] = kernel
    grid = np.fft.fft2(dilated, (5 + 2, 5 + 4), axes=(0, 1))
    np.testing.assert_allclose(
        spectral_norm_upper_bound(operator, "fourier"),
        np.max(np.linalg.norm(grid, 2, axis=(-2, -1))),
        rtol=2e-6,
    )


def test_large_grids_go_in_pieces(monkeypatch):
    operator = convolution(0, 6, 2, 3, 3)
    expected = spectral_norm_upper_bound(operator, "fourier")
    module = "tf_genbounds.functional.spectral_bounds._CHUNK_BYTES"
    monkeypatch.setattr(module, 16 * 18 * 5)
    assert spectral_norm_upper_bound(operator, "fourier") == expected


def test_reshaped_is_the_norm_where_patches_do_not_overlap():
    operator = convolution(0, 9, 2, 4, 3, strides=3)
    bound = spectral_norm_upper_bound(operator, "reshaped")
    np.testing.assert_allclose(bound, norm(operator), rtol=5e-6)
    assert spectral_norm_upper_bound(operator, "fourier") > 1.1 * bound


def test_strides_and_dilations_with_a_common_factor_overlap_more():
    # 5 even pixels, on each of which 3 patches lie; the odd ones are not seen.
    layer = layers.SeparableConv1D(
        1,
        3,
        strides=2,
        dilation_rate=2,
        padding="same",
        depthwise_initializer="ones",
        pointwise_initializer="ones",
    )
    layer.build((None, 9, 1))
    operator = linear_operator(layer)
    np.testing.assert_allclose(norm(operator), 1 + np.sqrt(3), rtol=1e-5)
    bound = spectral_norm_upper_bound(operator, "reshaped")
    np.testing.assert_allclose(bound, 3.0, rtol=2e-6)


def test_a_sum_over_an_axis_that_the_kernel_does_not_see_counts():
    layer = layers.EinsumDense("abc,cd->ad", (3,), kernel_initializer="ones")
    layer.build((None, 4, 3))
    for method in ("fourier", "reshaped", "frobenius"):
        bound = spectral_norm_upper_bound(linear_operator(layer), method)
        np.testing.assert_allclose(bound, 6.0, rtol=2e-6)


def test_frobenius_agrees_with_the_exact_norm():
    operator = convolution(0, 6, 2, 3, 3, strides=2, padding="same")
    np.testing.assert_allclose(
        spectral_norm_upper_bound(operator, "frobenius"),
        frobenius_norm(operator, "operator"),
        rtol=2e-6,
    )


def test_zero_has_bound_zero():
    operator = convolution(0, 6, 2, 3, 3).scaled(np.zeros(3))
    assert [spectral_norm_upper_bound(operator, m) for m in METHODS] == [0.0] * 3


def test_bad_input_is_refused():
    operator = convolution(0, 6, 2, 3, 3)
    with pytest.raises(ValueError, match="Received: method='fft'"):
        spectral_norm_upper_bound(operator, "fft")
    with pytest.raises(ValueError, match="NaN or infinity"):
        spectral_norm_upper_bound(operator.scaled(np.full(3, np.nan)))
    layer = layers.Conv1D(2, 3)
    layer.build((None, None, 4))
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 4\)"):
        spectral_norm_upper_bound(linear_operator(layer))
