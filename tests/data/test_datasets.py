"""`load`: the same examples for everyone, and one clear line if not."""

import os
import sys

import numpy as np
import pytest
import requests

from tf_genbounds.data import load


def test_digits_are_float_images_in_the_unit_interval():
    x, y = load("digits")
    assert x.shape == (1797, 8, 8, 1) and x.dtype == "float32"
    assert y.shape == (1797,) and y.dtype == "int64"
    assert x.min() == 0 and x.max() == 1
    assert set(y) == set(range(10))


def test_digits_are_divided_by_a_fixed_number():
    raw, _ = load("digits", normalize=False)
    assert raw.dtype == "uint8" and raw.max() == 16
    # A part without a full pixel is divided by 16 all the same.
    part, _ = load("digits", "train[:1]")
    raw, _ = load("digits", "train[:1]", normalize=False)
    np.testing.assert_array_equal(part, raw / np.float32(16))


def test_digits_have_one_partition():
    x, y = load("digits")
    train, test = load("digits", "train"), load("digits", "test")
    assert len(train[1]) == 1437 and len(test[1]) == 360
    np.testing.assert_array_equal(x, np.concatenate([train[0], test[0]]))
    np.testing.assert_array_equal(y, np.concatenate([train[1], test[1]]))


def test_the_partition_of_digits_never_changes():
    assert load("digits", "train")[1][:8].tolist() == [2, 8, 2, 6, 6, 7, 1, 9]
    assert load("digits", "test")[1][-4:].tolist() == [3, 7, 7, 8]


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    x, _ = load("digits", normalize=False)
    images = load_digits().images
    assert sorted(x.reshape(1797, -1).tolist()) == sorted(
        images.reshape(1797, -1).tolist()
    )


@pytest.mark.parametrize(
    "split, part",
    [
        ("train[:100]", slice(0, 100)),
        ("train[50%:]", slice(718, 1437)),
        ("train[-5:]", slice(1432, 1437)),
        ("train[10:20]", slice(10, 20)),
        ("test", slice(1437, 1797)),
        ("all", slice(0, 1797)),
    ],
)
def test_splits_are_sliced_as_in_tfds(split, part):
    y = load("digits")[1]
    np.testing.assert_array_equal(load("digits", split)[1], y[part])


def test_splits_can_be_joined():
    joined = load("digits", "train[:2]+test[:3]")[1]
    y = load("digits")[1]
    np.testing.assert_array_equal(joined, y[[0, 1, 1437, 1438, 1439]])


@pytest.mark.parametrize(
    "name, split, error, message",
    [
        ("digitz", None, ValueError, "Did you mean 'digits'"),
        ("mnits", None, ValueError, "Did you mean 'mnist'"),
        ("qqqqqqqqq", None, ValueError, "Unknown data set"),
        ("", None, ValueError, "make sense of this name"),
        ("mnist:9.9.9", None, ValueError, "9.9.9"),
        (3, None, TypeError, "Received: name=3"),
        ("digits", 3, TypeError, "Received: split=3"),
        ("digits", "trian", ValueError, "one of .'train', 'test'"),
        ("digits", "train[:x]", ValueError, "Received: name='digits', split="),
        ("digits", "train[:9999]", ValueError, "9999"),
        ("digits", "train[5:5]", ValueError, "no examples"),
        ("titanic", None, ValueError, "labelled images of one size"),
        ("imdb_reviews", None, ValueError, "'text' is not an image"),
        ("cats_vs_dogs", None, ValueError, "different sizes"),
        ("coco", None, ValueError, "not a supervised one"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    name, split, error, message, monkeypatch, tmp_path
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(error, match=message) as raised:
        load(name, split)
    assert len(str(raised.value).splitlines()) == 1
    assert "Received: " in str(raised.value)
    assert os.listdir(tmp_path) == []


def test_missing_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install tf_genbounds\[demo\]"):
        load("digits")


@pytest.fixture(scope="module")
def tiny():
    """Registers a set of 4 by 4 images that needs no download."""
    tfds = pytest.importorskip("tensorflow_datasets")
    # TFDS cannot prepare anything without it, and forgets to require it.
    pytest.importorskip("importlib_resources")

    class TinyImages(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pixel = np.uint8(51)
        unlabelled = -1

        def _info(self):
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(4, 4, 1)),
                    "label": tfds.features.ClassLabel(num_classes=3),
                }
            )
            return tfds.core.DatasetInfo(
                builder=self,
                features=features,
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager):
            if self.pixel is None:
                raise RuntimeError("the source\nis gone")
            return {
                "train": self._examples([0, 1, 2, 0, 1]),
                "test": self._examples([2, 2]),
                "extra": self._examples([self.unlabelled]),
            }

        def _generate_examples(self):
            raise NotImplementedError

        def _examples(self, labels):
            for i, label in enumerate(labels):
                image = np.full((4, 4, 1), self.pixel)
                yield i, {"image": image, "label": label}

    return TinyImages


def test_tfds_sets_are_prepared_where_the_variable_says(
    tiny, tmp_path, monkeypatch, capfd
):
    folder = tmp_path / "new" / "data"
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    x, y = load("tiny_images", "train+test")
    np.testing.assert_array_equal(x, np.full((7, 4, 4, 1), 51 / 255, "float32"))
    assert x.dtype == "float32" and y.dtype == "int64"
    assert sorted(y) == [0, 0, 1, 1, 2, 2, 2]
    raw, _ = load("tiny_images", "train[:2]", normalize=False)
    assert raw.dtype == "uint8" and (raw == 51).all() and len(raw) == 2
    assert os.listdir(folder) == ["tiny_images"]  # No archives.
    assert capfd.readouterr().out == ""


def test_examples_without_a_label_are_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="without a label"):
        load("tiny_images")
    assert len(load("tiny_images", "test")[1]) == 2


def test_unknown_split_of_a_tfds_set(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="'train', 'test', 'extra'"):
        load("tiny_images", "validation")


@pytest.mark.parametrize("new", [True, False])
def test_a_failed_preparation_leaves_nothing(tiny, new, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    if not new:
        folder.mkdir()
        (folder / "mine.txt").write_text("keep")
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    monkeypatch.setattr(tiny, "pixel", None)
    with pytest.raises(OSError, match=r"\(the source\).*TFDS_DATA_DIR") as raised:
        load("tiny_images")
    assert len(str(raised.value).splitlines()) == 1
    assert os.listdir(tmp_path) == ([] if new else ["data"])
    if not new:
        assert os.listdir(folder) == ["mine.txt"]


def test_without_a_network_the_error_comes_at_once(tmp_path, monkeypatch):
    pytest.importorskip("importlib_resources")

    def head(url, timeout):
        raise requests.ConnectionError("Max retries exceeded")

    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(OSError, match="no connection to .*online") as raised:
        load("fashion_mnist")
    assert len(str(raised.value).splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_mnist():
    folder = os.environ.get("TFDS_DATA_DIR", "")
    if not os.path.isdir(os.path.join(folder, "mnist")):
        pytest.skip("no MNIST in TFDS_DATA_DIR")
    x, y = load("mnist", "test")
    assert x.shape == (10000, 28, 28, 1) and x.dtype == "float32"
    assert x.min() == 0 and x.max() == 1
    # The label counts of the original file.
    assert np.bincount(y).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert len(load("mnist")[1]) == 70000
