"""What the gates may depend on is named in the bound, and checked where it can be."""

import keras
import models
import numpy as np
import pytest
from keras import layers

from tf_genbounds.certificates.independence import Origin
from tf_genbounds.certificates.independence import count_shared
from tf_genbounds.certificates.independence import signs_of_training
from tf_genbounds.two_phase import TwoPhaseTraining

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
OTHERS = "the samples of the freeze phase"


def data(samples=24, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, 6)).astype("float32")
    return x, np.arange(samples) % 3


def fresh():
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, "relu", name="first"), layers.Dense(3)]
    )


def training(model=None, fraction=0.25):
    run = TwoPhaseTraining(model or fresh(), fraction)
    run.compile("adam", LOSS)
    return run


def statuses(bound):
    return {a.text: a.status for a in bound.assumptions}


def seen(inputs, **options):
    """The `Assumption`s after a standard phase that was given `options`."""
    origin = Origin("the standard phase", OTHERS)
    defaults = dict.fromkeys(("callbacks", "validation_data", "class_weight"))
    origin.see_fit(inputs, **(defaults | {"weights": False} | options))
    return {a.text: a.status for a in origin.assumptions()}


def test_each_dependence_is_an_assumption_of_its_own():
    run = training()
    run.fit(data(), 1, 1, verbose=0)
    bound = run.bound()
    found = statuses(bound)
    for text, status in {
        f"the weights that the model came with do not depend on {OTHERS}": "unchecked",
        f"no callback of the standard phase depends on {OTHERS}": "checked",
        f"no validation data of the standard phase depends on {OTHERS}": "checked",
        "preprocessing (normalization statistics, constants in the network), "
        f"architecture and hyper-parameters do not depend on {OTHERS}": "unchecked",
    }.items():
        assert found[text] == status
        assert (text in bound.statement()) == (status == "unchecked")


def test_weights_that_were_trained_before_are_named():
    """Gates that have memorised the samples bring a low error and no guarantee."""
    model = fresh()
    x, y = data()
    model.compile("adam", LOSS)
    model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    run = training(model)
    run.fit((x, y), 0, 0, verbose=0)
    # 3 batches in each epoch.
    assert (
        "the weights that the model came with (its optimizer has made 6 steps; the "
        "bias of 'first' is not as initialized) do not depend on"
    ) in run.bound().statement()


def test_training_behind_the_back_of_the_run_is_named():
    run = training()
    run.model.fit(*data(), batch_size=8, verbose=0)
    run.fit(data(), 0, 0, verbose=0)
    assert "(its optimizer has made 3 steps;" in run.bound().statement()


@pytest.mark.parametrize(
    "layer, weight",
    [
        (lambda: layers.Dense(2, bias_initializer="ones", name="it"), "bias"),
        (lambda: layers.BatchNormalization(name="it", scale=False), "moving_mean"),
        (lambda: layers.PReLU(name="it"), "alpha"),
    ],
)
def test_weights_that_no_initializer_gives_are_a_sign_of_training(layer, weight):
    model = keras.Sequential([keras.Input((4,)), layer()])
    assert signs_of_training(model) == []
    variable = getattr(model.get_layer("it"), weight)
    variable.assign(keras.ops.convert_to_tensor(variable.value) + 0.5)
    assert signs_of_training(model) == [f"the {weight} of 'it' is not as initialized"]


def test_a_random_kernel_is_no_sign_of_training():
    kernel = layers.Dense(3, use_bias=False)
    assert signs_of_training(keras.Sequential([keras.Input((6,)), kernel])) == []


def test_callbacks_of_the_standard_phase_are_named_and_no_others():
    run = training()
    stop = keras.callbacks.EarlyStopping("loss")
    run.fit(data(), 1, 0, callbacks=[stop], verbose=0)
    late = keras.callbacks.TerminateOnNaN()
    # Those of the second phase choose path weights, for all of which it holds.
    run.fit(data(), 0, 1, callbacks=[late], validation_data=data(), verbose=0)
    bound = run.bound()
    text = (
        f"the callbacks of the standard phase (EarlyStopping) do not depend on {OTHERS}"
    )
    assert statuses(bound)[text] == "unchecked"
    assert not bound.failed and "TerminateOnNaN" not in bound.statement()


