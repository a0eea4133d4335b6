"""What the loss, the regularizer, the layer and the metric have in common."""

import keras
import numpy as np
import pytest
from keras import ops

from tf_genbounds import layers
from tf_genbounds import losses
from tf_genbounds import regularizers
from tf_genbounds.functional import logits
from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.functional.darc import darc_penalty
from tf_genbounds.functional.darc import rademacher_signs
from tf_genbounds.layers import darc
from tf_genbounds.metrics import DARC1Penalty

FORMS = ["loss", "regularizer", "layer"]
KINDS = ["DARC1", "DARC"]
CLASSES = {
    ("DARC1", "loss"): losses.DARC1,
    ("DARC1", "regularizer"): regularizers.DARC1,
    ("DARC1", "layer"): layers.DARC1Regularization,
    ("DARC", "loss"): losses.DARC,
    ("DARC", "regularizer"): regularizers.DARC,
    ("DARC", "layer"): layers.DARCRegularization,
}
FACTOR = 0.5

# On JAX the regularizer says that it cannot see what made its input.
pytestmark = pytest.mark.filterwarnings("ignore:On JAX")


def cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return (log_sum - shifted[np.arange(len(labels)), labels]).mean()


def penalty(logits, kind="DARC1"):
    if kind == "DARC1":
        return FACTOR * float(darc1_penalty(logits))
    return FACTOR * float(darc_penalty(logits, rademacher_signs(logits, 8, 3)))


def options(kind, factor=FACTOR):
    return {"factor": factor} | ({"seed": 3} if kind == "DARC" else {})


def identity_model(form=None, kind="DARC1", activation=None, dtype=None, **compile):
    """A trainable model whose logits are its inputs, exactly."""
    cls = CLASSES.get((kind, form))
    regularizer = cls(**options(kind)) if form == "regularizer" else None
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(
        4,
        kernel_initializer="identity",
        use_bias=False,
        activation=activation,
        activity_regularizer=regularizer,
        dtype=dtype,
    )(inputs)
    if form == "layer":
        outputs = cls(**options(kind))(outputs)
    model = keras.Model(inputs, outputs)
    base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = cls(base, **options(kind)) if form == "loss" else base
    compile = {"optimizer": keras.optimizers.SGD(0.5), "loss": loss} | compile
    model.compile(**compile)
    return model


def data(size=10, seed=0):
    rng = np.random.default_rng(seed)
    x = 3 * rng.normal(size=(size, 4)).astype("float32")
    return x, rng.integers(4, size=size)


