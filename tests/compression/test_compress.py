"""From a model to a file and back, and what the certificate counts."""

import dataclasses

import keras
import models
import numpy as np
import pytest
from keras import layers

import tf_genbounds as gb
from tf_genbounds.compression import Compressed
from tf_genbounds.compression import compress
from tf_genbounds.compression.codes.weight_code import STEPS
from tf_genbounds.compression.codes.weight_code import Floats
from tf_genbounds.compression.codes.weight_code import Levels
from tf_genbounds.compression.codes.weight_code import levels
from tf_genbounds.compression.forms.compact_model import CompactModel
from tf_genbounds.compression.forms.compact_model import compactable
from tf_genbounds.compression.forms.forms import LowRank

METHODS = ["quantize", "truncate_svd", "matrix_project", "filter_project"]


def trained(make=models.convolutional, samples=60):
    """A model that fits random labels well enough to have something to lose."""
    model = make()
    x, y = data(model, samples)
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(x, y, epochs=10, verbose=0)
    return model, (x, y)


def data(model, samples=60):
    x, y = models.data(model, samples)
    return x, (np.mean(x.reshape(samples, -1), axis=1) > 0).astype("int64")


@pytest.fixture(scope="module")
def small():
    return trained()


def arrays(model):
    return [keras.ops.convert_to_numpy(w) for w in model.weights]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [models.dense, models.convolutional, models.nested])
def test_the_file_has_the_very_model(method, make, tmp_path):
    model = make()
    x, y = data(model)
    before = arrays(model)
    found = compress(model, (x, y), method, num_levels=15, keep=0.6)
    for a, b in zip(arrays(model), before, strict=True):
        np.testing.assert_array_equal(a, b)
    path = tmp_path / "model.code"
    found.save(path)
    again = Compressed.load(path)
    for a, b in zip(arrays(found.model), arrays(again.model), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        again.model.predict(x, verbose=0), found.model.predict(x, verbose=0)
    )
    assert again.certificate == found.certificate
    assert again.arrays == found.arrays
    # The certificate counts exactly the bits of the code.
    assert found.certificate.bits == len(found.code) == len(again.code)
    total = sum(found.certificate.items.values())
    assert total <= found.certificate.bits <= total + 2
    assert sum(array.bits for array in found.arrays) <= total
    assert path.stat().st_size * 8 >= len(found.code)


def test_the_train_error_is_that_of_the_decoded_model(small):
    model, (x, y) = small
    found = compress(model, (x, y), num_levels=5)
    logits = found.model.predict(x, verbose=0)
    # A tie is an error.
    others = np.where(np.arange(3) == y[:, None], -np.inf, logits).max(axis=1)
    wrong = logits[np.arange(60), y] <= others
    assert found.certificate.train_error == np.mean(wrong)
    assert found.certificate.num_samples == 60
    for row, weight, original in zip(
        found.arrays, found.model.weights, model.weights, strict=True
    ):
        old, new = (keras.ops.convert_to_numpy(w) for w in (original, weight))
        assert row.numbers == old.size
        if np.any(old):
            error = np.linalg.norm(new - old) / np.linalg.norm(old)
            assert row.relative_error == pytest.approx(error, rel=1e-5, abs=1e-7)
        assert len(np.unique(new)) <= 5


