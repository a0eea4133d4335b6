"""The gap splits exactly, and the constants are above its parts."""

import numpy as np
import pytest
from path_network import PathNetwork
from path_network import sample

from tf_genbounds.bounds import Complexity
from tf_genbounds.bounds import data_dependent_bound
from tf_genbounds.bounds import gap_decomposition
from tf_genbounds.bounds import gram_constants
from tf_genbounds.bounds import plug_in_constants


def squared_loss(outputs, targets):
    return np.mean(np.sum((outputs - targets) ** 2, axis=1))


def case(seed, count=30, references=500):
    network = PathNetwork(seed)
    x, y = sample(seed + 1, count)
    x_ref, y_ref = sample(seed + 2, references)
    gap = squared_loss(network(x_ref), y_ref) - squared_loss(network(x), y)
    return network, (network.features(x), y, network.features(x_ref), y_ref), gap


@pytest.mark.parametrize("seed", range(5))
def test_paths_give_the_network(seed):
    network, (z, *_), _ = case(seed)
    x, _ = sample(seed + 1, 30)
    np.testing.assert_allclose(z @ network.weights(), network(x), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_decomposition_is_the_gap(seed):
    network, data, gap = case(seed)
    parts = gap_decomposition(network.weights(), *data)
    assert sum(parts.values()) == pytest.approx(gap, rel=1e-11)
    assert parts["targets"] == pytest.approx(0, abs=1e-15)  # One-hot.


@pytest.mark.parametrize("seed", range(5))
def test_constants_bound_each_part_of_the_gap(seed):
    network, data, gap = case(seed)
    weights = network.weights()
    parts = gap_decomposition(weights, *data)
    constants = plug_in_constants(*data)
    l1, l2 = np.abs(weights).sum(axis=0), np.linalg.norm(weights, axis=0)
    result = data_dependent_bound(
        1.0, constants=constants, weights_l2=l2, weights_l1=l1
    )
    for name, part in parts.items():
        assert part <= result.terms[name] + 1e-12
    assert gap <= result.value
    assert result.terms["train_loss"] == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count, references", [(30, 90), (10, 12), (2, 3)])
def test_gram_form_equals_the_dense_one(seed, count, references):
    _, (z, y, z_ref, y_ref), _ = case(seed, count, references)
    both = np.concatenate([z_ref, z])
    found = gram_constants(both @ both.T, y, y_ref)
    dense = plug_in_constants(z, y, z_ref, y_ref)
    np.testing.assert_allclose(found.beta1, max(0, dense.beta1), rtol=1e-9, atol=1e-12)
    assert found.beta3 == pytest.approx(dense.beta3)
    brackets = z.T @ y / len(z) - z_ref.T @ y_ref / len(z_ref)
    expected = np.linalg.norm(brackets, axis=0)
    np.testing.assert_allclose(found.beta2, expected, rtol=1e-9)
    assert (found.norm, dense.norm) == ("l2", "sup")


@pytest.mark.parametrize("seed", range(5))
def test_l2_extension_is_above_the_gap(seed):
    network, (z, y, z_ref, y_ref), gap = case(seed, references=90)
    both = np.concatenate([z_ref, z])
    result = data_dependent_bound(
        0.0,
        constants=gram_constants(both @ both.T, y, y_ref),
        weights_l2=np.linalg.norm(network.weights(), axis=0),
    )
    assert isinstance(result, Complexity)
    assert "l2 extension" in result.name
    assert gap <= result.value


def test_constants_may_be_negative():
    # Twice as long on the sample, and targets too.
    constants = plug_in_constants([[2.0]], [[2.0]], [[1.0]], [[1.0]])
    assert constants.beta1 == -3 and constants.beta3 == -3
    assert gram_constants([[1.0, 2.0], [2.0, 4.0]], [[2.0]], [[1.0]]).beta1 == 0


def test_equal_samples_have_no_gap():
    network, (z, y, *_), _ = case(0)
    assert gap_decomposition(network.weights(), z, y, z, y) == {
        "features": 0,
        "products": 0,
        "targets": 0,
    }


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda z, y: gap_decomposition(np.ones((3, 2)), z, y, z, y), "`weights`"),
        (lambda z, y: plug_in_constants(z, y[:-1], z, y), "as many rows"),
        (lambda z, y: plug_in_constants(z, y, z[:0], y[:0]), "reference_features"),
        (lambda z, y: plug_in_constants(z, y[:, 0], z, y), "`targets` must be"),
        (lambda z, y: plug_in_constants(z, y, z[:, 1:], y), "as many columns"),
        (lambda z, y: gram_constants(z @ z.T, y, y), "`gram` must have shape"),
    ],
)
def test_refuses_shapes_that_do_not_fit(call, match):
    _, (z, y, *_), _ = case(0)
    with pytest.raises(ValueError, match=match):
        call(z, y)
