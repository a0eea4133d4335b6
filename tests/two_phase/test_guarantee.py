"""The bound of a frozen model, by hand: which norm, which margins, which decision."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from tf_genbounds import backend
from tf_genbounds import functional
from tf_genbounds.two_phase import TwoPhaseTraining

SAMPLES = 100


def frozen(model, x, y):
    """A run whose gates are those of the weights as they are."""
    run = TwoPhaseTraining(model, 0.0)
    run.compile("sgd", "mse")
    run.fit((x, y), 0, 0, verbose=0)
    return run


def two_classes(scale, end=None):
    """Logits `(scale x_0, x_0)` of positive inputs, through two ReLU units."""
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(2, "relu", use_bias=False, name="hidden"),
            layers.Dense(2, end, use_bias=False, name="logits"),
        ]
    )
    model.set_weights([np.eye(2), np.array([[scale, 1.0], [0.0, 0.0]])])
    return model


def ones(count=SAMPLES):
    return np.ones((count, 2), "float32"), np.zeros(count, "int64")


@pytest.mark.parametrize("scale, margin, norm", [(9.0, 4, 16), (4.0, 2, 8)])
def test_complexity_by_hand(scale, margin, norm):
    """The path weights have the norms `scale` and 1, one for each class.

    The larger counts: 9 is 16 on the grid (the mean, 5, would be 8). 4 is 8, since
    float32 may have rounded it to 4 from above. The margins are `scale - 1`; the
    largest powers of two below are 4 and 2.
    """
    bound = frozen(two_classes(scale), *ones()).bound()
    # Two inputs of 1 by two open units: `||z|| = 2`, plus what float32 may lose.
    features = 2 * (1 + 1e-4)
    expected = 4 * 2 * features / np.sqrt(SAMPLES) * norm / margin
    assert bound.empirical == 0
    assert bound.slack["complexity"] == pytest.approx(expected, rel=1e-6)
    assert {a.text: a.status for a in bound.assumptions}[
        f"the path weights of each class have a norm of at most {scale + 0.001:g}"
    ] == "checked"


def test_the_slopes_of_a_prelu_are_part_of_the_pattern():
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(3),
            layers.PReLU(alpha_initializer="random_uniform", name="slopes"),
            layers.Dense(2),
        ]
    )
    run = frozen(model, *ones(4))
    assert not run.bound().failed
    gate = run.model.get_layer("slopes")
    gate.set_weights([w + 0.25 for w in gate.get_weights()])
    assert [a.text for a in run.bound().failed] == [
        "the gates are those of the end of the standard phase"
    ]


@pytest.mark.parametrize("end", [None, "softmax", "log_softmax", "sigmoid"])
def test_margins_are_of_the_logits_whatever_the_end(end):
    bound = frozen(two_classes(9.0, end), *ones()).bound()
    # A probability would have a margin below 1, and a bound eight times as large.
    expected = 4 * 2 * 2 * (1 + 1e-4) / np.sqrt(SAMPLES) * 16 / 4
    assert bound.slack["complexity"] == pytest.approx(expected, rel=1e-6)
    assert "the 0-1 risk of the largest logit, ties wrong, is at most" in str(bound)
    text = "what `predict` returns, the {}, decides as the logits do".format(end)
    assert (text in str(bound)) == (end is not None)
    assert not bound.failed


def test_a_saturated_end_decides_otherwise_than_the_logits():
    """Sigmoids of 40 and 20 are both 1 in float32: `predict` does not decide."""
    model = two_classes(2.0, "sigmoid")
    x, y = ones()
    x *= 20
    run = frozen(model, x, y)
    assert run.model.predict(x, verbose=0).tolist() == [[1.0, 1.0]] * SAMPLES
    assert [a.text for a in run.bound().failed] == [
        "what `predict` returns, the sigmoid, decides as the logits do (on 100 samples "
        "it does not)"
    ]


@pytest.mark.parametrize("end", [None, "sigmoid", "log_sigmoid"])
@pytest.mark.parametrize("flat", [False, True])
def test_a_single_unit_decides_by_its_sign(end, flat):
    """Logits of 3 and -3, of which one in four has the other label."""
    inputs = keras.Input((1,))
    outputs = layers.Dense(1, end, use_bias=False, kernel_initializer="ones")(inputs)
    model = keras.Model(inputs, layers.Flatten()(outputs) if flat else outputs)
    x = np.repeat([[3.0], [-3.0]], SAMPLES // 2, axis=0).astype("float32")
    y = (x[:, 0] > 0) ^ (np.arange(SAMPLES) % 4 == 0)
    bound = frozen(model, x, y.astype("int64")).bound()
    assert bound.empirical == 0.25
    assert "the 0-1 risk of the sign of the logit, ties wrong, is" in str(bound)
    assert not bound.failed


def test_an_end_that_decides_nothing_is_found():
    """A softmax of one unit is always 1."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, "softmax")])
    model.set_weights([np.ones((2, 1)), np.zeros(1)])
    x, y = ones()
    failed = frozen(model, x, y + 1).bound().failed
    assert ["the softmax, decides as the logits do" in a.text for a in failed] == [True]


def test_a_cast_to_half_precision_is_refused():
    inputs = keras.Input((2,))
    outputs = layers.Dense(2)(ops.cast(inputs, "float16"))
    run = frozen(keras.Model(inputs, outputs), *ones(4))
    with pytest.raises(ValueError, match="under the policy float32.*dtype float16"):
        run.bound()


def tensor_float_32():
    """Whether float32 products may be rounded to 10 bits."""
    if backend.name == "tensorflow":
        return backend.tf.config.experimental.tensor_float_32_execution_enabled()
    return backend.jax.config.jax_default_matmul_precision != "float32"


def test_what_is_counted_is_computed_without_tf32(monkeypatch):
    run = frozen(two_classes(9.0), *ones(4))
    modes, jit, predict = [], backend.jit, keras.Model.predict

    def recorded(function):
        def call(*args, **kwargs):
            modes.append(tensor_float_32())
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(
        backend, "jit", lambda f, **options: recorded(jit(f, **options))
    )
    monkeypatch.setattr(keras.Model, "predict", recorded(predict))
    assert tensor_float_32()
    run.bound()
    # Logits, outputs, path features and path weights.
    assert modes == [False] * 4
    functional.path_weight_norms(run.model)  # By itself, too.
    assert modes == [False] * 5
    assert tensor_float_32()
