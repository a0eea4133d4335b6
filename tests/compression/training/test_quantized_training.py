"""Training of rounded weights: what is trained is what the code says."""

import math

import keras
import models
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import backend
from tf_genbounds.compression import Compressed
from tf_genbounds.compression import QuantizedTraining
from tf_genbounds.compression.codes.arithmetic_coder import code_length
from tf_genbounds.compression.training import smooth_length
from tf_genbounds.compression.training.freezing import Freezing
from tf_genbounds.compression.training.smooth_length import geometric_length
from tf_genbounds.compression.training.smooth_length import log_gamma

LOSS = "sparse_categorical_crossentropy"


def training(make=models.convolutional, compile_options=None, **options):
    model = make()
    given = {"num_samples": 40, "num_levels": 7, "vector_levels": 31} | options
    found = QuantizedTraining(model, **given)
    found.compile(
        keras.optimizers.Adam(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **(compile_options or {}),
    )
    return found


def arrays(weights):
    return [ops.convert_to_numpy(w) for w in weights]


def parts(training, name):
    return arrays(getattr(array, name) for array in training.arrays)


@pytest.mark.parametrize("make", [models.dense, models.convolutional, models.residual])
def test_the_code_is_of_the_very_network_that_was_trained(make, tmp_path):
    found = training(make)
    x, y = models.data(found.model, 40)
    history = found.fit(x, y, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    compressed = found.compress((x, y))
    expected = found.predict(x, verbose=0)
    statistics = [w for w in found.model.weights if "moving" in w.path]
    # Statistics are written as float16: the only difference.
    tolerance = 1e-2 if statistics else 0
    np.testing.assert_allclose(
        compressed.model.predict(x, verbose=0), expected, rtol=tolerance, atol=tolerance
    )
    compressed.save(tmp_path / "model.code")
    again = Compressed.load(tmp_path / "model.code")
    pair = (arrays(m.weights) for m in (compressed.model, again.model))
    for a, b in zip(*pair, strict=True):
        np.testing.assert_array_equal(a, b)
    assert compressed.certificate.num_samples == 40


def test_the_metric_is_the_length_of_the_code():
    found = training(models.dense)
    x, y = models.data(found.model, 40)
    bits = found.evaluate(x, y, return_dict=True, verbose=0)["bits"]
    arrays = found.compress((x, y)).arrays
    # Without the header of each array: its kind, its levels and its step.
    expected = sum(
        array.bits - 1 - 9 - (2 * math.floor(math.log2(end)) + 1)
        for array, end in zip(arrays, (3, 15, 3, 15), strict=True)
    )
    assert bits == pytest.approx(expected, rel=1e-4)


def test_bits_are_those_of_the_arithmetic_code():
    counts = np.array([40.0, 3.0, 0.0, 200.0, 1.0])
    exact = code_length([40, 3, 0, 200, 1])
    assert float(
        smooth_length.code_length(ops.convert_to_tensor(counts, "float32"))
    ) == (pytest.approx(exact, rel=1e-5))
    for x in (0.5, 1.0, 2.5, 30.5, 5000.0):
        assert float(log_gamma(x)) == pytest.approx(math.lgamma(x), rel=1e-6, abs=1e-5)


def test_the_smooth_length_is_that_of_the_best_geometric_distribution():
    scaled = np.array([-3.0, 0.0, 0.5, 1.0, 0.0, 2.0], "float32")
    found = float(geometric_length(ops.convert_to_tensor(scaled)))
    lengths = []
    for ratio in np.linspace(0.01, 0.99, 981):
        constant = np.log2((1 + ratio) / (1 - ratio))
        lengths.append(np.sum(constant - np.abs(scaled) * np.log2(ratio)))
    assert found == pytest.approx(min(lengths), rel=1e-4)
    # Biases begin with 0.
    zeros = ops.zeros(50)
    assert 0 < float(geometric_length(zeros)) < 0.1
    (gradient,) = arrays(
        [backend.vjp(geometric_length, zeros, ops.convert_to_tensor(1.0))]
    )
    assert np.isfinite(gradient).all()
    # Smaller levels are cheaper, also where all are equally frequent.
    flat = ops.convert_to_tensor(np.array([-1.0, 0.0, 1.0], "float32"))
    (gradient,) = arrays(
        [backend.vjp(geometric_length, flat, ops.convert_to_tensor(1.0))]
    )
    np.testing.assert_array_equal(np.sign(gradient), [-1, 0, 1])


def test_the_penalty_shortens_the_code():
    lengths = []
    for factor in (0.0, 30.0):
        keras.utils.set_random_seed(0)
        found = training(models.dense, factor=factor)
        x, y = models.data(found.model, 40)
        history = found.fit(x, y, epochs=15, verbose=0).history
        lengths.append(history["bits"][-1])
    assert lengths[1] < 0.8 * lengths[0]


def test_factor_can_change_while_training():
    found = training(models.dense, factor=0.0)
    x, y = models.data(found.model, 40)
    before = found.evaluate(x, y, return_dict=True, verbose=0)
    found.factor.assign(2.0)
    after = found.evaluate(x, y, return_dict=True, verbose=0)
    length = sum(float(geometric_length(array.within())) for array in found.arrays)
    assert after["loss"] - before["loss"] == pytest.approx(
        2 * length * math.log(2) / 40, rel=1e-4
    )
    assert not any(found.factor is w for w in found.trainable_weights)


# On JAX a step that is not compiled runs one operation after another.
@pytest.mark.parametrize(
    "jit_compile", [True, pytest.param(False, marks=pytest.mark.tensorflow)]
)
def test_statistics_and_dropout_are_trained_as_usual(jit_compile):
    def make():
        return keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(5, activation="relu"),
                layers.BatchNormalization(name="norm"),
                layers.Dropout(0.5),
                layers.Dense(3),
            ]
        )

    found = training(make, compile_options={"jit_compile": jit_compile})
    x, y = models.data(found.model, 40)
    mean = found.model.get_layer("norm").moving_mean
    before = ops.convert_to_numpy(mean)
    found.fit(x, y, verbose=0)
    assert np.any(ops.convert_to_numpy(mean) != before)
    np.testing.assert_array_equal(
        found.predict(x, verbose=0), found.predict(x, verbose=0)
    )