def test_a_damaged_file_is_refused(small, tmp_path):
    model, sample = small
    path = tmp_path / "model.code"
    compress(model, sample, num_levels=3).save(path)
    content = path.read_bytes()
    for damaged in (
        content[:-1],
        content[: len(content) // 2],
        content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
        content[:40] + bytes([content[40] ^ 1]) + content[41:],
        b"",
        b"something else",
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="no compressed model, or it is damaged"):
            Compressed.load(path)


def test_a_loss_of_the_users_own_is_no_matter():
    def loss(labels, outputs):
        return keras.ops.mean(outputs)

    inner = models.dense()
    x, y = data(inner)
    model = keras.Sequential([keras.Input(inner.input_shape[1:]), inner])
    for each in (inner, model):
        each.compile("sgd", loss)
    found = compress(model, (x, y), "truncate_svd", num_levels=15)
    assert not found.model.compiled and not found.model.layers[0].compiled


def test_low_rank_layers_are_two_layers(small):
    model, sample = small
    found = compress(model, sample, "truncate_svd", keep=0.9, num_levels=255)
    pair = found.model.get_layer("conv2")
    assert isinstance(pair, keras.Sequential)
    first, second = pair.layers
    assert first.filters == int(0.9 * 3 * 3 * 4 * 4 / (36 + 4)) == 3
    assert second.kernel_size == (1, 1) and second.filters == 4
    # At full rank it is the same network.
    forms = [LowRank(*LowRank.limits(layer)) for layer in compactable(model)]
    full = CompactModel(model, forms)
    full.fill()
    np.testing.assert_allclose(
        full.copy.predict(sample[0], verbose=0),
        model.predict(sample[0], verbose=0),
        rtol=1e-3,
        atol=1e-4,
    )


def test_the_compressed_model_is_ordinary(small, tmp_path):
    model, (x, y) = small
    found = compress(model, (x, y), "matrix_project", keep=0.5, num_levels=255).model
    found.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = arrays(found)
    found.fit(x, y, verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, arrays(found), strict=True))
    found.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(x, verbose=0), found.predict(x, verbose=0)
    )


# The search ------------------------------------------------------------------------


def test_the_search_lowers_the_certificate():
    model, sample = trained(models.dense, 1500)
    found = compress(model, sample)
    for num_levels in (255, 15):
        plain = compress(model, sample, num_levels=num_levels)
        assert found.certificate.value < plain.certificate.value


def test_tolerance_and_budget_are_kept(small):
    model, sample = small
    error = compress(model, sample, num_levels=65535).certificate.train_error
    for tolerance in (0.0, 0.1):
        found = compress(model, sample, tolerance=tolerance).certificate
        assert found.train_error <= error + tolerance
        fine = compress(model, sample, num_levels=255).certificate
        assert found.bits < fine.bits
    count = model.count_params()
    for budget, bits in ((0.2, 0.2 * 32 * count), (1500, 1500)):
        found = compress(model, sample, budget=budget).certificate
        assert found.bits <= bits + 64


def test_errors_are_not_traded_where_nothing_is_proved():
    # 60 samples prove nothing for the bits of this network, unless it errs.
    x = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype("int64")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(32, activation="relu"),
            layers.Dense(2),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.02),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(x, y, epochs=60, verbose=0)
    exact = compress(model, (x, y), num_levels=65535).certificate
    found = compress(model, (x, y)).certificate
    assert found.train_error <= exact.train_error + 0.01
    assert found.bits < 0.5 * exact.bits


def test_each_layer_has_a_form_and_the_table_says_which(small):
    model, sample = small
    found = compress(
        model,
        sample,
        {"conv": "filter_project", "conv2": "truncate_svd"},
        num_levels="float16",
    )
    forms = {array.name.split("/")[-2]: array.method for array in found.arrays}
    assert {name: forms[name] for name in forms if name.startswith("conv")} == {
        "conv": "filter_projected, float16",
        "conv2_first": "low_rank, float16",
        "conv2_second": "low_rank, float16",
    }
    assert "plain, float16" in forms.values()
    with pytest.raises(ValueError, match="conv3"):
        compress(model, sample, {"conv3": "quantize"})
    with pytest.raises(ValueError, match="method='svd'"):
        compress(model, sample, {"conv": "svd"})


def test_the_choice_of_an_architecture_is_paid_for(small, tmp_path):
    model, sample = small
    plain = compress(model, sample, num_levels=3)
    chosen = compress(model, sample, num_levels=3, choice=(700, 1024))
    assert chosen.certificate.items["choice of the architecture"] == 10
    assert abs(len(chosen.code) - len(plain.code) - 10) <= 1
    chosen.save(tmp_path / "model.code")
    again = Compressed.load(tmp_path / "model.code")
    for a, b in zip(arrays(plain.model), arrays(again.model), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="choice=.4, 4."):
        compress(model, sample, choice=(4, 4))


