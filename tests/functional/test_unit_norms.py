"""Norms of the weights into each unit, against NumPy."""

import keras
import numpy as np
import pytest

from tf_genbounds.functional import linear_operator
from tf_genbounds.functional import unit_norms


@pytest.mark.parametrize("order", [1, 2])
def test_rows_of_a_matrix(order):
    a = np.random.default_rng(0).normal(size=(2, 5, 7))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(unit_norms(a, order)),
        np.linalg.norm(a, ord=order, axis=-1),
        rtol=1e-6,
    )


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_numbers_of_any_size(scale):
    norms = keras.ops.convert_to_numpy(unit_norms(np.full((3, 4), scale), order=2))
    np.testing.assert_allclose(norms, 2 * scale, rtol=1e-6)


def test_a_unit_of_a_layer_is_a_filter():
    dense = keras.layers.Dense(3)
    dense.build((None, 5))
    kernel = np.asarray(dense.kernel)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(unit_norms(linear_operator(dense), 1))[0],
        np.abs(kernel).sum(axis=0),
        rtol=1e-6,
    )
    conv = keras.layers.Conv2D(4, 3, groups=2)
    conv.build((None, 6, 6, 4))
    kernel = np.asarray(conv.kernel).reshape(-1, 4)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(unit_norms(linear_operator(conv), 2)).ravel(),
        np.sqrt((kernel**2).sum(axis=0)),
        rtol=1e-6,
    )


def test_another_order_is_refused():
    with pytest.raises(ValueError, match="Received: order=3"):
        unit_norms(np.ones((2, 2)), order=3)
