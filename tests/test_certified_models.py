"""Attacks certificates with random models: what is counted is what `predict` says.

Each seed draws an architecture, an end, a dtype policy, a form of the labels, a method
and a number of levels. The error is counted again, by hand, from `predict` of the model
that is returned, in several batch sizes, one by one, and after both ways to save it.
"""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import tf_genbounds as gb

SAMPLES = 24
POLICIES = ["float32", "float32", "mixed_bfloat16", "mixed_float16", "float16"]


def body_of_vectors(generator, x):
    for _ in range(generator.integers(1, 4)):
        x = pick(
            generator,
            lambda x: layers.Dense(5, activation=pick(generator, "relu", "gelu"))(x),
            lambda x: layers.Dense(4, activation=ops.relu)(x),
            lambda x: layers.BatchNormalization()(layers.Dense(4)(x)),
            lambda x: layers.LeakyReLU()(layers.Dense(4)(x)),
            lambda x: layers.PReLU()(layers.Dense(4)(x)),
            lambda x: layers.Dropout(0.5)(x),
            lambda x: layers.Rescaling(0.5, 1.0)(x),
            lambda x: layers.LayerNormalization()(x),
            lambda x: layers.UnitNormalization()(x),
            lambda x: layers.Concatenate()([x, layers.Dense(3)(x)]),
            lambda x: x + layers.Dense(x.shape[-1], activation="relu")(x),
            lambda x: keras.Sequential(
                [layers.Dense(4, activation="tanh"), layers.Dense(3)]
            )(x),
        )(x)
    return x


def body_of_images(generator, x):
    for _ in range(generator.integers(1, 4)):
        x = pick(
            generator,
            lambda x: layers.Conv2D(3, 3, padding="same", activation="relu")(x),
            lambda x: layers.Conv2D(4, 2, strides=2, padding="same")(x),
            lambda x: layers.DepthwiseConv2D(3, padding="same", activation="relu")(x),
            lambda x: layers.SeparableConv2D(3, 3, padding="same")(x),
            lambda x: layers.Conv2DTranspose(2, 3, padding="same")(x),
            lambda x: layers.BatchNormalization()(layers.Conv2D(3, 1)(x)),
            lambda x: layers.MaxPooling2D(2, padding="same")(x),
            lambda x: layers.AveragePooling2D(2, padding="same")(x),
            lambda x: layers.GroupNormalization(groups=1)(x),
            lambda x: layers.ReLU(max_value=6.0)(x),
            lambda x: layers.SpatialDropout2D(0.3)(x),
        )(x)
    return pick(generator, layers.Flatten, layers.GlobalAveragePooling2D)()(x)


def body_of_sequences(generator, x):
    x = pick(
        generator,
        lambda x: layers.Conv1D(3, 3, padding="causal", activation="relu")(x),
        lambda x: layers.EinsumDense("btc,cd->btd", (5, 4), activation="relu")(x),
        # JAX has no orthogonal matrices of float16.
        lambda x: layers.LSTM(3, recurrent_initializer="normal", return_sequences=True)(
            x
        ),
        lambda x: layers.MultiHeadAttention(1, 3)(x, x),
    )(x)
    return pick(generator, layers.Flatten, layers.GlobalMaxPooling1D)()(x)


INPUTS = [
    ((6,), body_of_vectors),
    ((8, 8, 2), body_of_images),
    ((5, 3), body_of_sequences),
]
# The end, the number of outputs, and for one output what its values mean.
ENDS = [
    (lambda x: layers.Dense(3)(x), 3, None),
    (lambda x: layers.Dense(3, activation="softmax")(x), 3, None),
    (lambda x: layers.Softmax()(layers.Dense(3)(x)), 3, None),
    (lambda x: ops.log_softmax(layers.Dense(3)(x)), 3, None),
    (lambda x: layers.Dense(3, activation="sigmoid")(x), 3, None),
    (lambda x: layers.Dense(3, activation="relu")(x), 3, None),
    (lambda x: layers.Flatten()(layers.Dense(2, activation="softmax")(x)), 2, None),
    (
        lambda x: layers.Activation("softmax", dtype="float32")(layers.Dense(2)(x)),
        2,
        None,
    ),
    (lambda x: layers.Dense(1)(x), 1, 0),
    (lambda x: layers.Dense(1, activation="sigmoid")(x), 1, 0.5),
    (lambda x: layers.Dense(1, activation="hard_sigmoid")(x), 1, 0.5),
    (lambda x: layers.Reshape((1,))(layers.Dense(1, "sigmoid")(x)), 1, 0.5),
    (lambda x: ops.cast(layers.Dense(1, "sigmoid")(x), "float32"), 1, 0.5),
]


