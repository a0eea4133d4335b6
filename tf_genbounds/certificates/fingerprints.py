"""What a certificate is of: digests of weights and of data, versions."""

import hashlib
import platform

import keras
import numpy as np

from tf_genbounds._version import __version__
from tf_genbounds.data.batches import batches
from tf_genbounds.data.repeats import row_digests

_MODULUS = 1 << 256


def of_weights(model):
    """Returns the sha256 of all weights of a model, in their order.

    Shapes and dtypes enter, names do not: they change from one session to another.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class RowDigests:
    """Digests of the examples of a stream of batches, whatever their order.

    Attributes:
        count: Integer, how many examples were added.
    """

    def __init__(self):
        self.count = 0
        self._sum = 0
        self._seen = set()

    def add(self, batch):
        """Adds the examples of a `Batch`, labels included, without padding."""
        for row in row_digests(batch):
            # A sum does not know the order, and counts what is repeated.
            self._sum = (self._sum + int.from_bytes(row, "big")) % _MODULUS
            self._seen.add(row[:16])
        self.count += batch.count

    @property
    def distinct(self):
        """How many of the examples are different."""
        return len(self._seen)

    def hexdigest(self):
        """Returns one digest of all examples together, a string."""
        whole = f"{self.count} {self._sum}"
        return hashlib.sha256(whole.encode()).hexdigest()


def versions():
    """Returns with what the numbers were computed, by name."""
    return {
        "tf_genbounds": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def of(model, data, batch_size):
    """Returns what a certificate of a model and its sample is of, as a dict."""
    rows = RowDigests()
    for batch in batches(data, batch_size=batch_size):
        rows.add(batch)
    return {
        "weights": of_weights(model),
        "data": rows.hexdigest(),
        "versions": versions(),
    }
