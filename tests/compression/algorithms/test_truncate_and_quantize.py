"""Lemma 1 and quantization, against their definitions."""

import keras
import numpy as np
import pytest

from tf_genbounds.compression import quantize
from tf_genbounds.compression import to_float16
from tf_genbounds.compression import truncate_svd
from tf_genbounds.functional import linear_operator


def test_reference_value():
    factors = truncate_svd(np.diag([4.0, 2.0, 1.0]), 0.5)
    assert factors.rank == 2 and factors.error == 1.0
    np.testing.assert_allclose(factors.kernel(), np.diag([4.0, 2.0, 0.0]), atol=1e-6)
    # `rank <= stable rank / t**2 = 5.25`.
    assert factors.rank <= (16 + 4 + 1) / 16 / 0.5**2


@pytest.mark.parametrize("threshold", [0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(7, 5), (3, 3, 2, 4), (2, 6, 8)])
def test_lemma_1(shape, threshold):
    kernel = np.random.default_rng(0).normal(size=shape)
    matrix = kernel.reshape(-1, shape[-1])
    values = np.linalg.svd(matrix, compute_uv=False)
    factors = truncate_svd(kernel, threshold)
    difference = factors.kernel().reshape(matrix.shape) - matrix
    error = np.linalg.norm(difference, 2)
    assert error <= threshold * values[0] * (1 + 1e-6)
    assert error == pytest.approx(factors.error, rel=1e-4, abs=1e-5)
    assert factors.rank <= np.sum(values**2) / values[0] ** 2 / threshold**2
    assert factors.rank == np.sum(values >= threshold * values[0])
    assert factors.size == (matrix.shape[0] + matrix.shape[1]) * factors.rank


def test_factors_are_two_convolutions():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype("float32")
    factors = truncate_svd(kernel, rank=2)
    x = np.random.default_rng(1).normal(size=(2, 6, 6, 2)).astype("float32")
    expected = keras.ops.conv(x, factors.kernel(), padding="same")
    found = keras.ops.conv(
        keras.ops.conv(x, factors.first, padding="same"), factors.second
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found),
        keras.ops.convert_to_numpy(expected),
        rtol=1e-4,
        atol=1e-5,
    )


def test_the_operator_moves_by_no_more_than_it_may():
    layer = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)
    layer.build((None, 5, 5, 3))
    operator = linear_operator(layer, input_shape=(5, 5, 3))
    before = keras.ops.convert_to_numpy(operator.as_matrix())
    norm = np.linalg.norm(before, 2)
    overlap = operator.structure.patch_overlap(operator.kernel)
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    for threshold in (0.1, 0.3, 0.6):
        factors = truncate_svd(kernel, threshold, operator_norm=norm, overlap=overlap)
        layer.kernel.assign(factors.kernel())
        after = linear_operator(layer, input_shape=(5, 5, 3)).as_matrix()
        moved = np.linalg.norm(keras.ops.convert_to_numpy(after) - before, 2)
        assert moved <= threshold * norm * (1 + 1e-5)


def test_edges_of_truncation():
    assert truncate_svd(np.eye(3), 1.0).rank == 3  # Equal values are kept.
    nothing = truncate_svd(np.eye(3), 1.5)
    assert nothing.rank == 0 and nothing.error == 1.0 and not nothing.kernel().any()
    zero = truncate_svd(np.zeros((2, 3)), 0.5)
    assert zero.rank == 0 and zero.error == 0.0 and zero.kernel().shape == (2, 3)
    full = truncate_svd(np.diag([1.0, 2.0]), rank=2)
    assert full.error == 0.0
    for arguments in ({}, {"threshold": 0.5, "rank": 1}):
        with pytest.raises(ValueError, match="either `threshold` or `rank`"):
            truncate_svd(np.eye(2), **arguments)
    with pytest.raises(ValueError, match=r"in \[0, 2\]. Received: rank=3"):
        truncate_svd(np.eye(2), rank=3)
    with pytest.raises(ValueError, match="threshold=-1"):
        truncate_svd(np.eye(2), -1)
    with pytest.raises(ValueError, match="must be finite"):
        truncate_svd(np.full((2, 2), np.inf), 0.5)


@pytest.mark.parametrize("num_levels", [3, 5, 7, 255])
def test_quantize(num_levels):
    array = np.random.default_rng(0).normal(size=(40, 5))
    found = quantize(array, num_levels)
    end = num_levels // 2
    assert found.indices.min() >= -end and found.indices.max() <= end
    assert abs(found.indices).max() == end  # The largest is on the grid.
    step = float(found.step)
    assert np.max(np.abs(found.values() - array)) <= step / 2 * (1 + 1e-6)
    # The nearest level: no other is nearer.
    levels = step * np.arange(-end, end + 1)
    nearest = np.abs(array[..., None] - levels).min(axis=-1)
    np.testing.assert_allclose(np.abs(found.values() - array), nearest, atol=1e-6)


def test_quantize_clips_the_index():
    found = quantize(np.array([10.0, -10.0, 0.3]), 5, largest=1.0)
    np.testing.assert_array_equal(found.indices, [2, -2, 1])
    np.testing.assert_array_equal(found.values(), [1.0, -1.0, 0.5])
    assert not quantize(np.zeros(3), 3).values().any()
    again = quantize(found.values(), 5, largest=1.0)
    np.testing.assert_array_equal(again.values(), found.values())


def test_bad_input_of_quantize():
    for levels in (2, 4, 1):
        with pytest.raises(ValueError, match=f"num_levels={levels}"):
            quantize(np.ones(2), levels)
    with pytest.raises(ValueError, match="largest=0"):
        quantize(np.ones(2), 3, largest=0)
    with pytest.raises(ValueError, match="too small for a float32 step"):
        quantize(np.ones(2), 3, largest=1e-60)
    with pytest.raises(ValueError, match="must be finite"):
        quantize(np.array([np.nan]), 3)


def test_float16_is_within_its_precision_or_refused():
    array = np.random.default_rng(0).normal(size=1000) * 100
    found = to_float16(array)
    assert found.dtype == np.float16
    assert np.max(np.abs(found - array) / np.abs(array)) <= 2**-11
    with pytest.raises(ValueError, match="max.abs.array..=70000"):
        to_float16(np.array([7e4]))
    with pytest.raises(ValueError, match="must be finite"):
        to_float16(np.array([np.nan]))
