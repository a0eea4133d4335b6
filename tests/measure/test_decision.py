"""What is counted is what `predict` decides; the twin reads `predict` by hand."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import tf_genbounds as gb
from tf_genbounds import backend
from tf_genbounds.measure import measure
from tf_genbounds.measure.decision import Decision
from tf_genbounds.measure.decision import count_errors

generator = np.random.default_rng(0)
X = generator.normal(size=(40, 4)).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0.4).astype(int)


def one(**options):
    """One unit, biased so that thresholds of 0 and 1/2 decide differently."""
    kernel = keras.initializers.Constant(1.0)
    bias = keras.initializers.Constant(-0.6)
    return layers.Dense(1, kernel_initializer=kernel, bias_initializer=bias, **options)


def functional(function):
    inputs = keras.Input((4,))
    return keras.Model(inputs, function(inputs))


def native(name):
    """The backend's own function."""
    module = backend.tf.nn if backend.name == "tensorflow" else backend.jax.nn
    return getattr(module, name)


def average(x):
    return layers.Average()([one(activation="sigmoid")(x)] * 2)


# How a model with one output may end, and the threshold that its end means.
ENDS = {
    "linear": (lambda x: one()(x), 0),
    "scaled": (lambda x: one()(x) / 2.0, 0),
    "normalized": (lambda x: layers.BatchNormalization()(one()(x)), 0),
    "sigmoid": (lambda x: one(activation="sigmoid")(x), 0.5),
    "native": (lambda x: one(activation=native("sigmoid"))(x), 0.5),
    "hard": (lambda x: one(activation="hard_sigmoid")(x), 0.5),
    "layer": (lambda x: layers.Activation("sigmoid")(one()(x)), 0.5),
    "operation": (lambda x: ops.sigmoid(one()(x)), 0.5),
    "flat": (lambda x: layers.Flatten()(one(activation="sigmoid")(x)), 0.5),
    "reshaped": (lambda x: layers.Reshape((1,))(one(activation="sigmoid")(x)), 0.5),
    "average": (average, 0.5),
    "float32": (
        lambda x: layers.Activation("linear", dtype="float32")(
            one(activation="sigmoid")(x)
        ),
        0.5,
    ),
}
# Ends that do not say it.
HIDDEN = {
    "slice": lambda x: layers.Dense(2, activation="softmax")(x)[:, 1:],
    "lambda": lambda x: layers.Lambda(ops.sigmoid, output_shape=(1,))(one()(x)),
    "function": lambda x: one(activation=lambda t: ops.sigmoid(t))(x),
    "complement": lambda x: 1 - one(activation="sigmoid")(x),
    "shifted": lambda x: layers.Rescaling(2.0, -1.0)(one(activation="sigmoid")(x)),
    "relu": lambda x: one(activation="relu")(x),
    "softmax of one": lambda x: one(activation="softmax")(x),
}


def errors_by_hand(model, threshold, y=Y):
    output = np.asarray(model.predict(X, verbose=0))[:, 0]
    return int(np.sum(np.where(y == 1, ~(output > threshold), ~(output < threshold))))


@pytest.mark.parametrize("end", ENDS)
def test_one_output_is_decided_by_what_its_end_means(end):
    function, threshold = ENDS[end]
    model = functional(function)
    expected = errors_by_hand(model, threshold)
    # Else another threshold would pass, too.
    assert expected != errors_by_hand(model, 0.5 - threshold)
    count = count_errors(model, (X, Y), batch_size=16)
    assert (count.errors, count.num_samples) == (expected, 40)
    result = measure(model, (X, Y), quantities=["margins"], verbose=0)
    assert result.train_error == expected / 40
    assert np.sum(~(result.margins > 0)) == expected
    assert f"exceeds {threshold:g}" in result.settings["decision"]


@pytest.mark.parametrize("end", HIDDEN)
def test_an_end_that_does_not_say_its_rule_is_refused(end):
    model = functional(HIDDEN[end])
    with pytest.raises(ValueError, match="Say it with `threshold=`"):
        count_errors(model, (X, Y))
    with pytest.raises(ValueError, match="Say it with `threshold=`"):
        measure(model, (X, Y), quantities=["margins"], verbose=0)
    expected = errors_by_hand(model, 0.5)
    assert count_errors(model, (X, Y), threshold=0.5).errors == expected
    result = measure(model, (X, Y), quantities=["margins"], threshold=0.5, verbose=0)
    assert result.train_error == expected / 40
    output = model.predict(X, verbose=0)[:, 0]
    np.testing.assert_allclose(
        result.margins, np.where(Y == 1, output - 0.5, 0.5 - output), atol=1e-6
    )


