"""The least of several bounds, which is a bound only if they share `delta`."""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Mapping

from tf_genbounds.bounds.bound import Bound
from tf_genbounds.bounds.result import Assumption
from tf_genbounds.bounds.rounding import at_most
from tf_genbounds.checks import check_delta


def combine(
    bounds: Mapping[str, Callable[[float], Bound]],
    *,
    delta: float = 0.05,
    shares: Mapping[str, float] | None = None,
    quantity: str | None = None,
) -> Bound:
    """Takes the least of several bounds of one quantity, and pays for the choice.

    Each bound is computed with its share of `delta`, so that with probability at least
    `1 - delta` all of them hold, and so does whichever is chosen. A bound of which an
    assumption fails is left out, and the result says so.

    Args:
        bounds: Dict from a name to a function of `delta` that returns a `Bound` with
            that very `delta`. All speak of the same quantity of the same model.
        delta: Float in (0, 1). Defaults to `0.05`.
        shares: Dict from each name to a positive float: its part of `delta`, chosen
            before the sample was seen. They add up to at most 1. Defaults to equal
            parts.
        quantity: What all of them bound, where they word it differently: `"the 0-1 risk
            of the model"`. Yours to know.

    Returns:
        `Bound`, with the numbers of the least one, the whole `delta`, and the
        assumptions of all that took part.

    Raises:
        ValueError: If there is no bound, the shares do not fit, the quantities differ,
            or a function ignores its `delta`.

    Example:

    >>> from tf_genbounds import bounds
    >>> found = combine({
    ...     "held out": lambda delta: bounds.validation_bound(
    ...         0.02, num_samples=1000, delta=delta, form="binomial"),
    ...     "code": lambda delta: bounds.occam_bound(
    ...         0.01, num_samples=60000, num_bits=3000, delta=delta),
    ... })
    >>> round(found.value, 4), found.delta
    (0.0307, 0.05)

    References:
        - The union bound.
    """
    check_delta(delta)
    if not bounds:
        raise ValueError(f"There must be at least one bound. Received: bounds={bounds}")
    shares = _shares(bounds, shares)
    found = {name: make(delta * shares[name]) for name, make in bounds.items()}
    for name, bound in found.items():
        if bound.delta != delta * shares[name]:
            raise ValueError(
                "A function must return a bound with the `delta` that it is given. "
                f"Received: {name!r} with {bound.delta} for {delta * shares[name]}"
            )
    if quantity is not None:
        found = {n: dataclasses.replace(b, quantity=quantity) for n, b in found.items()}
    if len({(bound.quantity, bound.trivial) for bound in found.values()}) > 1:
        raise ValueError(
            "The bounds must be of one quantity; pass `quantity=` if they only word it "
            "differently. Received: "
            + ", ".join(f"{name!r} of {b.quantity}" for name, b in found.items())
        )
    legal = {name: bound for name, bound in found.items() if not bound.failed}
    part = legal or found
    # NaN last: it says nothing.
    name = min(part, key=lambda n: (part[n].value != part[n].value, part[n].value))
    parts = ", ".join(f"{n!r} ({b.num_samples:,} samples)" for n, b in part.items())
    told = Assumption(
        f"{at_most(delta)} is shared by {len(found)} bounds, the samples of which are "
        f"drawn together: {parts}",
        "checked",
    )
    every = [a for bound in part.values() for a in bound.assumptions]
    left_out = [
        Assumption(f"{n!r} plays no part, since an assumption of it fails", "checked")
        for n in found
        if n not in part
    ]
    return dataclasses.replace(
        part[name],
        name=f"The least of {len(found)}, {name!r} ({part[name].name})",
        delta=delta,
        assumptions=tuple(dict.fromkeys([*every, told, *left_out])),
    )


def _shares(bounds, shares):
    if shares is None:
        return dict.fromkeys(bounds, 1 / len(bounds))
    fits = shares.keys() == bounds.keys() and all(s > 0 for s in shares.values())
    if not fits or math.fsum(shares.values()) > 1:
        raise ValueError(
            "`shares` must give each bound a positive part, and add up to at most 1. "
            f"Received: shares={dict(shares)} for {list(bounds)}"
        )
    return dict(shares)
