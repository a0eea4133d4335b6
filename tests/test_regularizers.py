import keras
import numpy as np
import pytest

from tf_genbounds.regularizers import DARC1


@pytest.mark.parametrize("copies", [1, 3])
def test_penalty_is_independent_of_batch_size(copies):
    x = np.array([[1.0, -4.0], [-3.0, 0.0]], dtype="float32")  # Means: 2, 2.
    layer = keras.layers.Dense(
        2, kernel_initializer="identity", activity_regularizer=DARC1(0.5)
    )
    layer(np.tile(x, (copies, 1)))
    np.testing.assert_allclose(layer.losses[0], 1.0, rtol=1e-6)


def test_empty_batch_adds_nothing():
    layer = keras.layers.Identity(activity_regularizer=DARC1(0.5))
    layer(np.zeros((0, 3), "float32"))
    assert float(layer.losses[0]) == 0.0


def test_regularizer_of_a_softmax_layer_is_refused():
    layer = keras.layers.Softmax(activity_regularizer=DARC1())
    with pytest.raises(ValueError, match="DARC1 penalizes logits"):
        layer(np.ones((2, 3), "float32"))
