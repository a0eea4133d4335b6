"""A network that draws its weights: from what, when, and as Keras expects it."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds.measure.decision import Decision
from tf_genbounds.pac_bayes import BoundedCrossentropy
from tf_genbounds.pac_bayes import RandomizedModel
from tf_genbounds.pac_bayes.objectives import OBJECTIVES
from tf_genbounds.pac_bayes.randomized_model import copies

TENSORFLOW = keras.backend.backend() == "tensorflow"
LOSS = BoundedCrossentropy(from_logits=True)


def data(samples=48, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, 3)).astype("float32")
    return x, (x[:, 0] + x[:, 1] > 0).astype("int64")


def network(dtype=None, dropout=0.3):
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(6, activation="relu", dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.Dropout(dropout, dtype=dtype),
            layers.Dense(2, dtype=dtype),
        ]
    )


def compiled(model, **options):
    if TENSORFLOW:
        options.setdefault("jit_compile", False)  # It compiles faster.
    model.compile(keras.optimizers.Adam(0.05), LOSS, **options)
    return model


def fit(model, epochs=1):
    return model.fit(*data(), batch_size=16, epochs=epochs, verbose=0).history


def test_weights_are_drawn_from_the_posterior():
    # Of a linear model, so that the outputs are the weights.
    linear = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    model = RandomizedModel(linear, num_samples=10, prior_std=0.5)
    kernel, bias = np.float32([[1.0, 2.0], [3.0, 4.0]]), np.float32([5.0, 6.0])
    model.means[0].assign(kernel)
    model.means[1].assign(bias)
    model.spreads[1].assign(np.full(2, np.log(np.expm1(0.1))))  # softplus
    x = np.float32([[1, 0], [0, 1], [0, 0]])
    found = np.stack([model.predict_on_batch(x) for _ in range(500)])
    drawn = np.stack([found[:, 0] - found[:, 2], found[:, 1] - found[:, 2]], axis=1)
    # Five standard errors: of 500 draws.
    np.testing.assert_allclose(drawn.mean(0), kernel, atol=5 * 0.5 / np.sqrt(500))
    np.testing.assert_allclose(drawn.std(0), 0.5, atol=5 * 0.5 / np.sqrt(1000))
    np.testing.assert_allclose(found[:, 2].mean(0), bias, atol=5 * 0.1 / np.sqrt(500))
    np.testing.assert_allclose(found[:, 2].std(0), 0.1, atol=5 * 0.1 / np.sqrt(1000))
    # No weight's noise is that of another one.
    noise = np.concatenate([drawn.reshape(500, 4), found[:, 2]], axis=1)
    correlations = np.corrcoef(noise.T) - np.eye(6)
    assert np.abs(correlations).max() < 5 / np.sqrt(500)


def test_every_batch_has_weights_of_its_own_and_its_examples_share_them():
    model = RandomizedModel(network(), num_samples=10, prior_std=0.5)
    x = np.ones((6, 3), "float32")
    found = model.predict(x, batch_size=2, verbose=0)
    assert (found[0::2] == found[1::2]).all()
    assert len(np.unique(found[:, 0])) == 3
    again = model.predict(x, batch_size=2, verbose=0)
    assert not np.intersect1d(found[:, 0], again[:, 0]).size


def test_fit_and_predict_have_streams_of_their_own():
    def predicted(model, epochs):
        if epochs:
            fit(compiled(model), epochs)
        return copies(model.draw(model.predict_seeds))[0] - copies(model.means)[0]

    first = predicted(RandomizedModel(network(), 10), 0)
    model = RandomizedModel(network(), 10)
    training = copies(model.draw(model.train_seeds))[0] - copies(model.means)[0]
    assert not np.intersect1d(first, training).size
    # The same noise after training, on other scales.
    after = predicted(RandomizedModel(network(), 10), 2)
    assert np.corrcoef(first.ravel(), after.ravel())[0, 1] > 0.9
    other = predicted(RandomizedModel(network(), 10, seed=1), 0)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.8


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_learned(objective):
    net = network()
    fixed = copies(net.weights)
    # So many samples that the divergence costs little.
    model = compiled(RandomizedModel(net, 20_000, prior_std=0.1, objective=objective))
    before = copies(model.trainable_variables)
    assert model.kl() == pytest.approx(0, abs=1e-6)
    logs = fit(model, 2)
    for a, b in zip(fixed, net.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(before, model.trainable_variables, strict=True):
        assert (a != ops.convert_to_numpy(b)).any()
    # Two dense layers; scale and shift of the normalization stay.
    assert len(model.means) == 4
    assert len(before) == 8 + (objective == "lambda")
    assert set(logs) == {"loss", "error", "kl"}
    assert 0 < logs["kl"][0] < logs["kl"][1] < model.kl()


def test_a_long_training_lowers_the_bound():
    model = RandomizedModel(network(dropout=0.0), 20_000, prior_std=0.1)
    logs = fit(compiled(model), 20)
    assert logs["error"][-1] < logs["error"][0] - 0.15
    assert logs["loss"][-1] < logs["loss"][0]


def test_divergence_against_numpy():
    model = compiled(RandomizedModel(network(), 48, prior_std=0.1))
    fit(model)
    total = 0.0
    for mean, spread, prior in zip(
        model.means, model.spreads, model.network.trainable_variables, strict=True
    ):
        w, r, w0 = (np.float64(ops.convert_to_numpy(v)) for v in (mean, spread, prior))
        s = np.log1p(np.exp(r))
        terms = np.log(0.1 / s) + (s**2 + (w - w0) ** 2) / (2 * 0.1**2) - 0.5
        total += terms.sum()
    assert model.kl() == pytest.approx(total, rel=1e-5)
    evaluated = model.evaluate(*data(), verbose=0, return_dict=True)
    assert evaluated["kl"] == pytest.approx(total, rel=1e-4)


def test_error_in_the_logs_is_that_of_the_decision():
    for outputs, threshold in ((2, None), (1, 0.0), (1, 0.5)):
        net = keras.Sequential([keras.Input((3,)), layers.Dense(outputs)])
        model = RandomizedModel(net, 48, prior_std=0.4, threshold=threshold)
        compiled(model)
        x, y = data()
        state = ops.convert_to_numpy(model.predict_seeds.state)
        logs = model.evaluate(x, y, batch_size=48, verbose=0, return_dict=True)
        model.predict_seeds.state.assign(state)
        predicted = model.predict_on_batch(x)
        decision = Decision(threshold)
        expected = 1 - np.mean(decision.right(predicted, y))
        assert logs["error"] == pytest.approx(expected)
        one_hot = np.eye(2)[y] if outputs == 2 else y[:, None]
        model.predict_seeds.state.assign(state)
        again = model.evaluate(x, one_hot, batch_size=48, verbose=0, return_dict=True)
        assert again["error"] == pytest.approx(expected)


def test_statistics_stay_and_random_layers_go_on():
    net = network(dropout=0.5)
    model = compiled(RandomizedModel(net, 48))
    seeds = [v for v in net.variables if "seed" in v.path]
    before = copies(seeds)
    fit(model)
    assert len(seeds) == 1
    assert (copies(seeds)[0] != before[0]).any()
    assert not net.layers[1].trainable


def test_config_save_and_load(tmp_path):
    model = compiled(
        RandomizedModel(network(), 48, 0.1, "lambda", delta=0.1, seed=3, name="own")
    )
    config = keras.saving.serialize_keras_object(model)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.name, loaded.seed, loaded.kl()) == ("own", 3, model.kl())
    x, _ = data()
    # Its streams begin anew.
    model.predict_seeds.state.assign(
        ops.convert_to_numpy(RandomizedModel(network(), 48, seed=3).predict_seeds.state)
    )
    np.testing.assert_array_equal(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    fit(loaded)


def own_loss(y_true, y_pred):
    return ops.mean(y_pred)


def test_a_network_that_was_compiled_with_a_loss_of_the_users_own(tmp_path):
    net = network()
    net.compile("adam", own_loss)
    RandomizedModel(net, 48).save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")


def test_compiles_with_xla_and_fits_again():
    model = compiled(RandomizedModel(network(), 48), jit_compile=True)
    assert set(fit(model)) == set(fit(model))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    model = compiled(RandomizedModel(network(policy), 48, prior_std=0.1))
    logs = fit(model, 2)
    assert all(np.isfinite(values).all() for values in logs.values())
    assert {v.dtype for v in model.trainable_variables} == {"float32"}


@pytest.mark.tensorflow
def test_mirrored_strategy(strategy):
    # Replicas draw the same weights, so that two do what one does.
    logs = []
    for scope in (strategy.scope(), contextlib.nullcontext()):
        keras.utils.set_random_seed(0)
        with scope:
            net = network(dropout=0.0)
            logs.append(fit(compiled(RandomizedModel(net, 48, prior_std=0.1)), 2))
    assert set(logs[0]) == set(logs[1])
    for key, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][key], rtol=0.01, err_msg=key)


@keras.saving.register_keras_serializable("test_randomized_model")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.last = layers.Dense(4, "relu"), layers.Dense(2)
        self.norm = layers.BatchNormalization()

    def call(self, inputs, training=None):
        hidden = self.norm(self.first(inputs["x"]), training=training)
        return self.last(hidden)


def test_subclassed_with_a_dict_of_inputs(tmp_path):
    net = Subclassed()
    x, y = data()
    net({"x": x})
    model = compiled(RandomizedModel(net, 48))
    model.fit({"x": x}, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.kl() == model.kl()
    assert len(loaded.means) == 4


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_samples": 0}, "num_samples=0"),
        ({"prior_std": 0.0}, "prior_std=0.0"),
        ({"prior_std": np.nan}, "prior_std=nan"),
        ({"objective": "kl"}, "objective='kl'"),
        ({"delta": 1.0}, "delta=1.0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        RandomizedModel(network(), **{"num_samples": 10, **options})


def test_refuses_a_model_without_weights_to_draw():
    net = keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])
    with pytest.raises(ValueError, match="none is trainable"):
        RandomizedModel(net, 10)
    with pytest.raises(ValueError, match="built"):
        RandomizedModel(keras.Sequential([layers.Dense(2)]), 10)


def test_refuses_lora_which_saving_would_change():
    net = keras.Sequential([keras.Input((3,)), layers.Dense(8), layers.Dense(2)])
    net.layers[0].enable_lora(2)
    with pytest.raises(ValueError, match="has LoRA weights beside its kernel"):
        RandomizedModel(net, 10)


def test_regularizers_do_not_count():
    losses = []
    for regularizer in (None, "l2"):
        keras.utils.set_random_seed(0)
        options = {
            "kernel_regularizer": regularizer,
            "activity_regularizer": regularizer,
        }
        net = keras.Sequential([keras.Input((3,)), layers.Dense(2, **options)])
        model = compiled(RandomizedModel(net, 48))
        losses.append(model.evaluate(*data(), verbose=0, return_dict=True)["loss"])
    assert losses[0] == losses[1]
