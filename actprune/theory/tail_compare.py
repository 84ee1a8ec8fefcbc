"""Which of two tails? Likelihood ratio where one holds the other, Vuong's test where not."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, ndtr

from actprune.errors import ActpruneError
from actprune.theory._tail_families import log_tail_law
from actprune.theory.tail import tail_of
from actprune.theory.tail_fit import TailFamily, TailFit

# the simpler law in the richer one; True where it is the edge of the richer one's range
_NESTED: dict[tuple[TailFamily, TailFamily], bool] = {
    ("power law", "truncated power law"): False,
    ("geometric", "truncated power law"): False,
    ("power law", "lognormal"): True,  # sigma -> infinity
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TailComparison:
    """A test of two tails on the same counts; units are taken as independent."""

    test: Literal["likelihood ratio", "Vuong"]
    favours: TailFamily | None  # None where neither is favoured at the level asked
    statistic: float | None  # 2 ln ratio >= 0, or Vuong's z, > 0 for the first
    p: float | None  # 0 to 1; one-sided for a ratio, two-sided for Vuong
    gap: float  # log-likelihood of the first minus that of the second, nats
    note: str


def compare_tails(
    counts: ArrayLike, a: TailFit, b: TailFit, *, level: float = 0.05
) -> TailComparison:
    """Compare two fits of the same counts over the same range.

    Args:
        counts: int64 (N,), the counts fitted.
        a, b: fits of different families with the same xmin, xmax and D, both with parameters.
        level: of the test; above it neither is favoured.

    Nested families (power law and geometric in the truncated power law; power law at the edge
    sigma -> infinity of the lognormal): 2 ln ratio is chi2(1), at an edge half of the time 0
    (Wilks 1938; Self & Liang 1987, JASA 82, 605-610). Others: Vuong (1989), Econometrica 57,
    307-333, z = sum(d) / (sqrt(n) sd(d)), d the units' log-likelihood differences, with
    Schwarz's correction where the numbers of parameters differ.

    Raises:
        ActpruneError: if the fits do not belong together or one has no parameters.
    """
    if (a.xmin, a.xmax, a.D) != (b.xmin, b.xmax, b.D) or a.family == b.family:
        raise ActpruneError(
            "Two tails are compared on one range and by different families, got "
            f"{a.family} on {a.xmin}..{a.xmax} and {b.family} on {b.xmin}..{b.xmax}."
        )
    tail = tail_of(counts, a.D, a.xmin, a.xmax)
    if tail.units != a.n or tail.units != b.n:
        raise ActpruneError(f"The fits are of {a.n} and {b.n} units, the counts of {tail.units}.")
    at = tail.k - tail.xmin
    difference = (log_tail_law(a) - log_tail_law(b))[at]
    gap = float(tail.n @ difference)
    for simple, rich, sign in ((a, b, -1), (b, a, 1)):
        edge = _NESTED.get((simple.family, rich.family))
        if edge is not None:
            ratio = max(0.0, 2 * sign * gap)
            p = float(chdtrc(1, ratio))
            if edge:
                p = p / 2 if ratio > 0 else 1.0
            note = f"{simple.family} lies {'at the edge of' if edge else 'in'} {rich.family}"
            return TailComparison(
                test="likelihood ratio",
                favours=rich.family if p < level else None,
                statistic=ratio,
                p=p,
                gap=gap,
                note=f"{note}; without a rejection the simpler law stands",
            )
    return _vuong(a, b, tail.n, difference, gap, level)


def _vuong(
    a: TailFit, b: TailFit, n: np.ndarray, difference: np.ndarray, gap: float, level: float
) -> TailComparison:
    units = float(n.sum())
    extra = len(a.parameters or {}) - len(b.parameters or {})
    corrected = gap - extra * math.log(units) / 2
    spread = float(n @ (difference - gap / units) ** 2)
    if spread <= 1e-20 * units:
        note = "the two laws are the same on these counts"
        return TailComparison(
            test="Vuong", favours=None, statistic=None, p=None, gap=gap, note=note
        )
    z = corrected / math.sqrt(spread)
    p = 2 * float(ndtr(-abs(z)))
    winner = None if p >= level else (a.family if z > 0 else b.family)
    note = "asymptotic; families that share a member may both be near the truth"
    if extra:
        note += "; corrected for the number of parameters (Schwarz)"
    return TailComparison(test="Vuong", favours=winner, statistic=z, p=p, gap=gap, note=note)
