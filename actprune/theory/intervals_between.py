"""Inter-spike intervals: is the waiting time between two firings geometric, as chance makes it?

Ours. Plain Kolmogorov-Smirnov is wrong here twice over: the intervals are whole numbers and their
rate is estimated from themselves. So chi2 on bins, or a permutation of the samples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc

from actprune.errors import ActpruneError

_LEAST = 5.0  # expected intervals a bin


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalTest:
    """A test that a unit fires independently from sample to sample."""

    intervals: int  # between consecutive firings
    statistic: float | None
    p: float | None  # 0 to 1; small: not independent. None where `reason` says why
    bins: int | None = None  # of the chi2 test
    reason: str | None = None


def intervals_of(train: ArrayLike) -> NDArray[np.int64]:
    """Waiting times between consecutive firings of one unit, each >= 1; bool (D,) in order."""
    train = np.asarray(train, dtype=bool)
    if train.ndim != 1:
        raise ActpruneError(f"A spike train has shape (samples,), got {train.shape}.")
    return np.diff(np.flatnonzero(train)).astype(np.int64)


def interval_chi2(train: ArrayLike) -> IntervalTest:
    """chi2 of the intervals on bins of at least five expected against the geometric law.

    Args:
        train: bool (D,), whether each sample, in a stated order, fires the unit.

    Of T firings on D samples, all placements equally likely, an interval exceeds g with
    probability C(D - g, T)/C(D, T): the geometric law given its sufficient statistic. Bins join
    neighbouring lengths up to five expected. Fixing T costs what estimating the rate would, so
    chi2 has two degrees of freedom fewer than bins; as the rate comes from the intervals, not from
    the bins, the truth lies between that and one fewer (Chernoff & Lehmann 1954, Ann. Math. Stat.
    25, 579-586).
    """
    train = np.asarray(train, dtype=bool)
    gaps = intervals_of(train)
    D, T = train.size, int(train.sum())
    if len(gaps) == 0:
        return _none(0, "fewer than two firings: no interval")
    expected = len(gaps) * -np.diff(_survival(D, T))
    edges = _bins(expected)
    if len(edges) < 3:
        return _none(
            len(gaps), f"{len(gaps)} intervals fill fewer than three bins of five expected"
        )
    seen = np.add.reduceat(np.bincount(gaps, minlength=len(expected) + 1)[1:], edges)
    hoped = np.add.reduceat(expected, edges)
    statistic = float(((seen - hoped) ** 2 / hoped).sum())
    p = float(chdtrc(len(edges) - 2, statistic))
    return IntervalTest(intervals=len(gaps), statistic=statistic, p=p, bins=len(edges))


def interval_permutation(
    train: ArrayLike, *, permutations: int = 999, seed: int = 0
) -> IntervalTest:
    """Permutation test of the intervals' squared coefficient of variation, two-sided, exact.

    Args:
        train: bool (D,), as in `interval_chi2`.
        permutations: of the samples, >= 1.
        seed: of the permutations; the same seed gives the same p.

    p = min(1, 2 (1 + smaller tail)/(permutations + 1)). Bursts raise the statistic, regular firing
    lowers it. Exact for exchangeable samples, however few the firings; needs three of them.
    """
    train = np.asarray(train, dtype=bool)
    gaps = intervals_of(train)
    if permutations < 1:
        raise ActpruneError(f"At least one permutation is needed, got {permutations}.")
    D, T = train.size, int(train.sum())
    if T < 3 or T == D:
        reason = "fewer than two intervals" if T < 3 else "always on: every interval is 1"
        return _none(len(gaps), reason)
    rng = np.random.default_rng(seed)
    value = _variation(gaps[None])[0]
    order = np.argsort(rng.random((permutations, D)), axis=1)[:, :T]
    shuffled = _variation(np.diff(np.sort(order, axis=1), axis=1))
    slack = 1e-12 * (1 + abs(value))
    tails = ((shuffled >= value - slack).sum(), (shuffled <= value + slack).sum())
    p = min(1.0, 2 * (1 + int(min(tails))) / (permutations + 1))
    return IntervalTest(intervals=len(gaps), statistic=float(value), p=p)


def _variation(gaps: NDArray[np.int64]) -> NDArray[np.float64]:
    return gaps.var(1) / gaps.mean(1) ** 2


def _survival(D: int, T: int) -> NDArray[np.float64]:
    """P(interval > g) for g = 0..D - T + 1, of T firings placed at random on D samples."""
    g = np.arange(D - T + 1, dtype=np.float64)
    # C(D - g - 1, T)/C(D - g, T) = (D - g - T)/(D - g)
    return np.concatenate([[1.0], np.cumprod((D - g - T) / (D - g))])


def _bins(expected: NDArray[np.float64]) -> NDArray[np.int64]:
    """Starts of the bins: neighbours joined up to `_LEAST`, a short last one to its neighbour."""
    starts, total = [0], 0.0
    for i, e in enumerate(expected):
        if total >= _LEAST:
            starts.append(i)
            total = 0.0
        total += e
    if total < _LEAST and len(starts) > 1:
        starts.pop()
    return np.array(starts)


def _none(intervals: int, reason: str) -> IntervalTest:
    return IntervalTest(intervals=intervals, statistic=None, p=None, reason=reason)
