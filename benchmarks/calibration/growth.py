"""K(D): the exact mean against the urn itself, and forecasts of K(D') against fresh samples."""

from collections.abc import Iterator

import numpy as np

from actprune.theory import (
    chao2_interval,
    extrapolate_working,
    fit_family,
    linear_bound,
)
from actprune.theory.count_fit import Family
from actprune.theory.extrapolation import Method
from actprune.theory.urn import expected_working, published_working
from benchmarks.calibration import draw
from benchmarks.calibration.check import Check, Kind, mean, share

GRID = (  # N, b, c, D: sparse and dense, few and many samples
    (50, 0.5, 20, 30),
    (50, 0.3, 5, 40),
    (30, 2.0, 10, 8),
    (40, 1.0, 39, 5),
    (20, 0.1, 1, 60),
    (300, 0.4, 250, 60),
    (100, 0.05, 2, 100),
    (10, 5.0, 3, 20),
    (200, 1.0, 1, 100),
)


def exact_mean(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """E[K(D)] exactly, also where the published form is off."""
    for N, b, c, D in GRID:
        K = draw.urn(rng, trials, N=N, b=b, c=c, D=D)
        exact = float(expected_working(D, N=N, b=b, c=c))
        printed = float(published_working(D, N=N, b=b, c=c))
        off = (printed - K.mean()) / (K.std(ddof=1) / trials**0.5)
        note = f"published form {printed:.2f}, {off:+.0f} errors off"
        yield mean("E[K(D)] of the urn", f"N {N}, b {b}, c {c}, D {D}", K, exact, note)


def _forecasts(
    rng: np.random.Generator,
    trials: int,
    *,
    case: str,
    law: dict[str, float],
    family: Family,
    claims: dict[Method, Kind],
    N: int = 300,
    D: int = 100,
    times: int = 2,
) -> Iterator[Check]:
    hits: dict[Method, list[bool]] = {method: [] for method in claims}
    misses = dict.fromkeys(claims, 0)
    below: list[bool] = []
    for _ in range(trials):
        p = draw.rates(rng, N, **law)
        counts = rng.binomial(D, p)
        truth = int(((counts > 0) | (rng.binomial((times - 1) * D, p) > 0)).sum())
        found = extrapolate_working(counts, D, times * D, fit_family(counts, D, family))
        for method in claims:
            low, high = found[method].low, found[method].high
            if low is None or high is None:
                misses[method] += 1
            else:
                hits[method].append(low <= truth <= high)
        below.append(truth <= linear_bound(counts, D, times * D))
    for method, kind in claims.items():
        note = f"{misses[method]} trials without an interval" if misses[method] else ""
        what = f"K({times}D), {method}"
        yield share(case, what, kind, hits[method], 0.95, note)
    yield share(case, f"K({times}D), linear bound", "bound", below, 0.95)


def forecasts(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """Prediction intervals of all methods where their assumptions hold, and where not.

    Predictions of whole units are conservative; Good-Toulmin's variance counts N as open.
    """
    ours: dict[Method, Kind] = {"predictive": "bound", "urn": "interval"}
    free: dict[Method, Kind] = {"good-toulmin": "bound", "chao2": "shown"}
    beta = {"b": 0.5, "M": 6.0}
    yield from _forecasts(
        rng, trials, case="forecast: Beta rates", law=beta, family="beta-binomial",
        claims={**ours, **free},
    )  # fmt: skip
    yield from _forecasts(
        rng, max(50, trials // 2), case="forecast: Beta rates", law=beta,
        family="beta-binomial", claims={**ours, **free, "good-toulmin": "shown"}, times=4,
    )  # fmt: skip
    equal: dict[Method, Kind] = {"chao2": "bound", "good-toulmin": "bound"}
    one = {"b": 0.02, "M": np.inf, "pi0": 0.3}
    yield from _forecasts(
        rng, trials, case="forecast: one rate .02, dead .3", law=one, family="binomial",
        claims=equal, D=50,
    )  # fmt: skip


def inflated_forecasts(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """The same with dead units, and with none although the law allows them (a boundary)."""
    dead = {"b": 0.5, "M": 6.0, "pi0": 0.2, "pi1": 0.05}
    claims: dict[Method, Kind] = {"predictive": "bound", "urn": "interval"}
    yield from _forecasts(
        rng, trials, case="forecast: Beta rates, dead .2", law=dead, family="inflated",
        claims={**claims, "good-toulmin": "bound", "chao2": "shown"},
    )  # fmt: skip
    edge: dict[Method, Kind] = {"predictive": "shown", "urn": "shown"}
    yield from _forecasts(
        rng, max(50, trials // 8), case="boundary: inflated forecast, nothing dead",
        law={"b": 0.5, "M": 6.0}, family="inflated", claims=edge,
    )  # fmt: skip
    yield from _forecasts(
        rng, max(50, trials // 8), case="wrong law: dead .2, plain beta-binomial",
        law=dead, family="beta-binomial", claims=edge, times=4,
    )  # fmt: skip


def unseen(rng: np.random.Generator, trials: int) -> Iterator[Check]:
    """Chao2: its interval on one rate, its lower end on any."""
    N, D = 300, 50
    one, low = [], []
    for _ in range(trials):
        counts = rng.binomial(D, 0.02, N)
        found = chao2_interval(counts, D)
        free = int((counts == 0).sum())
        one.append(found.low is not None and found.covers(free))
        p = rng.beta(0.5, 5.5, N)
        counts = rng.binomial(D, p)
        found = chao2_interval(counts, D)
        low.append(found.low is None or found.low <= (counts == 0).sum())
    yield share("Chao2, one rate .02", "free units alive", "bound", one, 0.95)
    yield share("Chao2, Beta rates", "lower end", "bound", low, 0.975)