def test_save_and_load(tmp_path):
    found = training(models.dense)
    x, y = models.data(found.model, 40)
    found.fit(x, y, verbose=0)
    found.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again.predict(x, verbose=0), found.predict(x, verbose=0), rtol=1e-6
    )
    again.fit(x, y, verbose=0)
    assert again.compress((x, y)).certificate.bits > 0


@pytest.mark.tensorflow
def test_mirrored_strategy(strategy):
    with strategy.scope():
        found = training(models.dense)
    x, y = models.data(found.model, 40)
    history = found.fit(x, y, epochs=2, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["bits"]).all()


def test_regularizers_of_the_model_count():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(3, kernel_regularizer=keras.regularizers.L2(5.0)),
        ]
    )
    found = QuantizedTraining(model, num_samples=40, factor=0.0)
    found.compile("sgd", LOSS)
    x, y = models.data(models.dense(), 40)
    plain = QuantizedTraining(
        keras.Sequential([keras.Input((6,)), layers.Dense(3)]),
        num_samples=40,
        factor=0.0,
    )
    plain.model.set_weights(model.get_weights())
    plain.compile("sgd", LOSS)
    losses = [m.evaluate(x, y, verbose=0) for m in (found, plain)]
    losses = [value[0] if isinstance(value, list) else value for value in losses]
    assert losses[0] > losses[1] + 0.1


