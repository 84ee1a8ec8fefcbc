"""Maximum likelihood for the binomial, the beta-binomial and the inflated beta-binomial."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import logit

from actprune.theory._free import Point, free_parameters
from actprune.theory._information import delta_errors
from actprune.theory._mixture import Vector, likelihood, profile_likelihood
from actprune.theory._tied import Tied
from actprune.theory.betabinomial import binomial_log_pmf
from actprune.theory.count_fit import PARAMETERS, CountFit, Family

# A gain below this many nats over the one-rate limit cannot be told from rounding.
_NO_GAIN = 1e-6
_IDENTIFIED = 4  # four parameters need four free cells: counts 0..D with D >= 4

_SHARED = "no spread of rates beyond one shared rate: b and M do not exist (M -> infinity)"


def fit_binomial(tied: Tied) -> CountFit:
    """One rate for all units: total firings over N D.

    Its standard error takes the units' rates as equal and is too small where they are not.
    """
    point = (tied.mean, math.inf, 0.0, 0.0)
    return _result("binomial", tied, point, True, "one rate by definition: b and M do not exist")


def fit_beta_binomial(tied: Tied) -> CountFit:
    """Rates Beta(b, M - b), by L-BFGS on (logit mean, ln M) with the exact gradient."""
    if tied.D == 1:
        note = "one sample says nothing about the spread of rates: b and M do not exist"
        return _result("beta-binomial", tied, (tied.mean, math.inf, 0.0, 0.0), True, note)
    if not 0 < tied.mean < 1:
        return _result("beta-binomial", tied, (tied.mean, math.inf, 0.0, 0.0), True, _SHARED)
    if tied.between == 0:
        note = "every unit is silent or always on: the optimum is the limit M -> 0"
        return _result("beta-binomial", tied, (tied.mean, 0.0, 0.0, 0.0), True, note)
    point, converged = _search(tied, [tied.moments()], inflated=False)
    return _result("beta-binomial", tied, point, converged)


def fit_inflated(tied: Tied) -> CountFit:
    """Rates Beta(b, M - b) beside shares pi0 of dead and pi1 of always-on units.

    Started from the moments of the units in between, with their M and with M = 1, and from the
    plain beta-binomial, so that it is never worse than that.
    """
    plain = fit_beta_binomial(tied)
    if tied.D < _IDENTIFIED:
        note = f"fewer than {_IDENTIFIED} samples cannot tell weights from rates: no inflation"
        point = (plain.mean or 0.0, math.inf if plain.M is None else plain.M, 0.0, 0.0)
        return _result(
            "inflated", tied, point, plain.converged, f"{note}; {plain.note}".strip("; ")
        )
    if tied.between == 0:
        return CountFit(
            family="inflated",
            mean=None,
            b=None,
            M=None,
            pi0=tied.silent / tied.N,
            pi1=tied.full / tied.N,
            stderr=dict.fromkeys(PARAMETERS),
            log_likelihood=_spikes(tied),
            D=tied.D,
            N=tied.N,
            converged=True,
            note="every unit is silent or always on: no live unit, so b and M do not exist",
        )
    inner = tied.moments(inner=True)
    starts = [inner, (inner[0], 1.0)]
    if plain.mean is not None and plain.M:
        starts.append((plain.mean, plain.M))
    point, converged = _search(tied, starts, inflated=True)
    return _result("inflated", tied, point, converged)


def _search(
    tied: Tied, starts: Sequence[tuple[float, float]], *, inflated: bool
) -> tuple[Point, bool]:
    """The best of all starts, and of the one-rate limit M = inf where spread gains nothing."""
    box = np.array([[-30.0, 30.0], [math.log(1e-6), math.log(1e5 * tied.D)]])

    def run(start: Vector) -> tuple[float, Point, bool]:
        low, high = box[: len(start)].T

        def loss(theta: Vector) -> tuple[float, Vector]:
            inside = theta.clip(low, high)  # constant beyond the box, so that a search stops there
            value, slope, _ = profile_likelihood(tied, inside, inflated=inflated)
            return -value, np.where(theta == inside, -slope, 0.0)

        # plain BFGS: in two dimensions the bounded version spends its time in threaded LAPACK
        found = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-7})
        value, slope, point = profile_likelihood(tied, found.x.clip(low, high), inflated=inflated)
        # within 1e-5 nats a unit of flat, whatever the line search says of its last step
        return value * tied.N, point, bool(found.success or np.abs(slope).max() < 1e-5)

    shared = run(np.array([logit(starts[0][0])]))
    spread = max((run(np.array([logit(m), math.log(M)])) for m, M in starts), key=lambda r: r[0])
    best = spread if spread[0] > shared[0] + _NO_GAIN else shared
    return best[1], best[2]


def _result(family: Family, tied: Tied, point: Point, converged: bool, note: str = "") -> CountFit:
    mean, M, pi0, pi1 = point
    if M == 0:
        ends = np.log([1 - mean, mean])
        value = float(ends @ [tied.silent, tied.full])
    elif 0 < mean < 1:
        value = likelihood(tied, *point)[0]
    else:  # all silent or all always on: certain
        value = float(tied.n @ np.maximum(binomial_log_pmf(tied.k, tied.D, mean), -1e300))
    notes = [note] if note else []
    if math.inf == M and not note:
        notes.append(_SHARED)
    if family == "inflated":
        on_edge = [name for name, weight in (("pi0", pi0), ("pi1", pi1)) if weight == 0]
        if on_edge:
            names = " and ".join(on_edge)
            notes.append(f"{names} at the boundary 0; the other errors hold it there")
    errors = _errors(tied, point)
    missing = [name for name, value in errors.items() if value is None and name in ("mean", "b")]
    if missing and M not in (0, math.inf):
        notes.append("the likelihood has no strict maximum: no standard errors")
    return CountFit(
        family=family,
        mean=mean,
        b=None if math.inf == M else mean * M,
        M=None if math.inf == M else M,
        pi0=pi0,
        pi1=pi1,
        stderr=errors,
        log_likelihood=value,
        D=tied.D,
        N=tied.N,
        converged=converged,
        note="; ".join(notes),
    )


def _errors(tied: Tied, point: Point) -> dict[str, float | None]:
    """Standard error of each parameter inside its range, the others held at their boundary."""
    mean, M, pi0, pi1 = point
    none: dict[str, float | None] = dict.fromkeys(PARAMETERS)
    free = free_parameters(tied, point)
    if free is None:
        return none
    inside = free.inside
    scale = M if inside[1] else 0.0
    slope = mean * (1 - mean)
    jacobian = np.array(  # of mean, b, M, pi0, pi1 by logit mean, ln M and the log-ratios
        [
            [slope, 0, 0, 0],
            [slope * scale, mean * scale, 0, 0],
            [0, scale, 0, 0],
            [0, 0, pi0 * (1 - pi0), -pi0 * pi1],
            [0, 0, -pi0 * pi1, pi1 * (1 - pi1)],
        ]
    )
    errors = delta_errors(jacobian[:, list(inside)], free.cov)
    exists = (True, inside[1], inside[1], inside[2], inside[3])
    return {
        name: float(error) if there else None
        for name, error, there in zip(PARAMETERS, errors, exists, strict=True)
    }


def _spikes(tied: Tied) -> float:
    shares = np.array([tied.silent, tied.full]) / tied.N
    present = shares > 0
    return float(tied.N * (shares[present] @ np.log(shares[present])))