def pick(generator, *choices):
    return choices[generator.integers(len(choices))]


def label_forms(generator, y, outputs):
    forms = [y, y.astype("float32"), y[:, None]]
    if outputs > 1:
        forms.append(np.eye(outputs)[y])
    return pick(generator, *forms)


def draw(seed):
    """Returns `(model, x, y, labels, threshold)`."""
    generator = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    shape, body = pick(generator, *INPUTS)
    end, outputs, threshold = pick(generator, *ENDS)
    keras.config.set_dtype_policy(pick(generator, *POLICIES))
    try:
        inputs = keras.Input(shape)
        model = keras.Model(inputs, end(body(generator, inputs)))
    finally:
        keras.config.set_dtype_policy("float32")
    for weight in model.weights:
        value = generator.normal(size=weight.shape)
        if "variance" in weight.path:
            value = np.exp(value)
        if "seed" not in weight.path:
            # Also large ones, so that probabilities become 0 and 1.
            weight.assign(value * pick(generator, 0.5, 2, 10))
    x = generator.normal(size=(SAMPLES, *shape)).astype("float32")
    y = generator.integers(0, max(outputs, 2), SAMPLES)
    return model, x, y, label_forms(generator, y, outputs), threshold, generator


def wrong_and_unclear(outputs, y, threshold):
    """Which samples are wrong, and which may be so by the order of a sum."""
    if threshold is None:
        own = outputs[np.arange(len(y)), y]
        others = np.where(np.eye(outputs.shape[1])[y] > 0, -np.inf, outputs)
        margin = own - others.max(axis=1)
    else:
        margin = (outputs[:, 0] - threshold) * np.where(y == 1, 1, -1)
    scale = np.abs(outputs).max()
    return ~(margin > 0), np.abs(margin) < 1e-5 * scale


@pytest.mark.parametrize("seed", range(12))
def test_the_certificate_is_of_what_predict_says(seed, tmp_path):
    model, x, y, labels, threshold, generator = draw(seed)
    method = pick(generator, "quantize", "quantize", "truncate_svd", "matrix_project")
    compressed = gb.compress(
        model,
        (x, labels),
        method,
        num_levels=pick(generator, 3, 15, "float16"),
        batch_size=pick(generator, 7, 24),
    )
    assert compressed.model.compute_dtype == "float32"
    count = compressed.certificate.train_error * SAMPLES
    outputs = compressed.model.predict(x, verbose=0)
    assert outputs.dtype == "float32"
    wrong, unclear = wrong_and_unclear(outputs, y, threshold)
    assert abs(count - wrong.sum()) <= unclear.sum()

    # A log-probability near 0 is the difference of numbers as large as the largest.
    atol = 1e-6 * max(10.0, np.abs(outputs).max())

    def agrees(model, batch_size):
        found = model.predict(x, batch_size=batch_size, verbose=0)
        np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=atol)
        again, _ = wrong_and_unclear(found, y, threshold)
        assert not np.any((again != wrong) & ~unclear)

    agrees(compressed.model, 1)
    agrees(compressed.model, 5)
    compressed.model.save(tmp_path / "model.keras")
    agrees(keras.saving.load_model(tmp_path / "model.keras"), 24)
    compressed.save(tmp_path / "model.code")
    loaded = gb.compression.Compressed.load(tmp_path / "model.code")
    agrees(loaded.model, 24)
    assert loaded.certificate == compressed.certificate
