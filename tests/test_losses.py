import keras
import numpy as np
import pytest

from tf_genbounds.functional.darc import darc1_penalty
from tf_genbounds.losses import DARC
from tf_genbounds.losses import DARC1

REDUCTIONS = [
    "sum_over_batch_size",
    "mean",
    "sum",
    "mean_with_sample_weight",
    "none",
    None,
]


@keras.saving.register_keras_serializable(package="test_losses")
def squared(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_pred - y_true), axis=-1)


def batch(size=6, classes=3):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(size, classes)).astype("float32")
    return rng.integers(classes, size=size), logits


def cross_entropy(**kwargs):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


@pytest.mark.parametrize("weights", [None, np.array([0.0, 2, 1, 1, 3, 0.5])])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_penalty_is_added_once_for_every_reduction(reduction, weights):
    y, logits = batch()
    base = cross_entropy(reduction=reduction)
    loss = DARC1(base, factor=0.5)
    assert loss.reduction == reduction
    penalty = 0.5 * float(darc1_penalty(logits))
    added = loss(y, logits, weights) - base(y, logits, weights)
    # The sum over a batch of 6 has it 6 times, an element of a vector once.
    expected = penalty * (6 if reduction == "sum" else np.ones(added.shape))
    assert added.shape == ((6,) if reduction in (None, "none") else ())
    np.testing.assert_allclose(added, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "SparseCategoricalCrossentropy",
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy,
        cross_entropy(),
    ],
)
def test_loss_takes_logits_however_it_is_named(loss):
    y, logits = batch()
    value = DARC1(loss, factor=0.5)(y, logits)
    expected = cross_entropy()(y, logits) + 0.5 * darc1_penalty(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("loss", ["mse", "hinge", "Huber", squared])
def test_loss_without_the_option_is_taken_as_it_is(loss):
    _, logits = batch()
    base = keras.losses.get(loss)
    if not isinstance(base, keras.losses.Loss):
        base_value = np.mean(base(0 * logits, logits))
    else:
        base_value = base(0 * logits, logits)
    value = DARC1(loss, factor=0.5)(0 * logits, logits)
    expected = base_value + 0.5 * darc1_penalty(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("cls", [DARC1, DARC])
@pytest.mark.parametrize(
    "name",
    [
        "BinaryCrossentropy",
        "BinaryFocalCrossentropy",
        "CategoricalCrossentropy",
        "CategoricalFocalCrossentropy",
        "SparseCategoricalCrossentropy",
    ],
)
def test_loss_on_probabilities_is_refused(cls, name):
    base = getattr(keras.losses, name)()
    message = rf"Received: loss={name}\(from_logits=False\)"
    with pytest.raises(ValueError, match=message):
        cls(base)
    assert cls(base, allow_probabilities=True).loss is base


def test_probabilities_can_be_allowed():
    y, logits = batch()
    probabilities = keras.activations.softmax(keras.ops.convert_to_tensor(logits))
    loss = DARC1(
        "sparse_categorical_crossentropy", factor=0.5, allow_probabilities=True
    )
    base = keras.losses.SparseCategoricalCrossentropy()
    expected = base(y, probabilities) + 0.5 * darc1_penalty(probabilities)
    np.testing.assert_allclose(loss(y, probabilities), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", [3, None, ["mse"]])
def test_what_is_no_loss_is_refused(loss):
    with pytest.raises(TypeError, match="Received: loss="):
        DARC1(loss)


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="mean_squared_eror"):
        DARC1("mean_squared_eror")


def sequence_model(loss):
    """Logits are the inputs; steps of zeros are masked."""
    inputs = keras.Input((5, 3))
    outputs = keras.layers.Dense(3, kernel_initializer="identity", use_bias=False)(
        keras.layers.Masking()(inputs)
    )
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_masked_steps_do_not_count(reduction):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 3)).astype("float32")
    x[0, 2:] = 0.0
    x[1, 4:] = 0.0
    y = rng.integers(3, size=(4, 5))
    base = cross_entropy(reduction=reduction)
    values = []
    for loss in (base, DARC1(base, factor=0.5)):
        history = sequence_model(loss).fit(x, y, batch_size=4, verbose=0)
        values.append(history.history["loss"][0])
    # 16 of the 20 steps are valid, and the others are zeros.
    penalty = 0.5 * np.abs(x).sum(axis=(0, 1)).max() / 16
    times = 16 if reduction == "sum" else 1
    np.testing.assert_allclose(values[1] - values[0], times * penalty, rtol=1e-5)


@pytest.mark.parametrize("loss", ["hinge", squared, cross_entropy(reduction="sum")])
def test_base_loss_survives_saving(loss, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.compile("sgd", DARC1(loss, factor=0.5))
    y, x = batch()
    y = y if isinstance(loss, keras.losses.Loss) else x
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert loaded.loss.get_config() == model.loss.get_config()


def test_losses_differ_by_output():
    inputs = keras.Input((3,))
    heads = [
        keras.layers.Dense(3, kernel_initializer="identity", use_bias=False, name=name)(
            inputs
        )
        for name in ("a", "b")
    ]
    model = keras.Model(inputs, dict(zip("ab", heads, strict=True)))
    model.compile("sgd", {"a": DARC1("mse", 0.5), "b": DARC1("mse", 2.0)})
    _, x = batch()
    value = model.evaluate(x, {"a": x, "b": x}, verbose=0, return_dict=True)
    np.testing.assert_allclose(value["loss"], 2.5 * darc1_penalty(x), rtol=1e-5)


@pytest.mark.tensorflow
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_penalty_is_divided_by_replicas_where_keras_divides(reduction, strategy):
    y, logits = batch()
    ratios = []
    for factor in (0.0, 0.5):
        loss = DARC1(cross_entropy(reduction=reduction), factor)
        alone = np.asarray(loss(y, logits))
        with strategy.scope():
            ratios.append(np.asarray(loss(y, logits)) / alone)
    undivided = reduction in ("sum", "none", None)
    np.testing.assert_allclose(ratios[0], 1.0 if undivided else 0.5, rtol=1e-6)
    np.testing.assert_allclose(ratios[1], ratios[0], rtol=1e-6)


@pytest.mark.tensorflow
def test_replicas_of_a_sum_take_the_sum_of_their_local_objectives(strategy):
    y, x = batch(8)
    x[:4, 1] += 5.0
    x[4:, 2] += 5.0

    def model():
        layers = [
            keras.Input((3,)),
            keras.layers.Dense(3, kernel_initializer="identity", use_bias=False),
        ]
        model = keras.Sequential(layers)
        loss = DARC1(cross_entropy(reduction="sum"), factor=0.5)
        model.compile(keras.optimizers.SGD(0.01), loss)
        return model

    steps = []
    for half in (slice(0, 4), slice(4, 8)):
        local = model()
        local.train_on_batch(x[half], y[half])
        steps.append(local.get_weights()[0] - np.eye(3))
    with strategy.scope():
        both = model()
    both.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        both.get_weights()[0] - np.eye(3), sum(steps), rtol=1e-4, atol=1e-6
    )
