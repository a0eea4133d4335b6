"""Labelled image sets by name, with the same splits for everyone."""

import contextlib
import difflib
import io
import logging
import os
import tempfile
from typing import Any

import numpy as np

DIGITS = "digits"


def load(
    name: str, split: Any = None, normalize: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Loads the images and labels of a data set.

    `"digits"` comes with scikit-learn and needs no network. Every other name
    is a supervised image set of TensorFlow Datasets, which looks for it in the
    folder of the environment variable `TFDS_DATA_DIR` (by default
    `~/tensorflow_datasets`) and downloads it there if it is missing.

    Pixels are divided by a fixed number, the largest one that can be stored
    (16 for the digits, 255 for bytes), and never by one that is fitted to the
    images: a certificate for a network would have to pay for whatever its
    preprocessing learned from the sample.

    Args:
        name: `"digits"`, or a name of TensorFlow Datasets such as `"mnist"`.
        split: A split in the notation of TensorFlow Datasets, such as
            `"train"`, `"test"`, `"train[:100]"` or `"train[50%:]"`, or `None`
            for all splits one after the other. The digits have one fixed
            random split: 1437 for `"train"` and 360 for `"test"`.
        normalize: Whether to turn integer pixels into floats in [0, 1].

    Returns:
        A pair `(x, y)`: images of shape `(samples, height, width, channels)`,
        float32 if normalized and as stored otherwise; int64 labels of shape
        `(samples,)`.

    Raises:
        ValueError: If the name or the split is unknown, or if the set is not
            one of labelled images of one size.
        OSError: If the set is not on this machine and cannot be downloaded.
        ImportError: If scikit-learn is missing, for the digits.

    Example:

    >>> x, y = load("digits", split="train[:100]")
    >>> x.shape, x.dtype.name, y.shape
    ((100, 8, 8, 1), 'float32', (100,))
    """
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string. Received: name={name!r}")
    if split is None:
        split = "all"
    elif not isinstance(split, str):
        raise TypeError(
            f"`split` must be a string or `None`. Received: split={split!r}"
        )
    if name == DIGITS:
        x, y = _digits(split)
        largest = 16
    else:
        x, y = _from_tfds(name, split)
        largest = np.iinfo(x.dtype).max if x.dtype.kind == "u" else None
    if len(x) == 0:
        raise ValueError(
            f"This split has no examples. Received: name={name!r}, split={split!r}"
        )
    if (y < 0).any():
        raise ValueError(
            "This split has examples without a label: choose one that has "
            f"none, such as 'train'. Received: name={name!r}, split={split!r}"
        )
    if normalize and largest is not None:
        x = x.astype("float32") / np.float32(largest)
    return x, y


def _digits(split):
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError(
            "The digits come with scikit-learn, which is not installed: "
            "`pip install tf_genbounds[demo]`. Received: name='digits'"
        ) from None

    bunch = load_digits()
    # `RandomState`, since NumPy promises that its stream will never change.
    order = np.random.RandomState(0).permutation(len(bunch.target))
    num_train = int(0.8 * len(order))
    parts = {"train": order[:num_train], "test": order[num_train:]}
    chosen = np.concatenate(
        [
            parts[instruction.splitname][instruction.from_ : instruction.to]
            for instruction in _instructions(DIGITS, split, parts)
        ]
    )
    return (
        bunch.images[chosen, ..., None].astype("uint8"),
        bunch.target[chosen].astype("int64"),
    )


def _instructions(name, split, parts):
    """Parses a split as TFDS does, which then slices and rounds alike."""
    import tensorflow_datasets as tfds

    splits = {
        part: tfds.core.SplitInfo(
            name=part,
            shard_lengths=[len(indices)],
            num_bytes=0,
            filename_template=None,
        )
        for part, indices in parts.items()
    }
    with _split_errors(name, split):
        return tfds.core.ReadInstruction.from_spec(split).to_absolute(splits)


@contextlib.contextmanager
def _split_errors(name, split):
    """Turns what TFDS says about a bad split into one line."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"`split` is not one of this data set: {_first_line(error)} "
            f"Received: name={name!r}, split={split!r}"
        ) from None


def _from_tfds(name, split):
    import tensorflow_datasets as tfds

    builder = _builder(name)
    _check_images(name, builder.info)
    if not builder.is_prepared():
        _download(name, builder)
    with _split_errors(name, split):
        dataset = builder.as_dataset(split=split, as_supervised=True, batch_size=-1)
    x, y = tfds.as_numpy(dataset)
    return x, y.astype("int64")


def _builder(name):
    import tensorflow_datasets as tfds

    try:
        with _quiet():
            # Passed on, because TFDS reads the variable only when imported.
            return tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        near = difflib.get_close_matches(name, [DIGITS, *known], n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            "Unknown data set: neither 'digits' nor a name of TensorFlow "
            f"Datasets. {hint}Received: name={name!r}"
        ) from None
    except Exception as error:  # TFDS asserts on a bad version, for example.
        raise ValueError(
            "TensorFlow Datasets cannot make sense of this name: "
            f"{_first_line(error)} Received: name={name!r}"
        ) from None


def _check_images(name, info):
    """Refuses what is not a set of labelled images of one size."""
    import tensorflow_datasets as tfds

    def refuse(reason):
        raise ValueError(
            f"Only labelled images of one size can be loaded: {reason}. "
            f"Received: name={name!r}"
        )

    keys = info.supervised_keys
    if keys is None:
        refuse("this data set is not a supervised one")
    if len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        refuse("the examples of this data set are not pairs")
    image, label = (info.features[key] for key in keys)
    if not isinstance(image, tfds.features.Image):
        refuse(f"{keys[0]!r} is not an image")
    if not isinstance(label, tfds.features.ClassLabel):
        refuse(f"{keys[1]!r} is not a class label")
    if None in image.shape:
        refuse(f"the images have different sizes, {image.shape}")


def _download(name, builder):
    """Prepares a data set; a failure is one line and leaves nothing behind."""
    import tensorflow_datasets as tfds

    folder = builder.data_dir_root
    missing = [p for p in builder.data_path.parents if not p.exists()]
    try:
        _check_connection(builder.url_infos)
        folder.mkdir(parents=True, exist_ok=True)
        # Where it is apart, no half of an archive can stay behind.
        with tempfile.TemporaryDirectory(dir=folder) as archives, _quiet():
            builder.download_and_prepare(
                download_dir=archives,
                download_config=tfds.download.DownloadConfig(
                    manual_dir=folder / "downloads" / "manual"
                ),
            )
    except BaseException as error:
        for path in missing:
            if path.exists():
                path.rmtree()
        if not isinstance(error, Exception):  # The user's Ctrl-C.
            raise
        raise OSError(
            f"The data set {name!r} is not in {folder} and could not be "
            f"downloaded ({_first_line(error)}). Load it once while online, "
            "or set TFDS_DATA_DIR to a folder that has it. "
            f"Received: name={name!r}"
        ) from None


def _check_connection(urls):
    """Fails at once without a network; TFDS would try for three minutes."""
    import requests

    for url in list(urls or ())[:1]:
        if url.startswith("http"):
            try:
                requests.head(url, timeout=10)
            except requests.RequestException:
                host = url.split("/")[2]
                raise OSError(f"no connection to {host}") from None


@contextlib.contextmanager
def _quiet():
    """Keeps the progress bars and the log lines of TFDS off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        logging.disable(before)


def _first_line(error):
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
