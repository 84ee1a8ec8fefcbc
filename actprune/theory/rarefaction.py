"""How K grows with the samples: the exact mean over all subsets of the samples seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from actprune.errors import ActpruneError
from actprune.theory._blocks import filled_blocks
from actprune.theory._tied import tie
from actprune.theory.resampling import delete_block_stderr


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Rarefaction:
    """E[K(d)], the units a random d of the D samples would have shown working."""

    d: NDArray[np.int64]  # samples, ascending
    working: NDArray[np.float64]  # units, 0 to N
    stderr: NDArray[np.float64] | None  # units; None with fewer than two non-empty blocks
    reason: str | None = None


def expected_subset_working(counts: ArrayLike, D: int, d: ArrayLike) -> NDArray[np.float64]:
    """E[K(d)] = N - sum_i C(D - D_i, d) / C(D, d) over all subsets of d samples.

    Args:
        counts: int64 (N,), the D_i: samples that activate each unit.
        D: samples seen, >= 1.
        d: whole numbers in 0..D, any shape.

    Hurlbert (1971), Ecology 52(4), 577-586, with units for species' incidence.

    Raises:
        ActpruneError: if a count or a d is out of range.
    """
    tied = tie(counts, D)
    d = np.asarray(d)
    if d.size and (d.min() < 0 or d.max() > D):
        raise ActpruneError(f"d must lie in 0..D={D}, got {d.min()} to {d.max()}.")
    log_factorial = gammaln(np.arange(D + 1) + 1.0)
    seen = tied.n > 0
    left = D - tied.k[seen].astype(np.int64)  # samples on which the unit stays silent
    rest = left - d[..., None]
    missed = (
        log_factorial[left]
        - log_factorial[np.maximum(rest, 0)]
        - (log_factorial[D] - log_factorial[D - d])[..., None]
    )
    silent = np.where(rest >= 0, np.exp(np.minimum(missed, 0.0)), 0.0)
    return tied.N - silent @ tied.n[seen]


def rarefy(active: NDArray[np.int64], samples: NDArray[np.int64], d: ArrayLike) -> Rarefaction:
    """`expected_subset_working` of block counts, with grouped jackknife standard errors.

    Args:
        active: (B, N), samples of each block that activate each unit.
        samples: (B,), samples in each block, at least one in all.
        d: whole numbers in 0..D, shape (G,). Where fewer than d samples are left without a
            block, all that are left are used.
    """
    active, samples = filled_blocks(active, samples)
    counts, D = active.sum(0), int(samples.sum())
    d = np.asarray(d, dtype=np.int64)
    working = expected_subset_working(counts, D, d)
    if len(samples) < 2:
        reason = "a standard error needs two non-empty blocks"
        return Rarefaction(d=d, working=working, stderr=None, reason=reason)
    without = [
        expected_subset_working(counts - block, D - int(size), np.minimum(d, D - size))
        for block, size in zip(active, samples, strict=True)
    ]
    return Rarefaction(d=d, working=working, stderr=delete_block_stderr(working, without, samples))


def occupancy(counts: ArrayLike, D: int) -> NDArray[np.int64]:
    """Q_k, units active on exactly k of the D samples, for k = 0..D: int64 (D + 1,)."""
    tied = tie(counts, D)
    Q = np.zeros(D + 1, dtype=np.int64)
    Q[tied.k.astype(np.int64)] = tied.n.astype(np.int64)
    return Q


def log_grid(D: int, points: int = 40) -> NDArray[np.int64]:
    """At most `points` different whole numbers from 1 to D, evenly spaced in their logarithm."""
    if D < 1:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.rint(np.geomspace(1, D, points)).astype(np.int64))
