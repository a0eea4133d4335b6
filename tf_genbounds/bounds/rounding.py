"""How numbers of a guarantee are printed: never so that more is claimed."""

import decimal


def at_most(value: float, digits: int = 4) -> str:
    """Writes a number rounded up, for what is proved to be at most that.

    Args:
        value: Float.
        digits: Integer, significant digits. Defaults to `4`.

    Returns:
        String. Infinities and NaN are as Python writes them.

    Example:

    >>> at_most(0.12341), at_most(0.1), at_most(99.991, 3)
    ('0.1235', '0.1', '100')
    """
    context = _context(decimal.ROUND_CEILING, digits)
    return _text(context.create_decimal(_exact(value)), digits)


def at_least(value: float, digits: int = 4) -> str:
    """Writes a number rounded down, for what is proved to be at least that.

    It is also for a number that a premise says to be a largest one, since the
    smaller one is the stronger premise.

    Args:
        value: Float.
        digits: Integer, significant digits. Defaults to `4`.

    Returns:
        String, as of `at_most`.

    Example:

    >>> at_least(0.12349)
    '0.1234'
    """
    context = _context(decimal.ROUND_FLOOR, digits)
    return _text(context.create_decimal(_exact(value)), digits)


def confidence(delta: float, digits: int = 4) -> str:
    """Writes the probability `1 - delta`, rounded down: below 1 for every `delta`.

    Args:
        delta: Float in (0, 1).
        digits: Integer, significant digits. Defaults to `4`.

    Returns:
        String.

    Example:

    >>> confidence(0.05), confidence(1e-9)
    ('0.95', '0.9999')
    """
    # One rounding, of the exact difference: in floats 1 - 1e-17 is 1.
    context = _context(decimal.ROUND_FLOOR, digits)
    return _text(context.subtract(1, _exact(delta)), digits)


def _context(rounding, digits):
    return decimal.Context(prec=digits, rounding=rounding)


def _exact(value):
    # As Python writes it: the digits behind are those of the nearest float.
    return decimal.Decimal(repr(float(value)))


def _text(number, digits):
    # It has no more than `digits`, so that nothing is rounded a second time.
    return f"{float(number):.{max(digits, 6)}g}"
