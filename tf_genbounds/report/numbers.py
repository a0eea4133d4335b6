"""Numbers as a report prints them."""

import math

NOTHING = "-"


def percent(error):
    """Formats a fraction; `None` is nothing."""
    return NOTHING if error is None else f"{100 * error:.2f} %"


def number(value, mark=""):
    """Formats a number with four digits; `None` was not measured."""
    if value is None:
        return NOTHING
    if isinstance(value, int):
        return f"{mark}{value:,}"
    # Fixed point where it fits, to compare down a column.
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{mark}{value:.{digits}f}"
    return f"{mark}{value:.4g}"
