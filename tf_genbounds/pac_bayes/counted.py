"""The counted part of the data, and what certificates by it have in common."""

import hashlib

import keras
import numpy as np

from tf_genbounds.bounds import Assumption
from tf_genbounds.certificates import fingerprints
from tf_genbounds.data.batches import Batch
from tf_genbounds.data.reading import take
from tf_genbounds.data.repeats import row_digests

_SPLIT = 0  # What a seed is for: a stream of random numbers.


def length(data):
    """Returns how many examples there are in a nest of arrays."""
    return len(keras.tree.flatten(data)[0])


def split(count, prior_fraction, seed):
    """Splits examples by the seed, whatever they are.

    Returns:
        A pair of integer arrays: the indices of those for the prior, sorted, and of
        those that are counted, in the order in which blocks are made of them.

    Example:

    >>> of_prior, counted = split(10, 0.3, seed=0)
    >>> len(of_prior), len(counted)
    (3, 7)
    """
    order = np.random.default_rng([seed, _SPLIT]).permutation(count)
    of_prior = round(prior_fraction * count)
    return np.sort(order[:of_prior]), order[of_prior:]


def counted_of(data, settings):
    """Returns the part of the data that a certificate with these settings counts."""
    _, counted = split(length(data), settings["prior_fraction"], settings["seed"])
    return take(data, counted)


def digests_of(model, data):
    """Returns what a certificate of a model and its data is of, as a dict.

    Args:
        model: Keras model.
        data: Pair `(x, y)` of nests of arrays. They have a digest in any order, and
            one in this order, which decides what is counted.
    """
    x, y = data
    batch = Batch(x, y, 0, length(x))
    rows = fingerprints.RowDigests()
    rows.add(batch)
    return {
        "weights": fingerprints.of_weights(model),
        "data": rows.hexdigest(),
        "order": hashlib.sha256(b"".join(row_digests(batch))).hexdigest(),
    }


def assumptions_of(iid, fresh, *, origin, judge, num_models):
    """Returns what has to hold, a tuple of `Assumption`s.

    Args:
        iid: That the samples are independent.
        fresh: That the draws of the weights are.
        origin: Those of where the prior comes from.
        judge: `gibbs.Judge`.
        num_models: Number of the runs that could be compared.
    """
    found = [
        iid,
        *origin,
        fresh,
        Assumption(
            "pseudo-random numbers stand for independent Gaussian ones, in the "
            "precision of the weights"
        ),
        Assumption(
            "the model treats each example by itself, whatever else is in the batch "
            f"(seen for {judge.num_compared})"
        ),
    ]
    if num_models > 1:
        found.append(
            Assumption(f"at most {num_models:,} runs could have been compared")
        )
    return tuple(found)


def unnamed(certificate, again):
    """Returns the assumptions that a certificate made again names, and this does not.

    Where the prior comes from cannot be computed again.
    """
    named = {(a.text, a.status) for a in certificate.assumptions}
    return [a.text for a in again.assumptions if (a.text, a.status) not in named]


def caveats(num_models):
    """Returns the sentences with which every statement ends."""
    text = ""
    if num_models > 1:
        text = f" It is one of {num_models:,} runs that could be compared."
    return (
        f"{text} It does not speak of examples from another source, nor of one example "
        "by itself; and it holds if the first weights, the settings and the preparation "
        "of inputs were chosen without a look at the counted examples."
    )


def prior_of(num_prior):
    """Says what a prior was trained on."""
    if not num_prior:
        return "which was trained on no example"
    return f"which was trained on {num_prior:,} other examples"
