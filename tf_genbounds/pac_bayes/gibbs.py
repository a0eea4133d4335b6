"""Errors of a network that draws its weights, with fresh ones for each block."""

import dataclasses
import hashlib

import keras
import numpy as np

from tf_genbounds import backend
from tf_genbounds.certificates.fingerprints import of_weights
from tf_genbounds.data.batches import Batch
from tf_genbounds.data.batches import class_indices
from tf_genbounds.data.reading import take
from tf_genbounds.measure.decision import Decision
from tf_genbounds.measure.decision import decision_of
from tf_genbounds.measure.decision import specs
from tf_genbounds.network.example_wise import check_example_wise
from tf_genbounds.network.model import check_shapes
from tf_genbounds.network.network import Network

_DRAWS = 3  # What a seed is for: a stream of random numbers.
_COMPARED = 32


@dataclasses.dataclass(frozen=True)
class Judge:
    """How errors of a network are counted.

    Attributes:
        network: `Network`.
        decision: `Decision`.
        num_compared: Integer, how many examples were predicted one by one too.
    """

    network: Network
    decision: Decision
    num_compared: int

    @classmethod
    def of(cls, network, data, threshold=None):
        """Looks at a network with the weights that it has, and some examples.

        Args:
            network: A built Keras model, a classifier of one example at a time.
            data: Pair `(x, y)` of nests of arrays.
            threshold: See `decision_of`.
        """
        count = min(_COMPARED, len(keras.tree.flatten(data)[0]))
        x, y = take(data, slice(count))
        with backend.full_precision():
            check_shapes(network, x)
            found = Network.of(network, specs(x), None)
            if found.output is None:
                raise ValueError(
                    "The model must have one output, which decides. Received: "
                    f"{len(found.output_shapes)} outputs"
                )
            decision = decision_of(found, threshold)
            compared = check_example_wise(found, Batch(x, y, 0, count))
        return cls(found, decision, compared)

    def wrong(self, outputs, y):
        """Counts the errors of what `predict` returned."""
        outputs = keras.tree.flatten(outputs)[self.network.output]
        labels = class_indices(self.network.labels_of(y), outputs.shape[1])
        return int(np.sum(~self.decision.right(outputs, labels)))


def in_blocks(indices, blocks):
    """Cuts indices into blocks of one size; a remainder is left out.

    Args:
        indices: Integer array.
        blocks: Integer, how many; as many as there are indices if these are fewer.

    Returns:
        Integer array of shape `(blocks, size)`.

    Example:

    >>> in_blocks(np.arange(7), 3).tolist()
    [[0, 1], [2, 3], [4, 5]]
    """
    blocks = min(blocks, len(indices))
    size = len(indices) // blocks
    return np.reshape(indices[: blocks * size], (blocks, size))


def fresh_seed(model, stream):
    """Returns the seed of draws from a posterior that nothing before has seen.

    The weights are part of it: a posterior that was chosen with a look at the draws of
    another one has others.

    Args:
        model: `RandomizedModel`.
        stream: Integer, what the draws are for.
    """
    text = f"{of_weights(model)} {model.seed} {stream}"
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2**31


def count_errors(model, data, blocks, passes, judge):
    """Counts the errors of what `predict` returns, each block by weights of its own.

    Args:
        model: `RandomizedModel`. Its own stream of draws goes on afterwards as if
            nothing had been drawn.
        data: Pair `(x, y)` of nests of arrays.
        blocks: Integer array of shape `(blocks, size)`, indices of examples.
        passes: Integer, how often each block is predicted.
        judge: `Judge`.

    Returns:
        Integer, errors in `passes * blocks.size` predictions.
    """
    state = model.predict_seeds.state
    before = keras.ops.convert_to_numpy(state)
    state.assign([fresh_seed(model, _DRAWS), 0])
    parts = [take(data, block) for block in blocks]
    errors = 0
    try:
        with backend.full_precision():
            for _ in range(passes):
                for x, y in parts:
                    errors += judge.wrong(model.predict_on_batch(x), y)
    finally:
        state.assign(before)
    return errors
