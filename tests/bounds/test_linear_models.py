"""Over-parameterized linear models fit anything, with any norm."""

import numpy as np
import pytest

from tf_genbounds.bounds import minimum_norm_interpolant
from tf_genbounds.bounds import null_direction


def case(seed, samples=5, tests=4, features=12):
    generator = np.random.default_rng(seed)
    return (
        generator.normal(size=(samples, features)),
        generator.normal(size=(tests, features)),
        generator.normal(size=(samples, 2)),
    )


@pytest.mark.parametrize("seed", range(3))
def test_fits_every_target_with_the_shortest_weights(seed):
    x, _, y = case(seed)
    w = minimum_norm_interpolant(x, y)
    np.testing.assert_allclose(x @ w, y, atol=1e-12)
    np.testing.assert_allclose(w, x.T @ np.linalg.solve(x @ x.T, y), atol=1e-12)
    # Any other solution is longer.
    v = null_direction(x, x)
    assert np.linalg.norm(w) < np.linalg.norm(w + 0.1 * v[:, None])
    np.testing.assert_allclose(minimum_norm_interpolant(x, y[:, 0]), w[:, 0])


@pytest.mark.parametrize("seed", range(3))
def test_a_huge_norm_changes_no_prediction(seed):
    x, x_test, y = case(seed)
    w = minimum_norm_interpolant(x, y[:, 0])
    v = null_direction(x, x_test)
    assert np.linalg.norm(v) == pytest.approx(1)
    for t in (1e3, 1e6):
        far = w + t * v
        np.testing.assert_allclose(x @ far, y[:, 0], atol=1e-14 * t + 1e-12)
        np.testing.assert_allclose(x_test @ far, x_test @ w, atol=1e-14 * t + 1e-12)
        assert np.linalg.norm(far - w) == pytest.approx(t)
        assert np.linalg.norm(far) >= t - np.linalg.norm(w)


def test_refuses_what_cannot_be_fitted():
    with pytest.raises(ValueError, match="linearly independent"):
        minimum_norm_interpolant([[1.0, 2.0], [2.0, 4.0]], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"\(3, 2\) of rank 2"):
        minimum_norm_interpolant(np.eye(3)[:, :2], np.ones(3))
    with pytest.raises(ValueError, match="one row for each row"):
        minimum_norm_interpolant(np.eye(3), np.ones(2))
    with pytest.raises(ValueError, match="Features must have shape"):
        minimum_norm_interpolant(np.ones(3), np.ones(3))


def test_refuses_full_column_rank():
    x, x_test, _ = case(0, samples=8)
    with pytest.raises(ValueError, match="8 and 4 rows of 12 features"):
        null_direction(x, x_test)
    with pytest.raises(ValueError, match="12 and 3"):
        null_direction(x, np.eye(3))
