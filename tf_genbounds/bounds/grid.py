"""The price of constants that are chosen after training: powers of two.

A theorem for fixed constants holds for all powers of two at once, if each
combination of them gets a share of `delta`, and the shares add up to at most
`delta`. A constant is then rounded to its grid, in the direction in which the
theorem still holds, and everything is evaluated at the rounded value.
"""

import math
import sys

_ROUNDING = 8 * sys.float_info.epsilon


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


def root_rounded_up(value, root):
    """Returns the least `2**(j / root)` of at least `value`, and `j`.

    0 goes to 1, and infinity stays. What is returned is not below the grid's own point,
    nor is that below `value`, whatever floats make of the root.

    >>> root_rounded_up(3.0, 2)[1], root_rounded_up(0.0, 3)
    (4, (1.0, 0))
    """
    if value == 0 or math.isinf(value):
        return (value or 1.0), 0
    exponent = math.ceil(root * math.log2(value))
    while _root_power(exponent, root, -1) < value:
        exponent += 1
    while _root_power(exponent - 1, root, -1) >= value:
        exponent -= 1
    return _root_power(exponent, root, 1), exponent


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


def _root_power(exponent, root, side):
    """`2**(exponent / root)`, or, where that is no float, one on that side of it."""
    whole, part = divmod(exponent, root)
    exact = _power(whole)
    return exact * 2.0 ** (part / root) * (1 + side * _ROUNDING) if part else exact


def _power(exponent):
    try:
        return math.ldexp(1.0, exponent)
    except OverflowError:
        return math.inf
