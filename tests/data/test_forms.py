"""What `fit` takes, everything takes: the door by kind, each entry point once."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tf_genbounds as gb
from tf_genbounds.compression import QuantizedTraining
from tf_genbounds.compression import compress
from tf_genbounds.data.batches import batches
from tf_genbounds.data.batches import class_indices
from tf_genbounds.experiments import compare_bounds
from tf_genbounds.measure.decision import count_errors

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.arange(24) % 2


class Frame:
    """Stands for a DataFrame: no dtype of its own."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def to_numpy(self):
        return self.values


class Series(Frame):
    """Stands for a Series, which has one."""

    dtype = "int64"


class Pairs(keras.utils.PyDataset):
    """Batches as lists, which Keras unpacks as it does tuples."""

    def __init__(self, x=X, y=Y, **options):
        super().__init__(**options)
        self.x, self.y = x, y

    num_batches = 3

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return [self.x[rows], self.y[rows]]


def of_objects():
    """What `to_numpy` makes of columns of numbers and of booleans."""
    values = X.astype(object)
    values[:, 3] = X[:, 3] > 0
    return values


FORMS = {
    "pandas": (Frame(X), Series(Y)),
    "lists of a PyDataset": Pairs(),
    "tensors": (keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(Y)),
    "float labels": (X, Y.astype("float32")),
    "a column of labels": (X, Y[:, None]),
    "bfloat16": (keras.ops.cast(X, "bfloat16"), Y),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_holds_the_same_samples(form):
    found = list(batches(FORMS[form], batch_size=8))
    x = np.concatenate([b.x for b in found])
    np.testing.assert_allclose(x, X, rtol=1e-2 if form == "bfloat16" else 0)
    y = np.concatenate([class_indices(b.y, 1, b.start) for b in found])
    np.testing.assert_array_equal(y, Y)


def test_columns_of_several_dtypes_are_numbers():
    batch = next(batches(Frame(of_objects())))
    np.testing.assert_array_equal(batch.x[:, :3], X[:, :3])
    np.testing.assert_array_equal(batch.x[:, 3], X[:, 3] > 0)


def test_a_series_of_inputs_is_a_column():
    assert next(batches(Series(Y))).x.shape == (24, 1)


def test_labels_may_be_a_nest():
    batch = next(batches((X, {"b": Y, "a": [Y, Y + 1]}), batch_size=25))
    np.testing.assert_array_equal(batch.y["a"][1], [*(Y + 1)])
    with pytest.raises(ValueError, match="same number of samples"):
        next(batches((X, {"b": Y, "a": Y[:5]})))


class Sparse:
    shape, dtype = (24, 4), "float32"

    def todense(self):
        raise AssertionError("It may be too large.")


def dataset(x=X, y=Y):
    return tf.data.Dataset.from_tensor_slices((x, y))


@pytest.mark.parametrize(
    "data, error, message",
    [
        ((Sparse(), Y), TypeError, r"pass dense ones, such as `x.toarray\(\)`"),
        (tf.RaggedTensor.from_row_splits(X[:, 0], [0, 9, 24]), TypeError, "ragged"),
        (dataset(tf.sparse.from_dense(X)).batch(8), ValueError, "tf.sparse.to_dense"),
        (dataset(), ValueError, r"pass `dataset.batch\(128\)`"),
        ((X, Y.tolist()), TypeError, "must be arrays.*Received: builtins.int"),
    ],
)
def test_what_is_not_taken_gets_one_clear_line(data, error, message):
    with pytest.raises(error, match=message) as caught:
        list(batches(data))
    assert "\n" not in str(caught.value)


def one_unit(end="sigmoid"):
    kernel = np.array([[0.4, -0.3], [1.0, 0.2], [-0.5, 0.9], [0.1, 0.7]])
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2, "relu"), layers.Dense(1, end)]
    )
    last = np.array([[1.0], [-1.0]])
    model.set_weights([kernel, np.array([0.1, -0.2]), last, np.array([0.05])])
    return model


def error():
    """What `one_unit` gets wrong on the data, by hand."""
    a, a0, b, b0 = one_unit().get_weights()
    logits = np.maximum(X @ a + a0, 0) @ b + b0
    return np.mean((logits[:, 0] > 0) != Y)


