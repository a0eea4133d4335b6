"""The picking rule with a learner in NumPy: preferent by brute force, and coverage."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tf_genbounds.bounds import sample_compression_bound
from tf_genbounds.pick_to_learn.picking import pick


def learn(weights, x, y):
    """A few gradient steps of logistic regression on the picked examples."""
    for _ in range(3):
        p = 1 / (1 + np.exp(-(x @ weights)))
        weights = weights - x.T @ (p - y)
    return weights


def run(x, y, rank, rounds, picks):
    """Returns the weights, the picked and the wrong by the definition of theory."""
    weights, picked = np.zeros(x.shape[1]), np.array([], int)
    for done in itertools.count():
        # One example at a time: a row's score depends on nothing else.
        scores = np.array([float(np.dot(row, weights)) for row in x])
        right = (scores > 0) == (y == 1)
        right &= scores != 0  # A tie is wrong.
        outside = np.ones(len(x), bool)
        outside[picked] = False
        wrong = np.flatnonzero(outside & ~right)
        if done == rounds or done and not len(wrong):
            return weights, picked, wrong
        losses = np.log1p(np.exp(np.where(y == 1, -scores, scores)))
        new = pick(picks, outside=outside, right=right, losses=losses, rank=rank)
        picked = np.concatenate([picked, new])
        weights = learn(weights, x[picked], y[picked])


def draw(generator, samples, noise, copies=False):
    """A fair example: the sign of the first of two features, at times flipped."""
    x = generator.normal(size=(samples, 2)).round(1 if copies else 9)
    y = (x[:, 0] > 0) ^ (generator.random(samples) < noise)
    rows = np.column_stack([x, y])
    _, rank = np.unique(rows, axis=0, return_inverse=True)
    return x, y.astype(int), rank.ravel()


@pytest.mark.parametrize("copies", [False, True])
def test_every_part_with_the_compression_set_gives_the_same(copies):
    generator = np.random.default_rng(0)
    checked = 0
    for _ in range(40):
        x, y, rank = draw(generator, 11, noise=0.1, copies=copies)
        weights, picked, wrong = run(x, y, rank, rounds=2, picks=2)
        kept = {*picked.tolist(), *wrong.tolist()}
        others = [i for i in range(len(x)) if i not in kept]
        for count in range(len(others)):
            for left in itertools.combinations(others, count):
                part = generator.permutation([*kept, *left])
                again = run(x[part], y[part], rank[part], rounds=2, picks=2)
                np.testing.assert_array_equal(again[0], weights)
                # Copies may stand in for each other.
                assert list(rank[part][again[1]]) == list(rank[picked])
                assert sorted(rank[part][again[2]]) == sorted(rank[wrong])
                checked += 1
    assert checked > 200


def test_by_the_loss_alone_it_would_not_be_preferent():
    # What a right example of large loss is for: it must not come before a wrong one.
    arguments = dict(
        outside=np.ones(3, bool),
        right=np.array([True, False, True]),
        losses=np.array([9.0, 0.1, np.nan]),
        rank=np.arange(3),
    )
    assert pick(1, **arguments).tolist() == [1]
    assert sorted(pick(2, **arguments)) == [1, 2]  # NaN is the largest.


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
def test_the_risk_is_covered(noise):
    draws, samples, delta = 1500, 40, 0.1
    bounds = [
        sample_compression_bound(k, num_samples=samples, delta=delta).value
        for k in range(samples + 1)
    ]
    generator = np.random.default_rng(1)
    failures, values = 0, []
    for _ in range(draws):
        x, y, rank = draw(generator, samples, noise)
        weights, picked, wrong = run(x, y, rank, rounds=4, picks=1)
        # The share of directions on which the two lines disagree.
        disagree = abs(np.arctan2(weights[1], weights[0])) / np.pi
        risk = noise + (1 - 2 * noise) * disagree
        values.append(bounds[len(picked) + len(wrong)])
        failures += risk > values[-1]
    assert failures <= stats.binom.isf(1e-8, draws, delta)
    assert noise or np.mean(values) < 0.4  # It says something.
