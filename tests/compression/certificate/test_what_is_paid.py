"""The code word read by hand, and what the certificate says, by other means."""

import json
import math

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops
from scipy.optimize import brentq

from tf_genbounds.compression import Compressed
from tf_genbounds.compression import QuantizedTraining
from tf_genbounds.compression import RandomSubspace
from tf_genbounds.compression import compress
from tf_genbounds.compression import project
from tf_genbounds.compression.codes.arithmetic_coder import Decoder
from tf_genbounds.compression.search import Goal

X = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")
WAYS = ["compress", "initial", "quantized", "subspace"]


def network():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(7, activation="relu", name="first"),
            layers.Dense(7, activation="relu", name="second"),
            layers.Dense(2, name="logits"),
        ]
    )


def certified(way, model, data=(X, Y), **options):
    """The certificate of a model by each way to one, without training."""
    if way == "quantized":
        return QuantizedTraining(model, len(data[0])).compress(data, **options)
    if way == "subspace":
        return RandomSubspace(model, 1, len(data[0])).compress(data, **options)
    if way == "initial":
        options["initial_weights"] = model.get_weights()
    return compress(model, data, num_levels=3, **options)


# The code word -----------------------------------------------------------------------


def test_the_decoder_uses_the_seed_and_the_stream_of_each_layer(tmp_path):
    model = network()
    found = compress(model, (X, Y), "matrix_project", seed=3, num_levels="float16")
    found.save(tmp_path / "model.code")
    for decoded in (found.model, Compressed.load(tmp_path / "model.code").model):
        for index, name in enumerate(("first", "second", "logits")):
            kernel = ops.convert_to_numpy(model.get_layer(name).kernel)
            expected = project(kernel, kernel.size // 2, seed=3, layer=index).kernel()
            np.testing.assert_allclose(
                decoded.get_layer(name).kernel, expected, rtol=1e-2, atol=1e-3
            )


@pytest.mark.parametrize("way", WAYS)
def test_the_choice_and_the_kind_are_in_the_code(way):
    found = certified(way, network(), choice=(700, 1024))
    kind = {"initial": 1, "subspace": 2}.get(way, 0)
    decoder = Decoder(found.code)
    assert (decoder.integer(1024), decoder.integer(3)) == (700, kind)
    assert found.certificate.items["choice of the architecture"] == 10
    assert found.certificate.items["kind of the code"] == pytest.approx(math.log2(3))


def test_the_dimension_of_a_subspace_is_in_the_code(tmp_path):
    model = network()
    start = model.get_weights()
    size = model.count_params()
    found = {}
    for dimension in (1, 30, size - 1):
        model.set_weights(start)
        each = RandomSubspace(model, dimension, 60, seed=5).compress((X, Y))
        decoder = Decoder(each.code)
        assert (decoder.integer(3), 1 + decoder.integer(size - 1)) == (2, dimension)
        assert each.certificate.items["dimension"] == pytest.approx(math.log2(size - 1))
        found[dimension] = each
    # What the decoder has besides the code is the same for all.
    assert len({each.architecture for each in found.values()}) == 1
    assert set(json.loads(found[1].architecture)) == {"model", "seed", "num_choices"}


# The certificate ----------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_delta_is_the_users(way, tmp_path):
    found = certified(way, network(), delta=0.001)
    found.save(tmp_path / "model.code")
    for each in (found, Compressed.load(tmp_path / "model.code")):
        certificate = each.certificate
        nats = len(each.code) * math.log(2) + math.log(1000)
        assert certificate.in_form("hoeffding").value == pytest.approx(
            certificate.train_error + math.sqrt(nats / 120)
        )
        assert "with probability at least 1 - 0.001 over" in str(certificate)


@pytest.mark.parametrize("way", WAYS)
def test_every_condition_is_in_the_statement(way):
    text = str(certified(way, network()).certificate)
    for condition in (
        "the architecture (or the list that the code chooses it from), the loss and "
        "the preprocessing did not depend on the sample",
        "the seed and the initial weights that the code adds to, if any did not depend "
        "on the sample",
        "the code itself did not depend on the sample",
    ):
        assert condition in text


def inverse(error, bits):
    """The largest risk `p` with `m kl(error || p) <= bits ln 2 + ln 20`, `m` 1000."""
    nats = bits * math.log(2) + math.log(20)

    def excess(p):
        kl = error * math.log(error / p) + (1 - error) * math.log((1 - error) / (1 - p))
        return 1000 * kl - nats

    return brentq(excess, error, 1 - 1e-9)


def test_the_search_counts_bits_in_nats():
    # Counted as nats, 150 bits would be worth an error of 0.09.
    assert inverse(0.1, 300) < inverse(0.19, 150)
    assert inverse(0.15, 150) < inverse(0.1, 300)
    goal = Goal(1000, 0.05, None, None, 0.1)
    assert goal.accepts(0.1, 300)
    assert not goal.accepts(0.19, 150)
    assert goal.accepts(0.15, 150)


def test_errors_are_those_of_what_was_rounded():
    # Rounded to three levels both weights are the same, and every example a tie.
    model = keras.Sequential([keras.Input((1,)), layers.Dense(2, use_bias=False)])
    model.layers[0].kernel.assign([[0.9, 1.0]])
    x = np.linspace(0.1, 1, 50, dtype="float32")[:, None]
    y = np.ones(50, int)
    assert np.all(np.argmax(model.predict(x, verbose=0), axis=1) == y)
    assert compress(model, (x, y), num_levels=3).certificate.train_error == 1.0
    assert compress(model, (x, y), num_levels=255).certificate.train_error == 0.0


@pytest.mark.parametrize("way", ["quantized", "subspace"])
def test_errors_are_those_of_statistics_as_they_are_written(way):
    # A moving mean of 2049 is 2048 in float16, on the other side of every example.
    norm = layers.BatchNormalization(center=False, scale=False)
    model = keras.Sequential([keras.Input((1,)), norm, layers.Dense(2)])
    norm.moving_mean.assign([2049.0])
    model.layers[1].set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    x = np.linspace(2048.2, 2048.8, 50, dtype="float32")[:, None]
    assert np.all(np.argmax(model.predict(x, verbose=0), axis=1) == 0)
    found = certified(way, model, (x, np.zeros(50, int)))
    assert found.certificate.train_error == 1.0
    assert np.all(np.argmax(found.model.predict(x, verbose=0), axis=1) == 1)