AWKWARD = {
    "lists": lambda: Pairs(y=Y.astype("float32")),
    "pandas": lambda: (Frame(X), Series(Y)),
    "labels by name": lambda: (X, {"anything": Y.astype("float32")}),
    "labels in a list": lambda: (X, [Y]),
}


@pytest.mark.parametrize("form", AWKWARD)
def test_measure_and_count_take_them(form):
    expected = error()
    data = AWKWARD[form]()
    assert 0 < expected < 1
    found = gb.measure(one_unit(), data, quantities=["margins"], verbose=0)
    assert found.train_error == expected
    assert count_errors(one_unit(), data).errors == round(24 * expected)


def test_compress_takes_lists_of_a_pydataset():
    found = compress(one_unit(), Pairs(y=Y.astype("float32")), num_levels=2**15 + 1)
    assert found.certificate.train_error == error()


def test_compare_bounds_takes_labels_by_name():
    found = compare_bounds(one_unit(), (X, {"out": Y[:, None]}), num_probes=1)
    assert found.num_samples == 24


def test_a_report_takes_frames():
    report = gb.report(
        one_unit(), (Frame(X), Series(Y)), interlayer_samples=0, verbose=0
    )
    assert report.train.train_error == error()


def test_the_monitors_take_lists_of_a_pydataset():
    model = one_unit("linear")
    monitor = gb.callbacks.GeneralizationMonitor(
        Pairs(y=Y.astype("float32")), metrics=[gb.metrics.Margin(0, name="exact")]
    )
    monitored = gb.MonitoredModel.from_model(model, [gb.metrics.Margin(0)])
    monitored.compile(keras.optimizers.SGD(0.0), "mse")
    history = monitored.fit(X, [Y.astype("float32")], verbose=0).history
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history |= model.fit(Pairs(), verbose=0, callbacks=[monitor]).history
    a, a0, b, b0 = model.get_weights()
    logits = (np.maximum(X @ a + a0, 0) @ b + b0)[:, 0]
    exact = np.min((2 * Y - 1) * logits)
    assert history["exact"] == pytest.approx([exact], rel=1e-5)
    assert history["margin"] == pytest.approx([exact], rel=0.011)


def test_both_trainings_take_flat_labels_of_one_unit():
    data = Pairs(y=Y.astype("float32"))
    quantized = QuantizedTraining(one_unit(), num_samples=24)
    quantized.compile("sgd", "binary_crossentropy")
    quantized.fit(data, epochs=2, verbose=0)
    two_phase = gb.two_phase.TwoPhaseTraining(one_unit(), seed=0)
    two_phase.compile("sgd", "binary_crossentropy")
    for form in (data, (Frame(X), Series(Y))):
        two_phase.fit(form, standard_epochs=0, freeze_epochs=1, verbose=0)
        two_phase.phase_data = None  # Of other labels: a column.
    assert two_phase.phase == "freeze"


def two_outputs(outputs):
    inputs = keras.Input((4,))
    heads = {
        "main": layers.Dense(3, name="main", kernel_initializer="ones")(inputs),
        "head": layers.Dense(2, name="head")(inputs),
    }
    heads["main"] = layers.Rescaling(1.0, [0.0, 0.1, 0.2], name="main_")(heads["main"])
    return keras.Model(inputs, heads if outputs is dict else list(heads.values()))


@pytest.mark.parametrize(
    "outputs, labels, output",
    [
        (dict, lambda right, wrong: {"main": right, "head": wrong}, "main"),
        (dict, lambda right, wrong: {"main": right}, "main"),
        (dict, lambda right, wrong: {"head": wrong, "main": right}, 1),
        (dict, lambda right, wrong: [wrong, right], "main"),  # Sorted by name.
        (list, lambda right, wrong: [right, wrong], "main_"),
        (list, lambda right, wrong: {"main_": right, "head": wrong}, 0),
    ],
)
def test_labels_are_those_of_the_output(outputs, labels, output):
    model = two_outputs(outputs)
    # The last of the three logits is the largest.
    data = (X, labels(np.where(np.arange(24) < 6, 0, 2), np.full(24, 9)))
    found = gb.measure(model, data, quantities=["margins"], output=output, verbose=0)
    assert found.train_error == 6 / 24
    assert count_errors(model, data, output=output).errors == 6