def test_a_long_choice_and_what_fails_are_in_the_file(small, tmp_path):
    model, sample = small
    made = compress(model, sample, num_levels=3, choice=(2**72 + 5, 2**73))
    assert made.certificate.items["choice of the architecture"] == pytest.approx(73)
    made = dataclasses.replace(
        made, certificate=made.certificate.declaring("it was fixed before", "failed")
    )
    made.save(tmp_path / "model.code")
    again = Compressed.load(tmp_path / "model.code")
    assert again.certificate == made.certificate
    for a, b in zip(arrays(made.model), arrays(again.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_goal_that_cannot_be_kept_is_said(small):
    model, sample = small
    with pytest.warns(UserWarning, match="keeps to the goal. Received: budget=10"):
        compress(model, sample, budget=10)


def test_differences_from_the_start_are_coded(small, tmp_path):
    model, sample = small
    initial = [w + 1e-3 for w in model.get_weights()]
    near = compress(model, sample, num_levels=3, initial_weights=initial)
    far = compress(model, sample, num_levels=3)
    assert sum(a.relative_error for a in near.arrays) < 0.05 * sum(
        a.relative_error for a in far.arrays
    )
    near.save(tmp_path / "model.code")
    again = Compressed.load(tmp_path / "model.code")
    for a, b in zip(arrays(near.model), arrays(again.model), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="go with quantization.*'truncate_svd'"):
        compress(model, sample, "truncate_svd", initial_weights=initial)


def test_a_preset_seed_is_all_that_is_random(small):
    model, sample = small
    first, same, other = (
        compress(model, sample, "matrix_project", num_levels=7, seed=seed).code
        for seed in (1, 1, 2)
    )
    assert first == same != other


# The parts ---------------------------------------------------------------------------


def test_levels_choose_a_step():
    array = np.random.default_rng(0).normal(size=1000)
    for end in (1, 3, 127):
        found = levels(array, end)
        assert found.step in STEPS and abs(found.indices).max() <= end
        error = np.sum((found.values() - array) ** 2)
        # The largest weight as the end of the grid is worse.
        wide = levels(array, end, np.max(np.abs(array)) / end)
        assert error <= np.sum((wide.values() - array) ** 2)
    assert isinstance(levels(np.full(3, 1e9), 1), Floats)
    assert isinstance(levels(np.full(3, 1e-30), 1), Floats)
    assert isinstance(levels(np.zeros(3), 1), Levels)
    assert not levels(np.zeros(3), 1).values().any()
    with pytest.raises(ValueError, match="must be finite"):
        levels(np.array([np.nan]), 1)


def test_compactable_layers():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 3, groups=2),
            layers.DepthwiseConv2D(3),
            keras.Sequential([layers.Conv2D(3, 2), layers.Flatten()]),
            layers.Dense(2),
        ]
    )
    assert [type(layer).__name__ for layer in compactable(model)] == ["Conv2D", "Dense"]


def test_bad_input(small):
    model, (x, y) = small
    for options, message in (
        ({"method": "prune"}, "method='prune'"),
        ({"delta": 0.0}, "delta=0.0"),
        ({"keep": 0.0}, "keep=0.0"),
        ({"num_levels": 4}, "num_levels=4"),
        ({"budget": 0}, "budget=0"),
        ({"tolerance": -0.1}, "tolerance=-0.1"),
        ({"budget": 9, "tolerance": 0.1}, "at most one"),
    ):
        with pytest.raises(ValueError, match=message):
            compress(model, (x, y), **options)
    with pytest.raises(ValueError, match="data with labels"):
        compress(model, x)
    broken = models.dense()
    broken.layers[0].kernel.assign(np.full((6, 5), np.nan))
    with pytest.raises(ValueError, match="must be finite"):
        compress(broken, data(broken), num_levels=3)
    with pytest.raises(TypeError, match="a subclassed model"):
        compress(models.subclassed(), data(models.dense()))


def test_the_report_takes_the_certificate(small):
    model, sample = small
    found = compress(model, sample, num_levels=5)
    made = gb.report(
        model, sample, bounds={"compressed": found.certificate.bound},
        interlayer_samples=0, verbose=0,
    )  # fmt: skip
    assert "Certificate of the compressed model" in made.to_markdown()
