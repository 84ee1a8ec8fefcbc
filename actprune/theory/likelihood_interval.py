"""Profile-likelihood intervals of the count laws' parameters.

The interval holds every value at which the likelihood, maximized over all other parameters, is
within chi2(1; level)/2 nats of its maximum (Wilks 1938, Ann. Math. Stat. 9, 60-62; Venzon &
Moolgavkar 1988, Appl. Stat. 37, 87-94). Unlike `CountFit.interval` it needs no standard error, does
not depend on the scale, and exists at boundaries, where it covers more than its level.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, logit, ndtri

from actprune.errors import ActpruneError
from actprune.theory._crossing import crossing
from actprune.theory._mixture import Vector, best_weights, likelihood
from actprune.theory._tied import Tied, tie
from actprune.theory.count_fit import PARAMETERS, CountFit
from actprune.theory.interval import Interval
from actprune.theory.truncated import negative_binomial_log_pmf

_NO_LIVE = "no live unit: its parameters do not exist"
_OPEN = "no upper end: one shared rate (M -> infinity) is not excluded"
_MEAN_BOX = 30.0  # of |logit mean|
# nats a unit per logit; N units are then within N 1e-10 nats of their maximum
_ENOUGH = {"gtol": 1e-5}


def profile_interval(
    counts: ArrayLike, D: int, fit: CountFit, name: str, level: float = 0.95
) -> Interval:
    """The profile-likelihood interval of one parameter of a fit.

    Args:
        counts: int64 (N,), the counts that were fitted.
        D: samples behind them.
        fit: their `fit_family`.
        name: "mean", "b", "M", "pi0" or "pi1".
        level: of coverage, 0 to 1.

    Where the family does not have the parameter both ends are None and `reason` says so; where
    the likelihood never falls far enough one end is the parameter's bound, or None if that is
    infinite. Units are taken as independent given the law.

    Raises:
        ActpruneError: if the name is unknown, or counts, D and fit do not belong together.
    """
    tied = tie(counts, D)
    if name not in PARAMETERS or not 0 < level < 1:
        raise ActpruneError(
            f"A profile interval needs one of {', '.join(PARAMETERS)} and 0 < level < 1, "
            f"got {name!r} and {level}."
        )
    if (fit.N, fit.D) != (tied.N, D):
        raise ActpruneError(
            f"The fit is of {fit.N} units over {fit.D} samples, "
            f"the counts are of {tied.N} units over {D}."
        )
    z = float(ndtri(0.5 + level / 2))
    if fit.family == "binomial":
        return _of_binomial(tied, name, z, level)
    if fit.family == "urn":
        return _of_urn(tied, fit, name, z, level)
    if fit.mean is None or fit.M == 0 or not 0 < tied.mean < 1:
        return _none(level, fit.note or _NO_LIVE)
    if name in ("pi0", "pi1"):
        if fit.family != "inflated" or "no inflation" in fit.note:
            return _none(level, fit.note or "not in this family")
        return _of_weight(tied, fit, name, z, level)
    return _of_live(tied, fit, name, z, level)


def _none(level: float, reason: str) -> Interval:
    return Interval(low=None, high=None, level=level, reason=reason)


def _of_binomial(tied: Tied, name: str, z: float, level: float) -> Interval:
    if name != "mean":
        return _none(level, "one rate by definition: only the mean exists")
    n, p = tied.N * tied.D, tied.mean
    k = n * p
    best = _entropy(k, n, p)

    def deviance(x: float) -> float:
        return 2 * (best - _entropy(k, n, x))

    step = z * max(math.sqrt(p * (1 - p) / n), 1 / n)
    low = crossing(deviance, p, -step, 0.0, z) if p > 0 else None
    high = crossing(deviance, p, step, 1.0, z) if p < 1 else None
    return Interval(
        low=0.0 if low is None else low, high=1.0 if high is None else high, level=level
    )


def _entropy(k: float, n: int, p: float) -> float:
    if p in (0.0, 1.0):
        return 0.0 if k == n * p else -math.inf
    return k * math.log(p) + (n - k) * math.log1p(-p)


def _of_urn(tied: Tied, fit: CountFit, name: str, z: float, level: float) -> Interval:
    if name != "b":
        return _none(level, "c / N is measured, not fitted: only b has a likelihood here")
    if fit.b is None:
        return _none(level, fit.note)
    here = tied.n > 0
    k, n = tied.k[here], tied.n[here]

    def deviance(log_b: float) -> float:
        b = math.exp(log_b)
        value = float(n @ negative_binomial_log_pmf(k, tied.D, b, b / tied.mean))
        return 2 * (fit.log_likelihood - value)

    at, error = math.log(fit.b), fit.stderr["b"]
    step = z * error / fit.b if error else 0.5
    ends = [crossing(deviance, at, sign * step, at + sign * 20, z) for sign in (-1, 1)]
    low, high = (None if end is None else math.exp(end) for end in ends)
    reason = None if low is not None and high is not None else "b has no strict optimum"
    return Interval(low=low, high=high, level=level, reason=reason)


def _of_live(tied: Tied, fit: CountFit, name: str, z: float, level: float) -> Interval:
    """mean, b or M: one coordinate is held, the other searched, the weights in closed form."""
    assert fit.mean is not None
    inflated = fit.family == "inflated" and "no inflation" not in fit.note
    top = math.log(1e5 * tied.D)
    x0, y0 = float(logit(fit.mean)), top if fit.M is None else min(top, math.log(fit.M))
    warm = np.array([y0 if name == "mean" else x0])

    def at(held: float, other: float) -> tuple[float, float]:
        """(logit mean, ln M) with `name` held."""
        if name == "mean":
            return held, other
        return other, held - (math.log(expit(other)) if name == "b" else 0.0)

    def profile(held: float) -> float:
        nonlocal warm

        def loss(theta: Vector) -> tuple[float, Vector]:
            x, y = at(held, float(theta[0]))
            mean, M = float(expit(np.clip(x, -_MEAN_BOX, _MEAN_BOX))), math.exp(min(y, top))
            weights = best_weights(tied, mean, M) if inflated else (0.0, 0.0)
            value, slope = likelihood(tied, mean, M, *weights)
            by_x = slope[0] if abs(x) < _MEAN_BOX else 0.0
            by_y = slope[1] if y < top else 0.0
            along = by_y if name == "mean" else by_x - (by_y * (1 - mean) if name == "b" else 0)
            return -value / tied.N, np.array([-along / tied.N])

        found = minimize(loss, warm, jac=True, method="BFGS", options=_ENOUGH)
        warm = found.x
        return 2 * (fit.log_likelihood + float(found.fun) * tied.N)

    value, error = getattr(fit, name), fit.stderr[name]
    scale = None if value is None else (value * (1 - value) if name == "mean" else value)
    step = z * error / scale if error and scale else 1.0
    if name == "mean":
        centre, bounds = x0, (-_MEAN_BOX, _MEAN_BOX)
    elif name == "M":
        centre, bounds = y0, (math.log(1e-6), top)
    else:
        centre = y0 + math.log(fit.mean)
        bounds = (math.log(1e-9), top)
    ends: list[float | None] = []
    for sign, limit in zip((-1, 1), bounds, strict=True):
        warm = np.array([y0 if name == "mean" else x0])
        reached = abs(centre - limit) < 1e-9
        ends.append(None if reached else crossing(profile, centre, sign * step, limit, z))
    if name == "mean":
        low, high = (None if end is None else float(expit(end)) for end in ends)
        return Interval(
            low=0.0 if low is None else low, high=1.0 if high is None else high, level=level
        )
    low, high = (None if end is None else math.exp(end) for end in ends)
    reason = _OPEN if high is None else None
    return Interval(low=0.0 if low is None else low, high=high, level=level, reason=reason)


def _of_weight(tied: Tied, fit: CountFit, name: str, z: float, level: float) -> Interval:
    """pi0 or pi1: held, the mean and M searched, the other weight in closed form."""
    assert fit.mean is not None
    top = math.log(1e5 * tied.D)
    warm = start = np.array([logit(fit.mean), top if fit.M is None else min(top, math.log(fit.M))])
    first = name == "pi0"

    def profile(held: float) -> float:
        nonlocal warm

        def loss(theta: Vector) -> tuple[float, Vector]:
            inside = theta.clip([-_MEAN_BOX, math.log(1e-6)], [_MEAN_BOX, top])
            mean, M = float(expit(inside[0])), math.exp(inside[1])
            weights = best_weights(tied, mean, M, **{name: held})
            value, slope = likelihood(tied, mean, M, *weights)
            return -value / tied.N, np.where(theta == inside, -slope[:2] / tied.N, 0.0)

        found = minimize(loss, warm, jac=True, method="BFGS", options=_ENOUGH)
        warm = found.x
        return 2 * (fit.log_likelihood + float(found.fun) * tied.N)

    value, error = (fit.pi0 if first else fit.pi1), fit.stderr[name]
    step = z * error if error else 1 / tied.N
    most = 1 - 1e-9
    low = crossing(profile, value, -step, 0.0, z) if value > 0 else None
    warm = start
    high = crossing(profile, value, step, most, z)
    return Interval(
        low=0.0 if low is None else low, high=1.0 if high is None else high, level=level
    )
