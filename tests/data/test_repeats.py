"""Repeated samples are counted, whatever their order and form."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from tf_genbounds.compression import QuantizedTraining
from tf_genbounds.compression import compress
from tf_genbounds.data.batches import batches
from tf_genbounds.data.repeats import repeated_rows
from tf_genbounds.data.repeats import warn_of_repeats


def distinct(samples=40):
    x = np.random.default_rng(0).normal(size=(samples, 2, 3)).astype("float32")
    return x, np.arange(samples) % 2


def count(data, batch_size=7):
    return repeated_rows(batches(data, batch_size=batch_size))


def test_distinct_samples_have_no_repeats():
    # The padding of the last batch does not count.
    assert count(distinct()) == (0, 40)


def test_repeats_are_counted_over_batches_in_any_order():
    x, y = distinct()
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(40), 5))
    assert count((x[order], y[order])) == (160, 200)
    assert count(x[order]) == (160, 200)


def test_another_label_or_another_input_is_another_sample():
    x = np.zeros((4, 3), "float32")
    assert count((x, np.array([0, 1, 0, 1]))) == (2, 4)
    inputs = {"a": x, "b": np.array([[1], [2], [1], [3]])}
    assert count((inputs, np.zeros(4, int))) == (1, 4)
    # Equal numbers are equal.
    assert count(np.array([[0.0], [-0.0], [1.0]])) == (1, 3)


@pytest.mark.tensorflow
def test_a_dataset_that_repeats():
    import tensorflow as tf

    x, y = distinct(20)
    data = tf.data.Dataset.from_tensor_slices((x, y)).repeat(500).shuffle(100).batch(64)
    assert count(data) == (9980, 10000)


def test_few_repeats_go_without_a_word():
    x, y = distinct(200)
    for repeats, warned in ((2, False), (3, True)):
        order = np.r_[np.arange(200 - repeats), np.zeros(repeats, int)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_repeats((x[order], y[order]))
        assert len(caught) == warned


@pytest.mark.parametrize("way", ["compress", "quantized"])
def test_a_certificate_of_repeated_samples_warns(way):
    x, y = distinct(20)
    x, y = np.tile(x, (5, 1, 1)), np.tile(y, 5)
    model = keras.Sequential([keras.Input((2, 3)), layers.Flatten(), layers.Dense(2)])
    with pytest.warns(UserWarning, match="Only 20 of 100 samples are dist") as caught:
        if way == "compress":
            compress(model, (x, y), num_levels=3)
        else:
            QuantizedTraining(model, 100).compress((x, y))
    assert any(w.filename == __file__ for w in caught if "distinct" in str(w.message))
