"""How coarse each array of weights may be: a greedy search.

Only the encoder searches, so whatever it tries is free: the certificate holds
for all code words at once.
"""

import numpy as np

from tf_genbounds.bounds.concentration import klinv
from tf_genbounds.compression.codes import weight_code
from tf_genbounds.compression.codes.arithmetic_coder import code_length

# Levels on each side of 0, from fine to coarse.
LADDER = (127, 31, 15, 7, 3, 2, 1)


class Goal:
    """What the search is for.

    Args:
        num_samples: Integer, of the certificate.
        delta: Float.
        budget: Bits at most, or `None`.
        tolerance: Train error at most above that of the original, or `None`.
        error: Train error of the original.

    Without budget and tolerance the goal is the least certificate.

    Attributes:
        kept: Boolean, whether the search kept to the budget or tolerance.
        proved: Boolean, whether a certificate that says something was found.
    """

    def __init__(self, num_samples, delta, budget, tolerance, error):
        self._num_samples = num_samples
        self._delta = delta
        self._budget = budget
        self._largest = None if tolerance is None else error + tolerance
        self._best = np.inf
        self.kept = budget is None
        self.proved = False

    def reached(self, bits):
        """Whether the search may end."""
        if self._budget is None or bits > self._budget:
            return False
        self.kept = True
        return True

    def accepts(self, error, bits):
        """Whether a coarser setting is kept."""
        if self._budget is not None:
            return True
        if self._largest is not None:
            return error <= self._largest
        rate = (bits * np.log(2) + np.log(1 / self._delta)) / self._num_samples
        value = klinv(error, rate)
        self.proved = self.proved or value <= 0.99
        if value > 0.99:
            # Where nothing is proved, the other form still tells codes apart.
            value = 1 + error + np.sqrt(rate / 2)
        if value >= self._best:
            return False
        self._best = value
        return True


def search_levels(arrays, sensitivity, evaluate, goal, exact=()):
    """Chooses the levels of each array.

    In each step the array goes one step down the ladder for which the predicted
    damage, the increase of `(sensitivity ||error|| / ||array||)**2`, is least
    for each bit that it saves; the step is kept if the goal accepts it.

    Args:
        arrays: List of float arrays.
        sensitivity: Float for each, `1 / layer cushion`: how a relative error
            of the array shows in the output of its layer.
        evaluate: Function of a list of decoded arrays, the train error.
        goal: `Goal`.
        exact: Indices of the arrays that are not rounded.

    Returns:
        List of `weight_code.Levels` or `Floats`.
    """
    rungs = [
        [weight_code.exact(a) if i in exact else weight_code.levels(a, LADDER[0])]
        for i, a in enumerate(arrays)
    ]
    chosen = [rung[0] for rung in rungs]
    goal.kept = (
        goal.accepts(evaluate([c.values() for c in chosen]), _bits(chosen))
        and goal.kept
    )
    position = [0] * len(arrays)
    blocked = [
        i in exact or isinstance(c, weight_code.Floats) for i, c in enumerate(chosen)
    ]
    while not goal.reached(_bits(chosen)):
        found = []
        for i, array in enumerate(arrays):
            if blocked[i] or position[i] + 1 == len(LADDER):
                continue
            if len(rungs[i]) == position[i] + 1:
                rungs[i].append(weight_code.levels(array, LADDER[position[i] + 1]))
            coarser = rungs[i][position[i] + 1]
            saved = _bits([chosen[i]]) - _bits([coarser])
            if saved <= 0:
                continue
            damage = sensitivity[i] ** 2 * (
                _error(array, coarser) - _error(array, chosen[i])
            )
            found.append((damage / saved, i, coarser))
        if not found:
            break
        _, i, coarser = min(found, key=lambda item: item[:2])
        trial = [*chosen[:i], coarser, *chosen[i + 1 :]]
        if goal.accepts(evaluate([c.values() for c in trial]), _bits(trial)):
            chosen = trial
            position[i] += 1
        else:
            blocked[i] = True
    return chosen


def _bits(coded):
    """The length of the code, but for what ends it."""
    total = 0.0
    for item in coded:
        if isinstance(item, weight_code.Floats):
            total += 2 + 8 * np.dtype("float32").itemsize * item.array.size
            continue
        counts = np.bincount(
            item.indices.ravel() + item.end, minlength=2 * item.end + 1
        )
        header = np.log2(len(weight_code.STEPS)) + 2 * item.end.bit_length()
        total += header + code_length(counts.tolist())
    return total


def _error(array, coded):
    square = np.sum(np.square(array, dtype="float64"))
    if square == 0:
        return 0.0
    return np.sum((coded.values() - array.astype("float64")) ** 2) / square