def test_bad_input():
    for options, message in (
        ({"num_levels": 4}, "`num_levels` must be an odd integer.*num_levels=4"),
        ({"vector_levels": 1}, "vector_levels=1"),
        ({"factor": -1.0}, "factor=-1.0"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"num_stages": 0}, "num_stages=0"),
        ({"exact_fraction": 1.0}, "exact_fraction=1.0"),
        ({"coarseness": 0.0}, "coarseness=0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            training(models.dense, **options)


def test_weights_are_frozen_in_phases():
    found = training(models.dense, exact_fraction=0.5, num_stages=10)
    shares, moved = [], []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model = self.model
            shares.append(model.frozen_fraction())
            scaled = np.concatenate([a.ravel() for a in parts(model, "scaled")])
            frozen = np.concatenate([a.ravel() for a in parts(model, "frozen")]) > 0
            levels = np.concatenate([a.ravel() for a in parts(model, "levels")])
            moved.append((frozen, levels))
            assert model.exact() == (epoch + 1 < 10)
            assert np.isfinite(scaled).all()

    x, y = models.data(found.model, 40)
    found.fit(x, y, epochs=20, verbose=0, callbacks=[Watch()])
    assert shares[:9] == [0.0] * 9 and shares[-1] == 1.0
    np.testing.assert_allclose(shares[9:], sorted(shares[9:]))
    assert 0.3 < shares[14] < 0.7
    # What is frozen stays frozen, where it is.
    for (before, levels), (after, later) in zip(moved, moved[1:], strict=False):
        assert after[before].all()
        np.testing.assert_array_equal(later[before], levels[before])
    # The model has the rounded weights now.
    np.testing.assert_array_equal(
        found.model.predict(x, verbose=0), found.predict(x, verbose=0)
    )
    # A second call begins anew.
    found.fit(x, y, epochs=4, verbose=0)
    assert found.frozen_fraction() == 1.0


def test_sensitive_weights_come_first():
    found = training(models.dense)
    found.find_grid()
    sizes = [a.size for a in parts(found, "scaled")]
    ranks = np.random.default_rng(0).permutation(sum(sizes)).astype("float32")
    split = np.split(ranks, np.cumsum(sizes)[:-1])
    sensitivities = [
        p.reshape(a.shape) for p, a in zip(split, parts(found, "scaled"), strict=True)
    ]
    found.freeze(0.3, sensitivities)
    frozen = np.concatenate([a.ravel() for a in parts(found, "frozen")]) > 0
    assert frozen.sum() == round(0.3 * len(ranks))
    vector = np.repeat([a.ndim == 1 for a in parts(found, "scaled")], sizes)
    assert ranks[frozen].min() > ranks[~frozen & ~vector].max()
    # Biases make up for the rounding of all others.
    assert not vector[frozen].any() and ranks[vector].max() > ranks[frozen].min()
    # Others now are the most sensitive, but what is frozen counts.
    found.freeze(0.5, [-s for s in sensitivities])
    again = np.concatenate([a.ravel() for a in parts(found, "frozen")]) > 0
    assert again[frozen].all() and again.sum() == round(0.5 * len(ranks))
    found.freeze(1 - 2 / len(ranks), sensitivities)
    again = np.concatenate([a.ravel() for a in parts(found, "frozen")]) > 0
    assert sorted(ranks[~again]) == sorted(ranks[vector])[:2]


def test_the_grid_is_that_of_the_array_when_its_first_weight_is_frozen():
    found = training(models.dense)
    found.find_grid()
    bias = found.arrays[1]
    values = np.linspace(-3.0, 3.0, bias.size, dtype="float32")
    bias.scaled.assign(values / float(bias.coded().step))
    bias.limit.assign(1e6)  # As it may lie far outside of its levels.
    bias.freeze(np.arange(bias.size) == 0)
    np.testing.assert_allclose(ops.convert_to_numpy(bias.value()), values, atol=0.15)
    step = float(bias.coded().step)
    bias.scaled.assign(2 * values / step)
    bias.freeze(np.arange(bias.size) < 2)
    assert bias.coded().step == step


def test_the_sensitivity_is_the_mean_squared_gradient():
    found = training(models.dense, factor=0.0)
    x, y = models.data(found.model, 40)
    freezing = Freezing((x, y), 0.0, 10)
    freezing.set_model(found)
    freezing.on_train_begin()
    squares = freezing._sensitivities()
    step = 1e-2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for i, position in ((0, (1, 2)), (1, (0,))):
        losses = []
        for sign in (1, -1):
            moved = parts(found, "scaled")[i].copy()
            moved[position] += sign * step
            found.arrays[i].scaled.assign(moved)
            losses.append(float(loss(y, found(x))))
            moved[position] -= sign * step
            found.arrays[i].scaled.assign(moved)
        derivative = (losses[0] - losses[1]) / (2 * step)
        assert squares[i][position] == pytest.approx(derivative**2, rel=0.05, abs=1e-7)


def test_an_interrupted_training_goes_on():
    found = training(models.dense, exact_fraction=0.0, num_stages=10)
    x, y = models.data(found.model, 40)
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(found, "stop_training", epoch == 4)
    )
    found.fit(x, y, epochs=10, verbose=0, callbacks=[stop])
    share = found.frozen_fraction()
    assert 0.4 < share < 0.7
    # What is not frozen is rounded when it is written.
    assert found.compress((x, y)).certificate.bits > 0
    found.fit(x, y, epochs=10, initial_epoch=5, verbose=0)
    assert found.frozen_fraction() == 1.0


@pytest.mark.tensorflow
def test_a_dataset_of_batches():
    import tensorflow as tf

    found = training(models.dense, num_stages=5)
    x, y = models.data(found.model, 40)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    found.fit(data, epochs=4, verbose=0)
    assert found.frozen_fraction() == 1.0


def test_labels_are_needed():
    found = training(models.dense)
    x, _ = models.data(found.model, 40)
    with pytest.raises(ValueError, match="Training needs labels"):
        found.fit(x, verbose=0)
