"""Counts with their ties: N units usually show far fewer different counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actprune.errors import ActpruneError
from actprune.theory.betabinomial import log_choose


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Tied:
    """Different counts and how many units show each; 0 and D are always listed."""

    k: NDArray[np.float64]  # ascending, first 0, last D
    n: NDArray[np.float64]  # units at each count, >= 0
    choose: NDArray[np.float64]  # ln of the binomial coefficient D over k
    D: int
    N: int

    @property
    def silent(self) -> int:
        """Units with count 0."""
        return int(self.n[0])

    @property
    def full(self) -> int:
        """Units with count D."""
        return int(self.n[-1])

    @property
    def between(self) -> int:
        """Units with a count strictly between."""
        return self.N - self.silent - self.full

    @property
    def mean(self) -> float:
        """Mean rate over all units, 0 to 1."""
        return float(self.n @ self.k / (self.N * self.D))

    def moments(self, *, inner: bool = False) -> tuple[float, float]:
        """(mean rate, M) of a beta-binomial with the counts' mean and variance, M in [.05, 1e4 D].

        A start for the optimizer, kept off the borders. `inner` leaves out the counts 0 and D.
        """
        n = self.n.copy()
        if inner:
            n[[0, -1]] = 0
        total = n.sum()
        x = self.k / self.D
        mean = float(np.clip(n @ x / total, 0.5 / (self.D + 1), 1 - 0.5 / (self.D + 1)))
        variance = float(n @ (x - mean) ** 2 / total)
        excess = variance * self.D / (mean * (1 - mean)) - 1  # (D - 1) / (M + 1)
        top = 1e4 * self.D
        M = (self.D - 1) / excess - 1 if excess > (self.D - 1) / top else top
        return mean, float(np.clip(M, 0.05, top))


def tie(counts: ArrayLike, D: int) -> Tied:
    """Check counts of shape (N,), whole and in 0..D, and gather equal ones.

    Raises:
        ActpruneError: if there is no unit, no sample, or a count is out of range.
    """
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.size == 0 or not np.issubdtype(counts.dtype, np.integer):
        raise ActpruneError(
            f"counts must hold one integer per unit, got {counts.dtype} of shape {counts.shape}."
        )
    if D < 1:
        raise ActpruneError(f"Counts need at least one sample, got D={D}.")
    if counts.min() < 0 or counts.max() > D:
        raise ActpruneError(
            f"A unit's count must lie in 0..D={D}, got {counts.min()} to {counts.max()}: "
            "counts and D must come from the same samples."
        )
    k, n = np.unique(np.concatenate([[0, D], counts]), return_counts=True)
    n = n.astype(np.float64)
    n[[0, -1]] -= 1
    k = k.astype(np.float64)
    return Tied(k=k, n=n, choose=log_choose(D, k), D=D, N=counts.size)
