import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import tf_genbounds as gb
from tf_genbounds.measure import measure
from tf_genbounds.measure.decision import count_errors

generator = np.random.default_rng(0)
X = generator.normal(size=(40, 4)).astype("float32")
Y = (X[:, 0] > 0).astype(int)


@keras.saving.register_keras_serializable("tf_genbounds_tests")
class Centered(layers.Layer):
    """Hides an operation over the batch from the graph of the model."""

    def call(self, x):
        return x - 0.01 * ops.mean(x, axis=0)


@keras.saving.register_keras_serializable("tf_genbounds_tests")
class Noisy(layers.Layer):
    """Random in inference, too."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seed_generator)


def functional(function, shape=(4,)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, function(inputs))


SEEN = {
    "mean": lambda x: layers.Dense(2)(x - ops.mean(x, axis=0)),
    "negative axis": lambda x: layers.Dense(2)(x - ops.max(x, axis=-2)),
    "all at once": lambda x: layers.Dense(2)(x / ops.max(ops.abs(x))),
    "unit": lambda x: layers.Dense(2)(layers.UnitNormalization(axis=0)(x)),
    "softmax": lambda x: layers.Softmax(axis=0)(layers.Dense(2)(x)),
    "cumulative": lambda x: layers.Dense(2)(ops.cumsum(x, axis=0)),
    "roll": lambda x: layers.Dense(2)(ops.roll(x, 1, axis=0)),
    "flip": lambda x: layers.Dense(2)(ops.flip(x, axis=0)),
    "inside": lambda x: functional(lambda t: ops.flip(t, axis=0), (2,))(
        layers.Dense(2)(x)
    ),
}


@pytest.mark.parametrize("name", SEEN)
def test_an_operation_along_the_batch_axis_is_refused_by_name(name):
    model = functional(SEEN[name])
    with pytest.raises(ValueError, match="works along the batch axis"):
        count_errors(model, (X, Y))
    notes = measure(model, X, verbose=0).notes
    assert sum("along the batch axis" in note for note in notes) == 1


def test_compress_refuses_it_too():
    with pytest.raises(ValueError, match="'mean' works along the batch axis"):
        gb.compress(functional(SEEN["mean"]), (X, Y), num_levels=3)


def test_what_a_layer_hides_shows_in_the_predictions():
    model = functional(lambda x: layers.Dense(2)(Centered()(x)))
    with pytest.raises(ValueError, match="changes with the rest of the batch"):
        count_errors(model, (X, Y))
    # Batches of one leave nothing to compare within a batch.
    with pytest.raises(ValueError, match="changes with the rest of the batch"):
        count_errors(functional(lambda x: Noisy()(x)[:, :2]), (X, Y))


def test_what_reads_the_size_of_the_batch_is_refused():
    class Counting(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x) / ops.cast(ops.shape(x)[0], "float32")

    model = Counting()
    model(X[:1])
    with pytest.raises(ValueError, match="changes with the rest of the batch"):
        count_errors(model, (X, Y))


def test_a_layer_with_a_memory_is_refused():
    inputs = keras.Input(batch_shape=(8, 4))
    x = layers.LSTM(3, stateful=True)(ops.expand_dims(inputs, 1))
    model = keras.Model(inputs, layers.Dense(2)(x))
    with pytest.raises(ValueError, match="carries a state"):
        count_errors(model, (X, Y), batch_size=8)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: layers.Dense(2)(layers.BatchNormalization()(x)),
        lambda x: layers.Dense(2)(layers.LayerNormalization()(x)),
        lambda x: layers.Dense(2)(ops.sum(ops.expand_dims(x, 1), axis=1)),
        lambda x: layers.Dense(2)(layers.Dropout(0.5)(ops.mean(x, -1, keepdims=True))),
        lambda x: layers.Dense(2)(layers.Concatenate()([x, x])),
        lambda x: layers.Dense(2)(ops.concatenate([x, x], axis=-1)),
        lambda x: layers.Dense(2)(ops.reshape(ops.stack([x, x], axis=1), (-1, 8))),
    ],
)
def test_other_axes_are_no_reason(function):
    count = count_errors(functional(function), (X, Y), batch_size=24)
    assert (count.num_samples, count.num_compared) == (40, 24)
