"""Chao's extrapolation of K(D): the most robust, and a lower bound in expectation.

For the lower bound on the unseen units alone see `liveness.chao2`.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from actprune.errors import ActpruneError
from actprune.theory.extrapolation import Extrapolation
from actprune.theory.interval import Interval
from actprune.theory.liveness import chao2

_NO_SINGLETON = "no unit fired on exactly one sample: nothing to extrapolate from"


def chao_working(counts: ArrayLike, D: int, D_new: int, level: float = 0.95) -> Extrapolation:
    """K + f0 (1 - (1 - Q_1/(D f0 + Q_1))^(D' - D)), f0 the Chao2 estimate.

    Args:
        counts: int64 (N,), samples that activate each unit.
        D: samples, >= 1.
        D_new: D', samples in all, >= D.
        level: of the interval.

    Chao et al. (2014), Ecol. Monogr. 84, 45-67, for incidence, with f0 capped at the free
    units (ours). The interval is log-normal (Chao 1987, Biometrics 43, 783-791) with variance new +
    Q_1 (d new/dQ_1)^2 + Q_2 (d new/dQ_2)^2: Chao's own for D' -> infinity, and with the noise of
    the new units in it at every D' (ours). It covers K(D') where the units alive share one rate;
    unequal rates make the centre too low, and the interval with it.
    """
    counts = np.asarray(counts)
    free, Q1, Q2, K = _occupied(counts, D, D_new)
    more = D_new - D
    if more == 0 or free == 0:
        note = "no more samples" if more == 0 else "no unit is left to fire"
        return _exact(D, D_new, float(K), level, note)
    if Q1 == 0 or chao2(counts, D) == 0:
        note = _NO_SINGLETON if Q1 == 0 else "one unit fired once, none twice: Chao2 is 0"
        return Extrapolation(
            method="chao2", D=D, D_new=D_new, working=float(K), low=None, high=None, level=level,
            note=note,
        )  # fmt: skip
    new = _new(Q1, Q2, D, more, free)
    low, high = _log_normal(new, _variance(Q1, Q2, D, more, free), level)
    return Extrapolation(
        method="chao2",
        D=D,
        D_new=D_new,
        working=K + new,
        low=K + low,
        high=K + min(float(free), high),
        level=level,
        note="a lower bound in expectation",
    )


def chao2_interval(counts: ArrayLike, D: int, level: float = 0.95) -> Interval:
    """Interval for the number of free units that are alive, in units, around `liveness.chao2`.

    Chao (1987), Biometrics 43, 783-791, and for Q_2 = 0 the form without Q_2; capped at the free
    units. The centre is a lower bound in expectation, so only the low end is to be relied on.
    """
    free, Q1, Q2, _ = _occupied(np.asarray(counts), D, D)
    f0 = chao2(counts, D)
    if f0 == 0:
        reason = _NO_SINGLETON if Q1 == 0 else "Chao2 is 0: no spread can be told"
        return Interval(low=None, high=None, level=level, reason=reason)
    low, high = _log_normal(f0, _variance(Q1, Q2, D, math.inf, free), level)
    return Interval(low=low, high=min(float(free), high), level=level)


def _occupied(counts: np.ndarray, D: int, D_new: int) -> tuple[int, int, int, int]:
    if D < 1 or D_new < D:
        raise ActpruneError(f"Extrapolation needs 1 <= D <= D', got D={D}, D'={D_new}.")
    free, Q1, Q2 = (int(np.count_nonzero(counts == k)) for k in range(3))
    return free, Q1, Q2, counts.size - free


def _exact(D: int, D_new: int, K: float, level: float, note: str) -> Extrapolation:
    return Extrapolation(
        method="chao2", D=D, D_new=D_new, working=K, low=K, high=K, level=level, note=note
    )


def _new(Q1: float, Q2: float, D: int, more: float, free: int) -> float:
    pairs = Q1 * Q1 / (2 * Q2) if Q2 else Q1 * (Q1 - 1) / 2
    f0 = min(float(free), (D - 1) / D * pairs)
    if math.isinf(more):
        return f0
    return -f0 * math.expm1(more * math.log1p(-Q1 / (D * f0 + Q1))) if f0 > 0 else 0.0


def _variance(Q1: int, Q2: int, D: int, more: float, free: int) -> float:
    """Poisson noise of the new units, of Q_1 and of Q_2, by central differences."""
    h = 1e-4
    by_1 = (_new(Q1 + h, Q2, D, more, free) - _new(Q1 - h, Q2, D, more, free)) / (2 * h)
    by_2 = 0.0
    if Q2:
        by_2 = (_new(Q1, Q2 + h, D, more, free) - _new(Q1, Q2 - h, D, more, free)) / (2 * h)
    return _new(Q1, Q2, D, more, free) + Q1 * by_1**2 + Q2 * by_2**2


def _log_normal(value: float, variance: float, level: float) -> tuple[float, float]:
    z = float(ndtri(0.5 + level / 2))
    factor = math.exp(z * math.sqrt(math.log1p(variance / value**2)))
    return value / factor, value * factor