def test_an_output_without_labels_is_refused():
    with pytest.raises(ValueError, match="labels for the output 'main'.*head"):
        gb.measure(two_outputs(dict), (X, {"head": Y}), output="main", verbose=0)


def by_name():
    """Two inputs whose names are not in the order of the alphabet."""
    z, a = keras.Input((3,), name="z"), keras.Input((1,), name="a")
    model = keras.Model([z, a], layers.Dense(2)(layers.Concatenate()([z, a])))
    model.set_weights([np.arange(8.0).reshape(4, 2) % 3 - 1, np.zeros(2)])
    return model


@pytest.mark.parametrize("extra", [{}, {"id": Y}], ids=["exact", "one too many"])
def test_inputs_are_found_by_name_in_any_order(extra):
    kernel = by_name().get_weights()[0]
    logits = X @ kernel
    data = ({"a": X[:, 3:], **extra, "z": X[:, :3]}, Y)
    expected = np.mean(logits.argmax(1) != Y)
    found = gb.measure(by_name(), data, quantities=["margins"], verbose=0)
    assert found.train_error == expected
    assert count_errors(by_name(), data).errors == round(24 * expected)


def test_bytes_are_the_numbers_that_they_are():
    x = np.random.default_rng(0).integers(0, 256, (24, 4)).astype("uint8")
    quantities = ["layer_cushion", "margins"]
    found = gb.measure(one_unit(), (x, Y), quantities=quantities, verbose=0)
    a, a0, b, b0 = one_unit().get_weights()
    hidden = np.maximum(x.astype("float64") @ a + a0, 0)
    margins = (2 * Y - 1) * (hidden @ b + b0)[:, 0]
    np.testing.assert_allclose(found.margins, margins, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "data, message",
    [
        ([X, Y], r"pass inputs and labels as a tuple `\(x, y\)`"),
        (tf.data.Dataset.from_tensor_slices(X), r"needs `dataset.batch\(128\)`"),
        ((X, 2 * Y - 1), r"turn -1 and 1 into 0 and 1 by `\(y \+ 1\) // 2`"),
    ],
)
def test_a_mistake_is_told_what_to_do(data, message):
    with pytest.raises(ValueError, match=message):
        gb.measure(one_unit(), data, quantities=["margins", "stable_rank"], verbose=0)


def test_strings_for_numbers_are_refused():
    with pytest.raises(TypeError, match="must be numbers. Received: x.dtype=<U"):
        gb.measure(one_unit(), X.astype(str), verbose=0)


@pytest.mark.tensorflow
def test_texts_are_measured_where_the_model_reads_them():
    words = np.array(["a", "b", "c"])[np.arange(24) % 3]
    reader = layers.TextVectorization(vocabulary=["a", "b", "c"], output_mode="count")
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), reader, layers.Dense(3, use_bias=False)]
    )
    kernel = np.array([[0, 0, 0], [2, 1, 0], [0, 3, 1], [1, 0, 4]])
    model.set_weights([kernel])  # The first row is of unknown words.
    y = np.arange(24) % 3
    data = (words[:, None], y)
    quantities = ["stable_rank", "margins"]
    for form in (data, (data[0].astype(object), y), dataset(*data).batch(8)):
        found = gb.measure(model, form, quantities=quantities, verbose=0)
        np.testing.assert_allclose(found.margins, [1, 2, 3] * 8)
        assert count_errors(model, form).errors == 0
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=[gb.metrics.StableRank()])
    batches_ = dataset(*data).batch(8)
    history = model.fit(batches_, epochs=9, verbose=0).history
    rank = (np.linalg.norm(kernel) / np.linalg.norm(kernel, 2)) ** 2
    assert history["stable_rank/dense"][-1] == pytest.approx(rank, rel=1e-3)
    monitored = gb.MonitoredModel.from_model(model, [gb.metrics.Margin(0)])
    monitored.compile(keras.optimizers.SGD(0.0), loss)
    history = monitored.fit(batches_, verbose=0).history
    assert history["margin"] == pytest.approx([1.0], rel=0.011)
