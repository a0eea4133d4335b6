import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_genbounds.data.batches import batches
from tf_genbounds.data.batches import class_indices
from tf_genbounds.data.batches import num_batches
from tf_genbounds.data.batches import spread

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10) % 3


class Sequence(keras.utils.PyDataset):
    def __init__(self, size=4, endless=False):
        super().__init__()
        self.size, self.endless = size, endless

    def __getitem__(self, index):
        part = slice(index * self.size, (index + 1) * self.size)
        return X[part], Y[part]

    @property
    def num_batches(self):
        return None if self.endless else -(-len(X) // self.size)


def dataset(size=4):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size)


@pytest.mark.parametrize(
    "data",
    [(X, Y), dataset(), Sequence(), (X, Y, np.ones(10))],
    ids=["arrays", "tf.data", "PyDataset", "sample weights"],
)
@pytest.mark.parametrize("num_samples", [None, 1, 4, 7, 10, 99])
def test_every_sample_comes_once_in_batches_of_one_size(data, num_samples):
    found = list(batches(data, batch_size=4, num_samples=num_samples))
    expected = min(num_samples or 10, 10)
    assert {b.x.shape for b in found} == {(4, 2)}
    np.testing.assert_array_equal(
        np.concatenate([b.x[: b.count] for b in found]), X[:expected]
    )
    np.testing.assert_array_equal(
        np.concatenate([b.y[: b.count] for b in found]), Y[:expected]
    )
    assert [b.start for b in found] == list(range(0, expected, 4))
    total = num_batches(data, batch_size=4, num_samples=num_samples)
    assert total in (None, len(found))


def test_padding_repeats_the_first_row():
    last = list(batches((X, Y), batch_size=4))[-1]
    assert last.count == 2
    np.testing.assert_array_equal(last.x, X[[8, 9, 8, 8]])


def test_growing_batches_are_split():
    uneven = dataset(2).concatenate(dataset(10))
    found = list(batches(uneven))
    assert {len(b.x) for b in found} == {2}
    assert sum(b.count for b in found) == 20


def test_x_alone_and_several_inputs():
    assert next(batches(X)).y is None
    batch = next(batches(({"a": X, "b": X}, Y), batch_size=3))
    assert batch.x["b"].shape == (3, 2)


def endless():
    return dataset().repeat()


def unknown():
    return tf.data.Dataset.from_generator(
        lambda: iter([(X, Y)]), output_signature=dataset(10).element_spec
    )


BAD = X.copy()
BAD[7, 1] = np.nan


@pytest.mark.parametrize(
    "data, message",
    [
        ((X[:0], Y[:0]), "must have at least one sample"),
        (tf.data.Dataset.from_tensor_slices(X[:0]).batch(2), "at least one"),
        ((X, Y[:9]), "same number of samples"),
        ((X, Y, Y, Y), "tuple of length 4"),
        ((BAD, Y), "NaN or infinity at sample 7"),
        ((np.where(X == 18, np.inf, X), Y), "NaN or infinity at sample 9"),
        (endless(), "infinite or of unknown size.*num_samples"),
        (unknown(), "assert_cardinality"),
        (Sequence(endless=True), "infinite"),
    ],
)
def test_refuses_bad_values(data, message):
    with pytest.raises(ValueError, match=message):
        list(batches(data, batch_size=4))


@pytest.mark.parametrize(
    "data, message",
    [
        (iter([X]), "must be arrays"),
        ("digits", "must be arrays"),
        (np.array([1, "a"], dtype=object), "must be numbers"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "must be numbers"),
    ],
)
def test_refuses_bad_types(data, message):
    with pytest.raises(TypeError, match=message):
        list(batches(data))


@pytest.mark.parametrize("data", [endless(), unknown(), Sequence(endless=True)])
def test_data_without_an_end_needs_a_sample_count(data):
    assert sum(b.count for b in batches(data, num_samples=9)) == 9


@pytest.mark.parametrize("name", ["batch_size", "num_samples"])
def test_refuses_bad_counts(name):
    for bad in (0, 2.5, True, "3"):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
            list(batches(X, **{name: bad}))


@pytest.mark.parametrize(
    "labels", [Y, Y[:, None], Y.astype("uint8"), np.eye(3)[Y], np.eye(3, dtype=int)[Y]]
)
def test_labels_in_every_form(labels):
    np.testing.assert_array_equal(class_indices(labels, 3), Y)


def test_labels_of_a_single_logit():
    np.testing.assert_array_equal(class_indices([True, False], 1), [1, 0])
    np.testing.assert_array_equal(class_indices([[1], [0]], 1), [1, 0])


@pytest.mark.parametrize(
    "labels, classes, message",
    [
        ([0, 3], 3, r"lie in \[0, 3\). Received: y=3 at sample 41"),
        ([0, -1], 3, "y=-1 at sample 41"),
        ([0, 2], 1, r"lie in \[0, 2\)"),
        ([0.0, 0.5], 3, "must be integers.*y=.*0.5.* of dtype float64 at sample 41"),
        ([[0.5, 0.5, 0.0]], 3, "one-hot"),
        ([[1.0, 1.0, 0.0]], 3, "one-hot"),
        ([[0, 1]], 3, r"y.shape=\(1, 2\)"),
    ],
)
def test_refuses_bad_labels(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        class_indices(np.array(labels), classes, start=40)


def test_a_spread_comes_from_all_over_the_arrays():
    x, y = np.arange(101)[:, None], np.arange(101)
    (spread_x,), spread_y = spread(((x,), y), 5)
    np.testing.assert_array_equal(spread_y, [0, 25, 50, 75, 100])
    np.testing.assert_array_equal(spread_x[:, 0], spread_y)
    np.testing.assert_array_equal(spread(y[:3], 5), y[:3])
