"""The price of constants that are chosen after training: powers of two.

A theorem for fixed constants holds for all powers of two at once, if each
combination of them gets a share of `delta`, and the shares add up to at most
`delta`. A constant is then rounded to its grid, in the direction in which the
theorem still holds, and everything is evaluated at the rounded value.
"""

import math


def rounded_up(value):
    """Returns the least power of two of at least `value`, and its exponent.

    0 goes to 1: any point would do, as long as it is fixed. Infinity stays.

    >>> rounded_up(3.0), rounded_up(0.25), rounded_up(0.0)
    ((4.0, 2), (0.25, -2), (1.0, 0))
    """
    if value == 0 or math.isinf(value):
        return (value or 1.0), 0
    mantissa, exponent = math.frexp(value)
    exponent -= mantissa == 0.5
    return _power(exponent), exponent


def rounded_down(value):
    """Returns the largest power of two of at most `value`, and its exponent.

    >>> rounded_down(3.0), rounded_down(0.25)
    ((2.0, 1), (0.25, -2))
    """
    exponent = math.frexp(value)[1] - 1
    return _power(exponent), exponent


def share(delta, *exponents):
    """Returns the part of `delta` for one point of the grid.

    `delta * prod_q 3 / (pi**2 (|j_q| + 1)**2)`, for one exponent `j_q` of
    either sign for each constant: the sum over all integers `j` of
    `6 / (pi**2 (|j| + 1)**2)` is less than 2.
    """
    return delta * math.prod(
        3 / (math.pi * (abs(exponent) + 1)) ** 2 for exponent in exponents
    )


def _power(exponent):
    try:
        return math.ldexp(1.0, exponent)
    except OverflowError:
        return math.inf
