"""What the posterior is trained for: PAC-Bayes bounds as functions of tensors."""

import math

from keras import ops

from tf_genbounds.checks import check_choice

OBJECTIVES = ("classic", "quadratic", "lambda", "inverse_kl")
# Float32 tells no number nearer to 1 from it; and a loss of 0 has an infinite slope.
_EDGE = 1e-6
_STEPS = 16


def objective_of(name, risk, rate, trade=None):
    """Computes the bound that is minimized, of a loss in [0, 1].

    With `R` the risk and `c = rate / 2`:

    - `"classic"`: `R + sqrt(c)` (McAllester)
    - `"quadratic"`: `(sqrt(R + c) + sqrt(c))**2` (Perez-Ortiz et al.)
    - `"lambda"`: `R / (1 - l / 2) + 2 c / (l (1 - l / 2))` (Thiemann et al.)
    - `"inverse_kl"`: `klinv(R, 2 c)` (Seeger, Maurer), the tightest

    Args:
        name: One of these.
        risk: Scalar tensor, `R`.
        rate: Scalar tensor, `(KL + ln(2 sqrt(n) / delta)) / n`.
        trade: Scalar tensor in (0, 2), `l`, for `"lambda"`.

    Returns:
        Scalar tensor. It is differentiable, and no guarantee: the risk is that of a
        batch.

    Example:

    >>> round(float(objective_of("quadratic", 0.02, 0.01)), 4)
    0.0524
    """
    check_choice("objective", name, OBJECTIVES)
    c = rate / 2
    if name == "classic":
        return risk + ops.sqrt(c)
    if name == "quadratic":
        return ops.square(ops.sqrt(risk + c) + ops.sqrt(c))
    if name == "lambda":
        share = 1 - trade / 2
        return risk / share + 2 * c / (trade * share)
    return klinv_of(risk, rate)


def klinv_of(risk, rate):
    """Computes `klinv(risk, rate)` of tensors, in their precision.

    By Newton's method from above, where `kl(risk || .)` is convex and increasing. The
    derivatives are those of the implicit function: with
    `a = (1 - R) / (1 - B) - R / B` and `d = ln(R / B) - ln((1 - R) / (1 - B))`,
    `dB/dR = -d / a` and `dB/drate = 1 / a`.

    Args:
        risk: Scalar tensor in [0, 1]; below 1e-6 it counts as that.
        rate: Scalar tensor, positive.

    Returns:
        Scalar tensor.
    """
    risk = ops.clip(risk, _EDGE, 1 - 2 * _EDGE)
    r, e = ops.stop_gradient(risk), ops.stop_gradient(rate)
    b = _inside(r, ops.square(ops.sqrt(r + e / 2) + ops.sqrt(e / 2)))
    for _ in range(_STEPS):
        b = _inside(r, b - (_divergence(r, b) - e) / _slope(r, b))
    b = ops.stop_gradient(b)
    slope = _slope(r, b)
    by_risk = -(ops.log(r / b) - ops.log((1 - r) / (1 - b))) / slope
    return b + by_risk * (risk - r) + (rate - e) / slope


def log_term(num_samples, delta):
    """Returns `ln(2 sqrt(n) / delta)`, which stands beside the divergence."""
    return math.log(2 * math.sqrt(num_samples) / delta)


def _divergence(r, b):
    return r * ops.log(r / b) + (1 - r) * ops.log((1 - r) / (1 - b))


def _slope(r, b):
    return (1 - r) / (1 - b) - r / b


def _inside(r, b):
    return ops.clip(b, r * (1 + _EDGE) + _EDGE / 2, 1 - _EDGE)
