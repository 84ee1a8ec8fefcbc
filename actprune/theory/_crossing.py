"""Where a likelihood has fallen by a given amount: one end of a profile-likelihood interval."""

import math
from collections.abc import Callable

_CLOSE = 1e-4  # of the root of the deviance; moves the coverage of 95 % by 1e-5
_STEPS = 60


def crossing(
    deviance: Callable[[float], float], start: float, step: float, limit: float, z: float
) -> float | None:
    """The point beyond `start`, in the direction of `step`, at which sqrt(deviance) reaches z.

    Args:
        deviance: 2 (highest log-likelihood - that at the point), 0 at `start`.
        step: first step, of either sign; about z standard errors where they are known.
        limit: end of the range.

    The root of the deviance is nearly linear, so false position (Illinois) needs few evaluations.
    None where the deviance stays below z^2 up to the limit.
    """
    inner, low = start, -z  # sqrt(deviance) - z is < 0 inside
    while True:
        outer = start + step
        if (outer - limit) * step >= 0:
            outer = limit
        high = math.sqrt(max(0.0, deviance(outer))) - z
        if high >= 0:
            break
        if outer == limit:
            return None
        inner, low, step = outer, high, 2 * step
    return _refine(lambda x: math.sqrt(max(0.0, deviance(x))) - z, inner, low, outer, high)


def _refine(
    f: Callable[[float], float], inner: float, low: float, outer: float, high: float
) -> float:
    if high < _CLOSE:
        return outer
    last = 0
    for _ in range(_STEPS):
        share = 0.5 if math.isinf(high) else -low / (high - low)
        x = inner + share * (outer - inner)
        value = f(x)
        if abs(value) < _CLOSE or abs(outer - inner) <= 1e-12 * (1 + abs(x)):
            return x
        if value < 0:
            inner, low = x, value
            high, last = (high / 2 if last == -1 else high), -1
        else:
            outer, high = x, value
            low, last = (low / 2 if last == 1 else low), 1
    return (inner + outer) / 2
