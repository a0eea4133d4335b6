"""What is seen of a softmax or sigmoid behind the operations after it."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import tf_genbounds as gb
from tf_genbounds import backend
from tf_genbounds.functional.probabilities import probabilities_behind


def dense(x, activation="softmax", units=4, **options):
    return layers.Dense(units, activation=activation, **options)(x)


def inner(activation):
    inputs = keras.Input((6,))
    return keras.Model(inputs, dense(inputs, activation))


def passing_on():
    """An inner model whose output is its input, in another shape."""
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Reshape((2, 2))(inputs))


PROBABLE = {
    "softmax": lambda x: dense(x),
    "a layer": lambda x: layers.Softmax()(dense(x, None)),
    "an operation": lambda x: ops.softmax(dense(x, None)),
    "sigmoid of one unit": lambda x: layers.Flatten()(dense(x, "sigmoid", 1)),
    "log_softmax": lambda x: ops.reshape(dense(x, "log_softmax"), (-1, 2, 2)),
    "log_sigmoid": lambda x: layers.Flatten()(dense(x, "log_sigmoid")),
    "hard_sigmoid": lambda x: layers.Flatten()(dense(x, "hard_sigmoid")),
    "log of softmax": lambda x: ops.log(ops.clip(dense(x), 1e-7, 1.0)),
    "function": lambda x: layers.Activation(ops.sigmoid)(dense(x, None)),
    "Reshape": lambda x: layers.Reshape((2, 2))(dense(x)),
    "Flatten": lambda x: layers.Flatten()(layers.Reshape((4, 1))(dense(x))),
    "Average": lambda x: layers.Average()([dense(x), dense(x), dense(x)]),
    "half a sum": lambda x: 0.5 * (dense(x) + dense(x)),
    "a sum over two": lambda x: (dense(x) + dense(x)) / 2,
    "pooling": lambda x: layers.GlobalAveragePooling1D()(
        layers.Reshape((2, 4))(dense(x, "sigmoid", 8))
    ),
    "mean": lambda x: ops.mean(layers.Reshape((2, 4))(dense(x, "sigmoid", 8)), 1),
    "cast": lambda x: ops.cast(dense(x, dtype="mixed_bfloat16"), "float32"),
    "float32 layer": lambda x: layers.Activation("linear", dtype="float32")(
        dense(x, dtype="mixed_float16")
    ),
    "columns": lambda x: dense(x)[:, 1:],
    "Concatenate": lambda x: layers.Concatenate()([dense(x), dense(x)]),
    "every step": lambda x: layers.TimeDistributed(layers.Dense(4, "softmax"))(
        layers.Reshape((2, 3))(x)
    ),
    "nested": lambda x: layers.Reshape((2, 2))(inner("softmax")(x)),
    "through a nested model": lambda x: passing_on()(dense(x)),
}
LOGITS = {
    "linear": lambda x: dense(x, None),
    "relu": lambda x: layers.Flatten()(dense(x, "relu")),
    "after softmax": lambda x: dense(dense(x), None),
    "nested": lambda x: inner(None)(x),
    "a gate": lambda x: layers.Multiply()([dense(x), dense(x, None)]),
    "with a residual": lambda x: layers.Add()([dense(x), dense(x, None)]),
    "ten times a sigmoid": lambda x: 10.0 * dense(x, "sigmoid"),
    "of a nested model": lambda x: passing_on()(dense(x, None)),
}
SEEN = {"log of softmax": "softmax", "function": "sigmoid", "pooling": "sigmoid"}
SEEN |= {"sigmoid of one unit": "sigmoid", "mean": "sigmoid"}
SEEN |= {name: name for name in ("log_softmax", "log_sigmoid", "hard_sigmoid")}
CASES = [(end, SEEN.get(name, "softmax")) for name, end in PROBABLE.items()]
CASES += [(end, None) for end in LOGITS.values()]
IDS = [*PROBABLE, *(f"logits: {name}" for name in LOGITS)]


@pytest.mark.parametrize("end, expected", CASES, ids=IDS)
def test_symbolic_tensors_know_what_made_them(end, expected):
    assert probabilities_behind(end(keras.Input((6,)))) == expected


@pytest.mark.tensorflow
@pytest.mark.parametrize("end, expected", CASES, ids=IDS)
def test_tensors_of_a_graph_know_what_made_them(end, expected):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, end(inputs))
    found = []

    def run(x):
        found.append(probabilities_behind(model(x)))

    backend.trace(run, keras.KerasTensor((3, 6)))
    assert found == [expected]


ENDS = {
    "plain": lambda x: x,
    "Reshape": layers.Reshape((4,)),
    "float32": layers.Activation("linear", dtype="float32"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "how", [{"jit_compile": True}, {"jit_compile": False}, {"run_eagerly": True}]
)
def test_losses_and_metrics_refuse_the_model_in_fit_on_every_backend(end, how):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, ENDS[end](dense(inputs)))
    x, y = np.ones((4, 6), "float32"), np.zeros(4, int)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for owner, options in {
        "DARC1": {"loss": gb.losses.DARC1(cross_entropy)},
        "Margin": {"loss": "mse", "metrics": [gb.metrics.Margin()]},
        "DARC1Penalty": {"loss": "mse", "metrics": [gb.metrics.DARC1Penalty()]},
    }.items():
        model.compile("sgd", **how, **options)
        with pytest.raises(ValueError, match=f"{owner} .* logits.*=softmax"):
            model.fit(x, y, verbose=0)


def test_the_layer_refuses_when_the_model_is_built():
    inputs = keras.Input((6,))
    x = layers.Reshape((2, 2))(dense(inputs))
    with pytest.raises(ValueError, match="DARC1Regularization penalizes logits"):
        gb.layers.DARC1Regularization()(x)


@pytest.mark.tensorflow
def test_the_regularizer_refuses_in_a_graph():
    regularizer = gb.regularizers.DARC1()
    end = layers.Reshape((2, 2), activity_regularizer=regularizer)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, "softmax"), end])
    with pytest.raises(ValueError, match="DARC1 penalizes logits"):
        backend.trace(model, keras.KerasTensor((3, 6)))


@pytest.mark.parametrize("shown", ["after", "shown"])  # The logits come between.
@pytest.mark.parametrize("run_eagerly", [True, False])
def test_another_output_of_the_model_is_not_held_against_the_logits(shown, run_eagerly):
    inputs = keras.Input((6,))
    hidden = layers.Dense(4, name="logits")(inputs)
    model = keras.Model(
        inputs, {"logits": hidden, shown: layers.Softmax(name=shown)(hidden)}
    )
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = {"logits": gb.losses.DARC1(cross_entropy), shown: None}
    model.compile("sgd", loss, run_eagerly=run_eagerly)
    x, y = np.ones((4, 6), "float32"), np.zeros(4, int)
    model.fit(x, {"logits": y}, verbose=0)
