"""K beyond the data: every method side by side, and how each does on samples held back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import betabinom, binom

from actprune.errors import ActpruneError
from actprune.theory._blocks import filled_blocks
from actprune.theory._free import Free, Point, free_parameters
from actprune.theory._gamma import log_rising
from actprune.theory._tied import Tied, tie
from actprune.theory.chao import chao_working
from actprune.theory.count_fit import CountFit
from actprune.theory.extrapolation import METHODS, Extrapolation, Method
from actprune.theory.fit_counts import fit_family
from actprune.theory.good_toulmin import good_toulmin_working

_NO_ERROR = "no standard errors: the interval holds the counting noise only"


def extrapolate_working(
    counts: ArrayLike, D: int, D_new: int, fit: CountFit | None = None, level: float = 0.95
) -> dict[Method, Extrapolation]:
    """K(D') by the exact urn, its predictive, Chao2 and (smoothed) Good-Toulmin.

    Args:
        counts: int64 (N,), samples that activate each unit.
        D: samples, >= 1.
        D_new: D', samples in all, >= D.
        fit: a "binomial", "beta-binomial" or "inflated" fit of the counts; without one the
            inflated beta-binomial is fitted.
        level: of the intervals.

    All intervals take the units as independent given their rates.

    Raises:
        ActpruneError: if D' < D, or the fit is of the published urn, which is not exact.
    """
    fit = fit or fit_family(counts, D, "inflated")
    return {
        "urn": urn_working(counts, D, D_new, fit, level),
        "predictive": predictive_working(counts, D, D_new, fit, level),
        "chao2": chao_working(counts, D, D_new, level),
        "good-toulmin": good_toulmin_working(counts, D, D_new, level),
    }


def predictive_working(
    counts: ArrayLike, D: int, D_new: int, fit: CountFit, level: float = 0.95
) -> Extrapolation:
    """K + (N - K) p, p the chance that a unit silent on D samples fires on one of D' - D more.

    p = w (1 - G(M - b + D') G(M + D) / (G(M - b + D) G(M + D'))), w as in `urn.free_next_firing`
    (ours). The interval is the beta-binomial of N - K units whose p has the fit's standard error
    (delta method, a Beta law with its mean and spread): parameters and counting noise together,
    but a weight at its boundary 0 is taken as known. Arguments as in `extrapolate_working`.
    """
    tied = _checked(counts, D, D_new, fit)
    K = tied.N - tied.silent
    if D_new == D or tied.silent == 0:
        note = "no more samples" if D_new == D else "no unit is left to fire"
        return _result("predictive", D, D_new, K, (K, K), level, note)
    point = _point(fit)
    p = _newly_fired(point, D, D_new)
    free = free_parameters(tied, point)
    error = (
        0.0 if free is None else _spread(free, free.gradient(lambda x: _newly_fired(x, D, D_new)))
    )
    tail = (1 - level) / 2
    if 0 < p < 1 and 0 < error**2 < p * (1 - p):
        size = p * (1 - p) / error**2 - 1
        law = betabinom(tied.silent, p * size, (1 - p) * size)
    else:
        law = binom(tied.silent, p)
    ends = K + float(law.ppf(tail)), K + float(law.ppf(1 - tail))
    note = fit.note if free is not None else _NO_ERROR
    return _result("predictive", D, D_new, K + tied.silent * p, ends, level, note)


def urn_working(
    counts: ArrayLike, D: int, D_new: int, fit: CountFit, level: float = 0.95
) -> Extrapolation:
    """E[K(D')] of the fitted law, whatever K(D) was: N (1 - pi0 - q z(D')), z as in `urn`.

    The interval is for K(D'), which shares its units with the counts fitted (ours): with P = 1 -
    pi0 - q z(D'), g its gradient, I the information of one unit and h the mean over units of the
    gradient of P(working at D' | D_i), the error has variance N P (1 - P) - g'I^-1 (g - 2h) N.
    Normal, clipped to K..N. Arguments as in `extrapolate_working`.
    """
    tied = _checked(counts, D, D_new, fit)
    K, point = tied.N - tied.silent, _point(fit)
    if D_new == D and tied.silent in (0, tied.N):
        return _result("urn", D, D_new, K, (K, K), level, "no more samples")
    P = 1 - _silent(point, D_new)
    free = free_parameters(tied, point)
    variance = tied.N * P * (1 - P)
    if free is not None:
        g = free.gradient(lambda x: 1 - _silent(x, D_new))
        # only silent units are uncertain to work at D': P(0) times the gradient of p
        h = _silent(point, D) * free.gradient(lambda x: _newly_fired(x, D, D_new))
        variance -= tied.N**2 * float(g @ free.cov @ (g - 2 * h))
    reach = float(ndtri(0.5 + level / 2)) * math.sqrt(max(0.0, variance))
    centre = tied.N * P
    ends = float(np.clip(centre - reach, K, tied.N)), float(np.clip(centre + reach, K, tied.N))
    return _result("urn", D, D_new, centre, ends, level, fit.note if free else _NO_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutK:
    """One method's forecast of K on all samples from some of their blocks."""

    forecast: Extrapolation
    truth: int  # K on all samples, units

    @property
    def error(self) -> float:
        """Forecast minus truth, units."""
        return self.forecast.working - self.truth

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the truth; None where there is no interval."""
        low, high = self.forecast.low, self.forecast.high
        return None if low is None or high is None else low <= self.truth <= high


def backtest(
    active: NDArray[np.int64],
    samples: NDArray[np.int64],
    shares: Sequence[float] = (0.5, 0.25),
    level: float = 0.95,
) -> dict[tuple[float, Method], HeldOutK]:
    """Forecast K on all blocks from a share of them, by every method: held-out samples judge.

    Args:
        active: (B, N), samples of each block that activate each unit.
        samples: (B,), samples in each block; random parts of the data.
        shares: of the blocks, 0 to 1: the first round(share B) non-empty ones are seen.
        level: of the intervals.

    A share that leaves no block seen or none held back is left out of the answer.
    """
    active, samples = filled_blocks(active, samples)
    D, truth = int(samples.sum()), int(np.count_nonzero(active.sum(0)))
    found: dict[tuple[float, Method], HeldOutK] = {}
    for share in shares:
        seen = round(share * len(samples))
        if not 0 < seen < len(samples):
            continue
        counts, d = active[:seen].sum(0), int(samples[:seen].sum())
        forecasts = extrapolate_working(counts, d, D, level=level)
        for method in METHODS:
            found[share, method] = HeldOutK(forecast=forecasts[method], truth=truth)
    return found


def _checked(counts: ArrayLike, D: int, D_new: int, fit: CountFit) -> Tied:
    tied = tie(counts, D)
    if D_new < D:
        raise ActpruneError(f"Extrapolation needs 1 <= D <= D', got D={D}, D'={D_new}.")
    if fit.family == "urn":
        raise ActpruneError(
            "The published urn is the sparse limit only: extrapolate with a 'binomial', "
            "'beta-binomial' or 'inflated' fit, or read `expected_working` of the urn's."
        )
    if (fit.N, fit.D) != (tied.N, D):
        raise ActpruneError(
            f"The fit is of {fit.N} units over {fit.D} samples, "
            f"the counts are of {tied.N} units over {D}."
        )
    return tied


def _point(fit: CountFit) -> Point:
    return fit.mean or 0.0, math.inf if fit.M is None else fit.M, fit.pi0, fit.pi1


def _live_silent(mean: float, M: float, d: int, seen: int = 0) -> float:
    """Chance that a live unit silent on `seen` samples stays silent up to sample d."""
    if mean == 0:
        return 1.0
    if math.isinf(M):
        return math.exp((d - seen) * math.log1p(-mean)) if mean < 1 else float(d == seen)
    if M == 0:  # rates are 0 or 1
        return 1.0 if seen else 1 - mean
    rest = (1 - mean) * M + seen
    return math.exp(float(log_rising(rest, d - seen) - log_rising(M + seen, d - seen)))


def _silent(point: Point, d: int) -> float:
    mean, M, pi0, pi1 = point
    return pi0 + (1 - pi0 - pi1) * _live_silent(mean, M, d)


def _newly_fired(point: Point, D: int, D_new: int) -> float:
    """Chance that a unit silent on D samples fires by D'; 0 where no unit can be silent."""
    mean, M, pi0, pi1 = point
    live = (1 - pi0 - pi1) * _live_silent(mean, M, D)
    silent = pi0 + live
    return live / silent * (1 - _live_silent(mean, M, D_new, D)) if silent > 0 else 0.0


def _spread(free: Free, gradient: NDArray[np.float64]) -> float:
    return math.sqrt(max(0.0, float(gradient @ free.cov @ gradient)))


def _result(
    method: Method,
    D: int,
    D_new: int,
    working: float,
    ends: tuple[float, float],
    level: float,
    note: str,
) -> Extrapolation:
    return Extrapolation(
        method=method,
        D=D,
        D_new=D_new,
        working=float(working),
        low=float(ends[0]),
        high=float(ends[1]),
        level=level,
        note=note,
    )