def test_validation_data_of_the_standard_phase_is_compared_with_the_freeze_samples():
    x, y = data()
    run = training()
    run.fit((x, y), 1, 1, validation_data=(x[:12], y[:12]), verbose=0)
    shared = np.sum(run.phase_data.freeze < 12)
    bound = run.bound()
    assert [a.text for a in bound.failed] == [
        "no input of the validation data of the standard phase is one of the samples "
        f"of the freeze phase ({shared} are)"
    ]
    assert str(bound).startswith("NOT A GUARANTEE")


@pytest.mark.parametrize("kind", ["float64", "list", "dict", "PyDataset", "tf.data"])
def test_validation_data_of_every_kind_is_compared(kind):
    x, y = data(6)
    other = data(6, seed=1)[0]
    mixed = np.concatenate([other, x[:2]])
    labels = np.zeros(8)
    inputs = x
    validation = {
        "float64": (mixed.astype("float64"), labels),
        "list": [mixed, labels],
        "dict": ({"b": mixed, "a": mixed[:, :2]}, labels),
    }.get(kind)
    if kind == "dict":
        inputs = {"a": x[:, :2], "b": x}
    elif kind == "tf.data":
        tf = pytest.importorskip("tensorflow")
        validation = tf.data.Dataset.from_tensor_slices((mixed, labels)).batch(3)
    elif kind == "PyDataset":
        validation = Batches(mixed, labels)
    found = seen(inputs, validation_data=validation)
    assert [s for text, s in found.items() if "freeze phase (2 are)" in text] == [
        "failed"
    ]


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self._x, self._y = x, y

    num_batches = 2

    def __getitem__(self, index):
        part = slice(4 * index, 4 * index + 4)
        return self._x[part], self._y[part]


def test_validation_data_that_shares_no_input_may_still_depend_on_the_samples():
    x, _ = data(6)
    found = seen(x, validation_data=(x + 1e-3, np.zeros(6)))
    text = f"standard phase does not depend on {OTHERS} (no input is in both)"
    assert [s for t, s in found.items() if text in t] == ["unchecked"]


def test_validation_data_that_is_gone_when_read_is_not_called_checked():
    batches = iter([data(6)])
    found = seen(data(6)[0], validation_data=batches)
    assert [s for t, s in found.items() if "(it cannot be read again)" in t] == [
        "unchecked"
    ]
    assert next(batches)  # It was not consumed.


def test_weights_of_classes_and_samples_are_named():
    found = seen(data()[0], class_weight={0: 2.0}, weights=True)
    text = "the class weights and sample weights of the standard phase do not depend on"
    assert [s for t, s in found.items() if text in t] == ["unchecked"]
    assert not [t for t in seen(data()[0]) if "sample weights" in t]


def test_copies_of_samples_in_both_phases_are_counted():
    x, y = data(4)
    run = training()
    # Each sample six times: one of the other phase for nearly every one.
    run.fit((np.tile(x, (6, 1)), np.tile(y, 6)), 0, 0, verbose=0)
    numbers = {
        name: getattr(run.phase_data, name) % 4 for name in ("standard", "freeze")
    }
    expected = np.isin(numbers["freeze"], numbers["standard"]).sum()
    assert (
        f"the {expected} inputs of the samples of the freeze phase that the standard "
        "phase has as well are independent draws, and no copies"
    ) in run.bound().statement()


def test_inputs_are_equal_as_numbers():
    a = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert count_shared(np.array([[-0.0, 1.0], [2.0, 3.5]], "float16"), a) == 1
    assert (
        count_shared(np.array([["x", "y"], ["zz", "w"]]), np.array([["x", "y"]])) == 1
    )


def test_a_model_of_the_tests_is_no_fresh_one():
    assert signs_of_training(models.dense()) == [
        "the bias of 'first' is not as initialized"
    ]