def frozen_fit(model, x, y, **kwargs):
    """The loss that one epoch of `fit` reports, with nothing learned."""
    model.optimizer.learning_rate = 0.0
    history = model.fit(x, y, shuffle=False, verbose=0, **kwargs)
    return history.history["loss"][0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_adds_the_same_number(form, kind):
    x, y = data()
    value = identity_model(form, kind).evaluate(x, y, verbose=0)
    expected = cross_entropy(x, y) + penalty(x, kind)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("verb", ["fit", "evaluate"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_uneven_last_batch_weighs_by_its_size(form, kind, verb):
    x, y = data(10)
    # Batches of 4, 4 and 2. For DARC this also says that each batch has its
    # own signs, in compiled functions of both backends.
    parts = [4 * penalty(x[:4], kind), 4 * penalty(x[4:8], kind)]
    added = (sum(parts) + 2 * penalty(x[8:], kind)) / 10
    if verb == "fit":
        model = identity_model(form, kind, jit_compile=True)
        value = frozen_fit(model, x, y, batch_size=4)
    else:
        model = identity_model(form, kind)
        value = model.evaluate(x, y, batch_size=4, verbose=0)
    np.testing.assert_allclose(value, cross_entropy(x, y) + added, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_samples_and_classes_leave_the_penalty_alone(form):
    x, y = data()
    weights = {
        "sample_weight": np.linspace(0.0, 3.0, 10),
        "class_weight": {0: 0.1, 1: 5.0, 2: 2.0, 3: 0.0},
    }
    for name, weight in weights.items():
        plain, value = (
            frozen_fit(model, x, y, batch_size=10, **{name: weight})
            for model in (identity_model(), identity_model(form))
        )
        np.testing.assert_allclose(value - plain, penalty(x), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_compiled_training_learns_as_eager_training(form, kind):
    x, y = data()
    weights = []
    for how in ({"jit_compile": True}, {"run_eagerly": True}):
        model = identity_model(form, kind, **how)
        # One step only: DARC draws other signs when the last bit of a logit
        # differs, as it may from the second step on.
        model.fit(x, y, batch_size=10, shuffle=False, verbose=0)
        weights.append(model.get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-6)


def test_penalty_shrinks_the_logits_that_training_would_grow():
    x, _ = data(64)
    sizes = []
    for model in (identity_model("loss"), identity_model()):
        model.fit(x, x.argmax(axis=1), epochs=20, verbose=0)
        sizes.append(float(darc1_penalty(model(x))))
    assert sizes[0] < 0.8 * float(darc1_penalty(x)) < 0.8 * sizes[1]


@pytest.mark.parametrize("form", FORMS)
def test_mixed_float16_penalty_does_not_overflow(form):
    # 128 logits of 1,000 in a column: their sum is past the largest float16.
    x = np.tile(np.float32([1000.0, 0.0, 0.0, 0.0]), (128, 1))
    y = np.zeros(128, int)
    model = identity_model(form, dtype="mixed_float16")
    value = model.evaluate(x, y, batch_size=128, verbose=0)
    np.testing.assert_allclose(value, FACTOR * 1000.0)
    history = model.fit(x, y, batch_size=128, verbose=0).history
    np.testing.assert_allclose(history["loss"], FACTOR * 1000.0)


@pytest.mark.parametrize("form", FORMS)
def test_sequences_count_every_position(form):
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    expected = FACTOR * np.abs(x).mean(axis=(0, 1)).max()
    cls = CLASSES["DARC1", form]
    if form == "loss":
        mse = keras.losses.MeanSquaredError()
        value = cls(mse, FACTOR)(x, x)
    elif form == "layer":
        layer = cls(FACTOR)
        layer(x)
        value = layer.losses[0]
    else:
        layer = keras.layers.Identity(activity_regularizer=cls(FACTOR))
        layer(x)
        value = layer.losses[0]
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_saved_model_evaluates_to_the_same_number(form, kind, tmp_path):
    x, y = data()
    model = identity_model(form, kind)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    value = loaded.evaluate(x, y, verbose=0)
    assert value == model.evaluate(x, y, verbose=0)
    assert value > cross_entropy(x, y) + 0.5 * penalty(x, kind)
    # Compile config included: training goes on.
    for other in (model, loaded):
        other.fit(x, y, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        loaded.get_weights()[0], model.get_weights()[0], atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_config_round_trips_with_the_drawn_seed(form, kind):
    cls = CLASSES[kind, form]
    args = ("sparse_categorical_crossentropy",) if form == "loss" else ()
    given = {"factor": 0.25} | ({"num_draws": 3} if kind == "DARC" else {})
    first = cls(*args, **given)
    second = cls.from_config(first.get_config())
    assert second.get_config() == first.get_config()
    assert second.factor == 0.25
    if kind == "DARC":
        assert second.num_draws == 3
        assert second.seed == first.seed
        assert first.seed != cls(*args, **given).seed


def test_metric_logs_what_the_loss_contains():
    x, y = data(10)
    model = identity_model("loss", metrics=[DARC1Penalty(FACTOR)], jit_compile=True)
    logs = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    expected = cross_entropy(x, y) + logs["darc1"]
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    model.optimizer.learning_rate = 0.0
    history = model.fit(x, y, batch_size=4, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["darc1"], logs["darc1"], rtol=1e-5)


def test_metric_starts_anew_and_leaves_sample_weights_out():
    x, _ = data()
    metric = DARC1Penalty(FACTOR)
    metric.update_state(None, 100 * x)
    metric.reset_state()
    metric.update_state(None, x, sample_weight=np.zeros(10))
    np.testing.assert_allclose(metric.result(), penalty(x), rtol=1e-6)
    copy = DARC1Penalty.from_config(metric.get_config())
    assert (copy.factor, copy.name) == (FACTOR, "darc1")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("form", FORMS)
def test_probabilities_are_refused(form, activation):
    x, y = data()
    with pytest.raises(ValueError, match="penalizes logits"):
        model = identity_model(form, activation=activation)
        model.loss(y, model(x))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_metric_of_probabilities_is_refused(activation):
    x, _ = data()
    outputs = identity_model(activation=activation)(x)
    with pytest.raises(ValueError, match="DARC1Penalty penalizes logits"):
        DARC1Penalty().update_state(None, outputs)


@pytest.mark.tensorflow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "log_softmax"])
def test_probabilities_are_refused_in_graphs(form, activation):
    x, y = data()
    with pytest.raises(ValueError, match="penalizes logits"):
        identity_model(form, activation=activation).fit(x, y, verbose=0)


@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize("form", FORMS)
def test_other_activations_are_accepted(form, activation):
    x, y = data()
    identity_model(form, activation=activation).fit(x, y, verbose=0)


@pytest.mark.parametrize("cls", [DARC1Penalty, *CLASSES.values()])
@pytest.mark.parametrize(
    "factor", [-0.1, float("nan"), float("inf"), "0.1", None, True]
)
def test_bad_factor(cls, factor):
    args = ("mse",) if cls in (losses.DARC1, losses.DARC) else ()
    message = (
        r"`factor` must be a non-negative finite number\. "
        f"Received: factor={factor!r}"
    )
    with pytest.raises(ValueError, match=message):
        cls(*args, factor=factor)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("num_draws", [0, -1, 2.0, None, True])
def test_bad_num_draws(form, num_draws):
    args = ("mse",) if form == "loss" else ()
    message = rf"positive integer\. Received: num_draws={num_draws!r}"
    with pytest.raises(ValueError, match=message):
        CLASSES["DARC", form](*args, num_draws=num_draws)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", [0.5, "1", False])
def test_bad_seed(form, seed):
    args = ("mse",) if form == "loss" else ()
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        CLASSES["DARC", form](*args, seed=seed)


@pytest.mark.parametrize("form", FORMS)
def test_zero_factor_computes_no_penalty(form, monkeypatch):
    module = {"loss": losses, "regularizer": regularizers, "layer": darc}[form]

    def forbidden(*args):
        raise AssertionError("the reduction was not skipped")

    monkeypatch.setattr(module, "darc1_penalty", forbidden)
    x, y = data()
    cls = CLASSES["DARC1", form]
    if form == "loss":
        base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        assert float(cls(base, 0)(y, x)) == float(base(y, x))
    elif form == "layer":
        layer = cls(0)
        layer(x)
        assert sum(layer.losses) == 0
    else:
        assert float(cls(0)(x)) == 0


def test_hidden_source_warns_once_on_jax():
    logits._warn_hidden.cache_clear()
    x, y = data()
    model = identity_model("regularizer")
    if keras.backend.backend() == "jax":
        with pytest.warns(UserWarning, match="cannot see") as caught:
            model.fit(x, y, epochs=2, verbose=0)
        assert len([w for w in caught if "cannot see" in str(w.message)]) == 1
    else:
        logits.warn_if_hidden(ops.ones((2, 3)), "DARC1")
        assert logits._warn_hidden.cache_info().misses == 0


@pytest.mark.tensorflow
@pytest.mark.parametrize("form", FORMS)
def test_replicas_take_the_mean_of_their_local_objectives(form, strategy):
    x, y = data(8)
    # The two halves have their maximum at different classes.
    x[:4, 1] += 5.0
    x[4:, 2] += 5.0
    halves, objectives = [], []
    for half in (slice(0, 4), slice(4, 8)):
        model = identity_model(form)
        objectives.append(model.train_on_batch(x[half], y[half]))
        halves.append(model.get_weights()[0])
    with strategy.scope():
        model = identity_model(form, metrics=[DARC1Penalty(FACTOR)])
    history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
    # A step of SGD is linear in the gradient.
    np.testing.assert_allclose(
        model.get_weights()[0], np.mean(halves, axis=0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(history["loss"], np.mean(objectives), rtol=1e-5)
    local = [penalty(x[:4]), penalty(x[4:])]
    np.testing.assert_allclose(history["darc1"], np.mean(local), rtol=1e-5)
    assert np.mean(local) > penalty(x) + 0.1
