"""Numbers in an architecture are free: they are found, said, and warned of."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds.compression import Compressed
from tf_genbounds.compression import QuantizedTraining
from tf_genbounds.compression import RandomSubspace
from tf_genbounds.compression import compress
from tf_genbounds.compression.certificate.fixed import FIXED
from tf_genbounds.compression.certificate.fixed import numbers_of
from tf_genbounds.compression.codes.model_code import architecture_of

X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
CONSTANT = keras.initializers.Constant([[0.5] * 4])
Y = (X[:, 0] > 0).astype("int64")


def functional(function, **options):
    inputs = keras.Input((4,), name="input", **options)
    return keras.Model(inputs, layers.Dense(2, name="logits")(function(inputs)))


def scaled(x):
    """Nine scalars: a vector in disguise."""
    columns = [x[:, i % 4 : i % 4 + 1] * (0.1 + 0.05 * i) for i in range(9)]
    return ops.concatenate(columns, axis=1)


def inner(x):
    inputs = keras.Input((4,))
    outputs = ops.matmul(inputs, np.ones((4, 5), "float32"))
    return keras.Model(inputs, outputs, name="inner")(x)


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: x * np.arange(4.0, dtype="float32"), {"multiply": 4}),
        (lambda x: (x - np.ones(4)) / np.ones(4), {"subtract": 4, "true_divide": 4}),
        (lambda x: ops.matmul(x, ops.ones((4, 6))), {"matmul": 24}),
        (inner, {"inner/matmul": 20}),
        (lambda x: ops.take(x, [0, 1, 2, 3] * 3, axis=1), {"take": 12}),
        (
            layers.Normalization(mean=[0.0] * 4, variance=[1.0] * 4, name="norm"),
            {"norm": 8},
        ),
        (
            layers.Discretization(bin_boundaries=[-1.0, 0.5, 1.0], name="bins"),
            {"bins": 3},
        ),
        (layers.Rescaling([0.5] * 4, [0.25] * 4, name="scale"), {"scale": 8}),
        (scaled, {"scalars of operations": 9}),
        # What is ordinary: scalars, shapes, and the weights' initial values.
        (layers.Rescaling(1 / 255, -0.5), {}),
        (lambda x: layers.LeakyReLU(0.3)((x - 0.1307) / 0.3081), {}),
        (layers.Normalization(axis=None, mean=0.1, variance=0.5), {}),
        (layers.Dense(4, kernel_initializer=CONSTANT), {}),
        (lambda x: layers.Add()([x, x + 1, x - 1, 2 * x]), {}),
        (lambda x: ops.reshape(ops.reshape(x, (-1, 2, 1, 2)), (-1, 4)), {}),
    ],
)
def test_numbers_are_found_where_they_are(function, expected):
    model = functional(function)
    assert numbers_of(architecture_of(model, 0)) == expected


def test_ordinary_networks_have_none():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 8, 1)),
            layers.ZeroPadding3D(((1, 1), (1, 1), (1, 1))),
            layers.Conv3D(2, 3, strides=(1, 2, 1)),
            layers.BatchNormalization(),
            layers.PReLU(shared_axes=[1, 2, 3]),
            layers.SpatialDropout3D(0.1),
            layers.Flatten(),
            layers.Dense(3, kernel_regularizer="l2", bias_constraint="max_norm"),
        ]
    )
    assert numbers_of(architecture_of(model, 0)) == {}


@pytest.mark.parametrize("way", ["compress", "quantized", "subspace"])
def test_the_statement_names_them_and_a_warning_too(way, tmp_path):
    matrix = np.random.default_rng(1).normal(size=(4, 5)).astype("float32")
    model = functional(lambda x: ops.matmul(x, matrix))
    with pytest.warns(UserWarning, match="pay for, 20 of 'matmul'") as caught:
        if way == "compress":
            found = compress(model, (X, Y), num_levels=3)
        elif way == "quantized":
            found = QuantizedTraining(model, 60).compress((X, Y))
        else:
            found = RandomSubspace(model, 3, 60).compress((X, Y))
    assert all(w.filename == __file__ for w in caught if "pay for" in str(w.message))
    sentence = "the 20 numbers in the architecture (20 of 'matmul')"
    assert found.certificate.fixed == (*FIXED, sentence)
    assert f"{sentence} did not depend on the sample" in str(found.certificate)
    found.save(tmp_path / "model.code")
    assert Compressed.load(tmp_path / "model.code").certificate == found.certificate


def test_weights_are_no_such_numbers():
    model = functional(layers.Dense(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = compress(model, (X, Y), num_levels=3)
    assert found.certificate.fixed == FIXED
