"""Does a law fit its counts? A test without a bootstrap, that rejects only what is far off."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from actprune.theory._tied import tie
from actprune.theory.count_fit import CountFit
from actprune.theory.count_law import count_log_pmf
from actprune.theory.tail_fit import TailFit


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """The Kolmogorov-Smirnov distance of counts from their fitted law."""

    ks: float  # largest distance of the distribution functions, 0 to 1
    p_at_most: float  # the test's p is at most this, 0 to 1
    units: int
    at: int | None  # the count at which the two are farthest apart; None if not kept

    def rejected(self, level: float = 0.05) -> bool:
        """Whether the law is rejected for certain; without it a bootstrap may still reject."""
        return self.p_at_most < level


def ks_bound(ks: float, units: int) -> float:
    """2 exp(-2 n KS^2), at most 1: an upper bound on the p value of a KS distance.

    For a law that was given beforehand it holds at every n, for discrete counts too: Massart
    (1990), Ann. Probab. 18, 1269-1283. A law fitted to the same counts lies nearer to them, so that
    the bound is wider still (ours; simulated). Units are taken as independent.
    """
    return min(1.0, 2 * math.exp(-2 * units * ks * ks))


def count_distance(counts: ArrayLike, D: int, fit: CountFit) -> Distance:
    """How far the counts of N units, int64 (N,) over D samples, lie from their fitted law."""
    tied = tie(counts, D)
    law = np.exp(count_log_pmf(fit, np.arange(D + 1), D))
    seen = np.zeros(D + 1)
    seen[tied.k.astype(np.int64)] = tied.n / tied.N
    gap = np.abs(np.cumsum(seen) - np.cumsum(law))
    ks = float(min(1.0, gap.max()))
    return Distance(ks=ks, p_at_most=ks_bound(ks, tied.N), units=tied.N, at=int(gap.argmax()))


def tail_distance(fit: TailFit) -> Distance | None:
    """The same of a fitted tail; None where there is no fit."""
    if fit.ks is None:
        return None
    return Distance(ks=fit.ks, p_at_most=ks_bound(fit.ks, fit.n), units=fit.n, at=None)
