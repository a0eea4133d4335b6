"""Which examples are picked: an order of the examples that only they decide.

Why the compression set `c(S) = T + E` is preferent, with `T` the picked examples and
`E` those of the others that the result `h` gets wrong. Let `T + E <= S' <= S`.

1. The picks are the first `g` of `S - T` in an order of which each example's place
   depends on `h` and the example alone: wrong before right, then by loss, then by a
   digest of the content. What is picked of `S` is in `T <= S'`, and `S' - T` is a part
   of `S - T`: so the same are the first `g` of `S' - T`.
2. A training step sees `T` and its number only. By induction over the rounds `S'`
   gives the same `T` and the same `h` in each.
3. Whether `E` is empty is the same too: if `S` has a wrong example outside `T`, the
   next pick is one, since wrong ones come first, and it is in `S'`. (By the loss
   alone it might be a right one, and training on `S'` could stop earlier.) A fixed
   number of rounds depends on nothing.
4. At the stop `E` is a part of `S'`, so that the wrong examples of `S' - T` are `E`.

And if `h` is wrong on a new example `z`, then `c(S + z) != c(S)`: were they equal,
`S + z` would give the same `T` and `h` by 1 to 4, and `E + z` for `E`. Copies count as
often as they occur: all this is about multisets.
"""

import dataclasses
import hashlib

import keras
import numpy as np

from tf_genbounds.data.batches import Batch
from tf_genbounds.data.reading import take
from tf_genbounds.data.repeats import row_digests


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Examples in memory, each with a digest of its content.

    Attributes:
        x: Nest of arrays.
        y: Nest of arrays, the labels.
        digests: List of bytes, one for each example.
        rank: Integer array: the place of each digest among all, the same for copies.
    """

    x: object
    y: object
    digests: list
    rank: np.ndarray

    @classmethod
    def of(cls, data):
        """Takes a pair `(x, y)` of nests of arrays."""
        x, y = keras.tree.map_structure(_one_zero, data)
        digests = row_digests(_batch(x, y))
        place = {digest: i for i, digest in enumerate(sorted(set(digests)))}
        return cls(x, y, digests, np.array([place[d] for d in digests]))

    def __len__(self):
        return len(self.digests)

    def batch(self):
        """Returns all examples as one `Batch`."""
        return _batch(self.x, self.y)

    def part(self, indices):
        """Returns the examples with these indices, as a sample of their own."""
        return Sample.of(take((self.x, self.y), indices))

    def key(self):
        """Returns a digest of all, in their order."""
        return hashlib.sha256(b"".join(self.digests)).hexdigest()


def _batch(x, y):
    return Batch(x, y, 0, len(keras.tree.flatten(x)[0]))


def _one_zero(array):
    """Makes negative zeros positive: the digests do not tell them apart."""
    return array + np.zeros((), array.dtype) if array.dtype.kind == "f" else array


def pick(count, *, outside, right, losses, rank):
    """Picks the examples that come first, of those that are not picked yet.

    Wrong ones before right ones, then by the largest loss, then by content.

    Args:
        count: Integer, how many; fewer if there are no more.
        outside: Boolean array: which examples are not picked yet.
        right: Boolean array: which are decided rightly.
        losses: Float array; NaN counts as infinite.
        rank: Integer array, see `Sample`.

    Returns:
        Integer array of indices, ordered by content.

    Example:

    >>> pick(
    ...     2, outside=np.ones(4, bool), right=np.array([True, False, True, True]),
    ...     losses=np.array([3.0, 1.0, 2.0, 3.0]), rank=np.array([1, 3, 2, 0]),
    ... )
    array([3, 1])
    """
    candidates = np.flatnonzero(outside)
    losses = np.where(np.isnan(losses), np.inf, losses)[candidates]
    order = np.lexsort((rank[candidates], -losses, right[candidates]))
    chosen = candidates[order[:count]]
    return chosen[np.argsort(rank[chosen], kind="stable")]
