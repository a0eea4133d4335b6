"""What is printed of a guarantee claims no more than was proved."""

import decimal
import math

import numpy as np
import pytest

from tf_genbounds.bounds import at_least
from tf_genbounds.bounds import at_most
from tf_genbounds.bounds import confidence


@pytest.mark.parametrize(
    "value, up, down",
    [
        (0.12341, "0.1235", "0.1234"),
        (0.1234, "0.1234", "0.1234"),
        (0.02, "0.02", "0.02"),
        (0.99991, "1", "0.9999"),
        (123456.7, "123500", "123400"),
        (1.00001e-7, "1.001e-07", "1e-07"),
        (0.0, "0", "0"),
        (math.inf, "inf", "inf"),
        (math.nan, "nan", "nan"),
    ],
)
def test_by_hand(value, up, down):
    assert (at_most(value), at_least(value)) == (up, down)


@pytest.mark.parametrize("digits", [1, 4, 9])
def test_the_printed_number_is_the_next_one_with_so_many_digits(digits):
    values = np.random.default_rng(0).lognormal(0, 4, 200).tolist()
    for value in values:
        up, down = (decimal.Decimal(f(value, digits)) for f in (at_most, at_least))
        exact = decimal.Decimal(repr(value))
        assert down <= exact <= up
        assert up - down <= decimal.Decimal(10) ** (exact.adjusted() + 1 - digits)


@pytest.mark.parametrize(
    "delta, shown",
    [
        (0.05, "0.95"),
        (0.9, "0.1"),  # In floats 1 - 0.9 is below 0.1.
        (0.01234567, "0.9876"),  # 0.98765433
        (1e-5, "0.9999"),
        (1e-30, "0.9999"),
    ],
)
def test_a_probability_is_rounded_down_and_never_1(delta, shown):
    assert confidence(delta) == shown
