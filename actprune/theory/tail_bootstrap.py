"""Does a tail fit at all? Parametric bootstrap of the Kolmogorov-Smirnov distance.

Clauset, Shalizi & Newman (2009), SIAM Rev. 51, 661-703, section 4.1. Replicates draw units
independently from the fitted law; that units of a network depend on each other is ignored, which
makes rejections too frequent where they do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actprune.errors import ActpruneError
from actprune.theory._exponential import log_probabilities, maximize
from actprune.theory._tail_families import log_tail_law, named, statistics
from actprune.theory.tail import Array, Tail, tail_of
from actprune.theory.tail_fit import TailFit
from actprune.theory.tail_xmin import choose_tail
from actprune.theory.tails import fit_tail_counts

_DEPENDENCE = "units taken as independent"
_CHUNK = 4_000_000  # numbers held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class TailGoodness:
    """How often data from the fitted law lie farther from their own fit than the counts do."""

    p: float | None  # 1/(replicates + 1) to 1; small: the law does not fit
    ks: float | None  # of the counts, 0 to 1
    replicates: int  # those with a fit of their own; the others are left out
    xmin_chosen: bool  # whether xmin was chosen anew in every replicate
    note: str = _DEPENDENCE


def tail_goodness(
    counts: ArrayLike,
    fit: TailFit,
    *,
    replicates: int = 199,
    seed: int = 0,
    xmin_chosen: bool = False,
    least: int = 10,
) -> TailGoodness:
    """p = (1 + #{KS* >= KS}) / (1 + replicates), every replicate fitted anew.

    Args:
        counts: int64 (N,), the counts fitted.
        fit: their `fit_tail` or `choose_xmin`.
        replicates: bootstrap samples, >= 1.
        seed: of the draws; the same seed gives the same p.
        xmin_chosen: whether `fit` comes from `choose_xmin`: replicates then also draw the units
            below xmin, from the counts there, and choose their own xmin. Slow.
        least: as given to `choose_xmin`.

    Raises:
        ActpruneError: if replicates < 1 or the fit is not of these counts.
    """
    if replicates < 1:
        raise ActpruneError(f"A bootstrap needs at least one replicate, got {replicates}.")
    tail = tail_of(counts, fit.D, fit.xmin, fit.xmax)
    if tail.units != fit.n:
        raise ActpruneError(f"The fit is of {fit.n} units, the counts of {tail.units}.")
    if fit.parameters is None or fit.ks is None:
        return TailGoodness(p=None, ks=None, replicates=0, xmin_chosen=xmin_chosen, note=fit.note)
    rng = np.random.default_rng(seed)
    law = np.exp(log_tail_law(fit))
    if xmin_chosen:
        distances = _choosing(tail_of(counts, fit.D, 1, fit.xmax), fit, law, replicates, rng, least)
    elif fit.family == "beta-binomial":
        distances = _one_by_one(tail, fit, law, replicates, rng)
    else:
        distances = _together(tail, fit, law, replicates, rng)
    worse = int((distances >= fit.ks - 1e-12).sum())
    return TailGoodness(
        p=(1 + worse) / (1 + len(distances)),
        ks=fit.ks,
        replicates=len(distances),
        xmin_chosen=xmin_chosen,
    )


def _together(
    tail: Tail, fit: TailFit, law: Array, replicates: int, rng: np.random.Generator
) -> Array:
    """Exponential families: all replicates of a chunk in one Newton search."""
    T = statistics(tail.xmin, tail.xmax, fit.family)
    chunk = max(1, _CHUNK // len(law))
    parts = []
    for start in range(0, replicates, chunk):
        drawn = rng.multinomial(tail.units, law, min(chunk, replicates - start)) / tail.units
        at = maximize(T, drawn @ T)
        good = at.found & np.array([named(fit.family, t)[0] is not None for t in at.theta])
        fitted = np.exp(log_probabilities(T, at.theta[good]))
        gap = np.cumsum(drawn[good], axis=1) - np.cumsum(fitted, axis=1)
        parts.append(np.abs(gap).max(1))
    return np.concatenate(parts)


def _one_by_one(
    tail: Tail, fit: TailFit, law: Array, replicates: int, rng: np.random.Generator
) -> Array:
    found = [
        fit_tail_counts(_drawn(rng.multinomial(tail.units, law), tail), fit.family).ks
        for _ in range(replicates)
    ]
    return np.array([ks for ks in found if ks is not None])


def _choosing(
    whole: Tail, fit: TailFit, law: Array, replicates: int, rng: np.random.Generator, least: int
) -> Array:
    """Below xmin as the counts are, above it as the law says; xmin chosen anew."""
    p = np.zeros(whole.xmax)
    p[whole.k - 1] = whole.n / whole.units
    p[fit.xmin - 1 :] = law * p[fit.xmin - 1 :].sum()
    found = [
        choose_tail(_drawn(rng.multinomial(whole.units, p), whole), fit.family, least, 50).ks
        for _ in range(replicates)
    ]
    return np.array([ks for ks in found if ks is not None])


def _drawn(n: NDArray[np.int64], like: Tail) -> Tail:
    k = np.flatnonzero(n)
    return Tail(
        k=k + like.xmin,
        n=n[k].astype(np.float64),
        xmin=like.xmin,
        xmax=like.xmax,
        D=like.D,
        working=like.working,
    )