def test_a_threshold_overrules_the_end_of_the_model():
    model = functional(ENDS["sigmoid"][0])
    expected = errors_by_hand(model, 0.3)
    assert expected != errors_by_hand(model, 0.5)
    assert count_errors(model, (X, Y), threshold=0.3).errors == expected


def test_probabilities_that_are_equal_in_float32_decide_nothing():
    # The logits are 18 and 20, and both sigmoids are 1 in float32.
    model = functional(
        lambda x: layers.Dense(
            2, activation="sigmoid", kernel_initializer="zeros", name="end"
        )(x)
    )
    model.get_layer("end").bias.assign([18.0, 20.0])
    np.testing.assert_array_equal(model.predict(X[:1], verbose=0), [[1, 1]])
    ones = np.ones(40, int)
    assert count_errors(model, (X, ones)).errors == 40
    assert measure(model, (X, ones), verbose=0).train_error == 1
    assert gb.compress(model, (X, ones), num_levels=3).certificate.train_error == 1


def test_the_certificate_counts_what_predict_says():
    # It always says 0.047, and 97 % of the labels are 1.
    model = functional(lambda x: layers.Flatten()(one(activation="sigmoid")(x)))
    model.layers[1].set_weights([np.zeros((4, 1)), np.array([-3.0])])
    y = np.ones(40, int)
    y[0] = 0
    certificate = gb.compress(model, (X, y), num_levels=3).certificate
    assert certificate.train_error == 39 / 40
    assert "exceeds 0.5" in certificate.statement()


def test_models_that_know_nothing_and_models_of_nan_are_wrong():
    model = functional(lambda x: layers.Dense(3)(x))
    data = X, Y
    model.layers[1].set_weights([np.zeros((4, 3)), np.zeros(3)])
    assert count_errors(model, data).errors == 40
    assert measure(model, data, verbose=0, quantities=["margins"]).train_error == 1
    assert gb.compress(model, data, num_levels=3).certificate.train_error == 1
    model.layers[1].bias.assign([np.nan, -5, -5])
    assert count_errors(model, data).errors == 40
    assert measure(model, data, verbose=0, quantities=["margins"]).train_error == 1


@pytest.mark.parametrize("label", [0, 1])
def test_one_output_at_the_threshold_is_wrong_for_every_label(label):
    outputs = np.array([[0.5], [np.nan]], "float32")
    assert not Decision(0.5).right(outputs, np.array([label, label])).any()


def test_the_rule_is_of_the_chosen_output():
    inputs = keras.Input((4,))
    model = keras.Model(
        inputs, {"a": layers.Dense(3)(inputs), "b": one(activation="sigmoid")(inputs)}
    )
    output = model.predict(X, verbose=0)["b"][:, 0]
    expected = np.sum((output > 0.5) != Y)
    assert count_errors(model, (X, Y), output="b").errors == expected


def test_refusals():
    model = functional(lambda x: layers.Dense(3)(x))
    with pytest.raises(ValueError, match="of several the largest decides"):
        count_errors(model, (X, Y), threshold=0.5)
    with pytest.raises(ValueError, match="counted with labels"):
        count_errors(model, X)
    with pytest.raises(ValueError, match="must be finite"):
        count_errors(functional(ENDS["linear"][0]), (X, Y), threshold=np.nan)


@pytest.mark.parametrize("method", ["matrix_project", "filter_project", "truncate_svd"])
@pytest.mark.parametrize("end", ["linear", "sigmoid"])
def test_compact_layers_end_as_the_layers_in_whose_place_they_stand(method, end):
    function, threshold = ENDS[end]
    model = functional(function)
    compressed = gb.compress(model, (X, Y), method)
    expected = errors_by_hand(compressed.model, threshold)
    assert compressed.certificate.train_error == expected / 40
    assert (
        measure(compressed.model, (X, Y), quantities=["margins"], verbose=0).train_error
        == expected / 40
    )


def test_a_model_that_returns_its_input_has_an_end():
    # Its output is its input, so that a walk back from it must not go in a circle.
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Activation("linear"),
            keras.layers.Dropout(0.5),
        ]
    )
    data = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([1, 1, 1])
    assert count_errors(model, data).errors == 2
