"""Firings as spike trains: rates, Fano factors, and whether their dispersion is chance.

[LS] Lehmler, Saif-ur-Rehman, Glasmachers & Iossifidis (arXiv 2308.00858; Neurocomputing 2024,
128473) watch the mean firing rate, the mean Fano factor and their variances over training. The
definitions here, the null 1 - lambda and the tests are ours. They say nothing about which
direction means memorization.

Shapes: w windows of L consecutive samples in a stated order, N units.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtr, chdtrc

from actprune.errors import ActpruneError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class SpikeStatistics:
    """Rates of all N units, and dispersions of the units for which they exist."""

    order: str  # of the samples, in the caller's words: the excess means nothing without it
    windows: int
    length: int
    rate: Array  # (N,), lambda_i = mean count / L, 0 to 1
    mean_rate: float  # MFR
    rate_variance: float | None  # over units, ddof 1; None of one unit
    units: NDArray[np.int64]  # (n,), units with lambda > 0, to which `fano` belongs
    fano: Array  # (n,), variance (ddof 1) / mean of their window counts; empty if w < 2
    mean_fano: float | None  # MFF; None where no unit has one
    fano_variance: float | None  # over units, ddof 1
    excess: Array  # (n,), fano - (1 - lambda): 0 is expected of shuffled samples
    relative: Array  # (m,), fano/(1 - lambda) of the `testable` units: 1 is expected
    testable: NDArray[np.int64]  # (m,), units with 0 < lambda < 1
    dispersion: "Dispersion | None"
    reason: str | None = None  # why something does not exist


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dispersion:
    """(w - 1) FF/(1 - lambda) against chi2(w - 1), for each testable unit."""

    statistic: Array  # (m,), >= 0
    p_over: Array  # (m,), chance of so much dispersion or more
    p_under: Array  # (m,), chance of so little or less
    sparse: NDArray[np.bool_]  # (m,), fewer than 5 firings or silences a window: chi2 is rough
    level: float
    share_over: float  # of the testable units with p_over <= level; `level` expected by chance


def spike_statistics(
    windows: ArrayLike, length: int, *, order: str, level: float = 0.05
) -> SpikeStatistics:
    """Rates, Fano factors and the dispersion test of window counts.

    Args:
        windows: int64 (w, N), samples of each window that activate each unit, 0 to `length`.
        length: L, samples in every window, >= 1.
        order: what order the samples are in, e.g. "shuffled" or "by class".
        level: of the one-sided test for excess.

    Of shuffled samples the counts are binomial, FF ~ 1 - lambda: testing (w - 1) FF against
    chi2(w - 1) without the division rejects nearly every true null unit of high rate. Given a
    unit's total the mean of FF is (1 - lambda) wL/(wL - 1) exactly. In class-blocked order the
    excess measures class selectivity.

    Raises:
        ActpruneError: if the shape or a count is out of range.
    """
    counts = np.asarray(windows)
    if counts.ndim != 2 or 0 in counts.shape or length < 1:
        raise ActpruneError(
            "Spike statistics need counts of shape (windows, units), at least one each, and "
            f"length >= 1, got {counts.shape} and {length}."
        )
    if counts.min() < 0 or counts.max() > length:
        raise ActpruneError(
            f"A window's count must lie in 0..{length}, got {counts.min()} to {counts.max()}."
        )
    w, N = counts.shape
    mean = counts.mean(0)
    rate = mean / length
    units = np.flatnonzero(mean > 0)
    testable = np.flatnonzero((mean > 0) & (mean < length))
    none = np.zeros(0)
    if w < 2:
        fano = excess = relative = none
        dispersion, reason = None, "a variance over windows needs at least two"
    else:
        variance = counts.var(0, ddof=1)
        fano = variance[units] / mean[units]
        excess = fano - (1 - rate[units])
        relative = variance[testable] / (mean[testable] * (1 - rate[testable]))
        dispersion = _dispersion(relative, mean[testable], length, w, level)
        reason = None
        if not len(testable):
            reason = "every unit is silent or always on: nothing to test"
    return SpikeStatistics(
        order=order,
        windows=w,
        length=length,
        rate=rate,
        mean_rate=float(rate.mean()),
        rate_variance=float(rate.var(ddof=1)) if N > 1 else None,
        units=units,
        fano=fano,
        mean_fano=float(fano.mean()) if len(fano) else None,
        fano_variance=float(fano.var(ddof=1)) if len(fano) > 1 else None,
        excess=excess,
        relative=relative,
        testable=testable,
        dispersion=dispersion,
        reason=reason,
    )


def _dispersion(
    relative: Array, mean: Array, length: int, w: int, level: float
) -> Dispersion | None:
    if not len(relative):
        return None
    statistic = (w - 1) * relative
    p_over = chdtrc(w - 1, statistic)
    return Dispersion(
        statistic=statistic,
        p_over=p_over,
        p_under=chdtr(w - 1, statistic),
        sparse=np.minimum(mean, length - mean) < 5,
        level=level,
        share_over=float((p_over <= level).mean()),
    )
