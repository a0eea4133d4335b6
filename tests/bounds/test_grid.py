"""The grid rounds the legal way, and spends no more than it has."""

import math

import numpy as np
import pytest

from tf_genbounds.bounds import grid

VALUES = [1e-300, 0.1, 0.25, 0.25 + 2**-54, 1.0, math.nextafter(1, 2), 3.0, 1e300]


@pytest.mark.parametrize("value", VALUES)
def test_rounds_to_the_nearest_power_on_the_right_side(value):
    up, exponent = grid.rounded_up(value)
    assert up == 2.0**exponent and up / 2 < value <= up
    down, exponent = grid.rounded_down(value)
    assert down == 2.0**exponent and down <= value < 2 * down


def test_ends_of_the_scale():
    assert grid.rounded_up(0.0) == (1.0, 0)
    assert grid.rounded_up(math.inf)[0] == math.inf
    assert grid.rounded_up(1.5e308)[0] == math.inf


@pytest.mark.parametrize("count, spent", [(1, 0.69605), (2, 0.4845)])
def test_shares_add_up_to_less_than_delta(count, spent):
    exponents = range(-3000, 3001)
    line = sum(grid.share(1.0, j) for j in exponents)
    assert line**count == pytest.approx(spent, rel=1e-3)
    assert grid.share(0.1, 3, -2) == pytest.approx(0.1 / 4 * 36 / (np.pi**4 * 16 * 9))
