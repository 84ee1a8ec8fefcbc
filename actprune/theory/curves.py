"""What a site's charts show, as numbers: K beyond the data, the tail, the rates and their law."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actprune.theory._tail_families import log_tail_law
from actprune.theory.count_fit import CountFit
from actprune.theory.count_law import count_log_pmf
from actprune.theory.extrapolate import extrapolate_working
from actprune.theory.extrapolation import METHODS, Method
from actprune.theory.tail_fit import TailFamily, TailFit

Array = NDArray[np.float64]
POINTS = 48  # of a tail, at most
BINS = 24  # of the rates strictly between 0 and 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class AheadCurve:
    """K(D') by one method on a grid of D'; `low` and `high` are NaN-free or absent together."""

    working: Array
    low: Array | None
    high: Array | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ahead:
    """K beyond the data, D to D'."""

    d: NDArray[np.int64]  # samples in all, from D on
    methods: Mapping[Method, AheadCurve]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TailCurve:
    """Shares of the working units with a count of at least k, as counted and as fitted."""

    k: NDArray[np.int64]
    seen: Array  # 0 to 1
    fitted: Mapping[TailFamily, Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateHistogram:
    """Units by the share of samples that fire them, beside what the fitted law expects."""

    edges: Array  # (bins + 1,), of D_i/D strictly between 0 and 1
    units: NDArray[np.int64]  # (bins,)
    expected: Array  # (bins,)
    never: tuple[int, float]  # units with D_i = 0, counted and expected
    always: tuple[int, float]  # with D_i = D


def ahead_curve(
    counts: NDArray[np.int64], D: int, times: int, fit: CountFit, points: int = 7
) -> Ahead:
    """`extrapolate_working` on a grid from D to times D, even in its logarithm."""
    grid = np.unique(np.rint(np.geomspace(D, times * D, points)).astype(np.int64))
    found = [extrapolate_working(counts, D, int(d), fit) for d in grid]
    curves: dict[Method, AheadCurve] = {}
    for method in METHODS:
        each = [f[method] for f in found]
        ends = [(e.low, e.high) for e in each]
        whole = all(low is not None and high is not None for low, high in ends)
        curves[method] = AheadCurve(
            working=np.array([e.working for e in each]),
            low=np.array([low for low, _ in ends], dtype=np.float64) if whole else None,
            high=np.array([high for _, high in ends], dtype=np.float64) if whole else None,
        )
    return Ahead(d=grid, methods=curves)


def tail_curve(
    counts: NDArray[np.int64], D: int, tails: Mapping[TailFamily, TailFit]
) -> TailCurve | None:
    """Complementary distribution functions at counts even in their logarithm; None of no unit."""
    working = np.sort(counts[counts > 0])
    if not len(working):
        return None
    k = np.unique(np.rint(np.geomspace(1, max(1, D), POINTS)).astype(np.int64))
    seen = 1 - np.searchsorted(working, k, side="left") / len(working)
    fitted: dict[TailFamily, Array] = {}
    for family, fit in tails.items():
        if fit.parameters is not None and fit.xmin == 1:
            law = np.exp(log_tail_law(fit))
            fitted[family] = np.clip(law[::-1].cumsum()[::-1][k - 1], 0.0, 1.0)
    return TailCurve(k=k, seen=seen, fitted=fitted)


def rate_histogram(counts: NDArray[np.int64], D: int, fit: CountFit) -> RateHistogram:
    """Counts 1 to D - 1 in at most `BINS` bins of as many different counts each; 0 and D apart."""
    law = fit.N * np.exp(count_log_pmf(fit, np.arange(D + 1), D))
    bins = max(1, min(BINS, D - 1))
    cuts = np.unique(np.rint(np.linspace(1, max(1, D), bins + 1)).astype(np.int64))
    units = np.bincount(counts, minlength=D + 1)
    total, expected = np.concatenate([[0], units.cumsum()]), np.concatenate([[0.0], law.cumsum()])
    return RateHistogram(
        edges=cuts / D,
        units=np.diff(total[cuts]),
        expected=np.diff(expected[cuts]),
        never=(int(units[0]), float(law[0])),
        always=(int(units[D]), float(law[D])),
    )
