"""Counts drawn from known laws by numpy alone: nothing of the package is used."""

import numpy as np
from numpy.typing import NDArray


def rates(
    rng: np.random.Generator, N: int, b: float, M: float, pi0: float = 0, pi1: float = 0
) -> NDArray[np.float64]:
    """Rates of N units: dead, always on, or Beta(b, M - b); M = inf means one rate b."""
    p = np.full(N, b) if np.isinf(M) else rng.beta(b, M - b, N)
    kind = rng.random(N)
    p[kind < pi0] = 0.0
    p[kind >= 1 - pi1] = 1.0
    return p


def poisson_gamma(
    rng: np.random.Generator, N: int, D: int, b: float, M: float
) -> NDArray[np.int64]:
    """Counts of the urn's sparse limit: Gamma(b, M) rates, Poisson counts, none above D."""
    kept = np.zeros(0, dtype=np.int64)
    while len(kept) < N:
        drawn = rng.poisson(rng.gamma(b, 1 / M, N) * D)
        kept = np.concatenate([kept, drawn[drawn <= D]])
    return kept[:N]


def urn(
    rng: np.random.Generator, runs: int, *, N: int, b: float, c: float, D: int
) -> NDArray[np.int64]:
    """K(D) of `runs` urns that draw every sample from the rule (D_i + b)/(D + bN/c) itself."""
    counts = np.zeros((runs, N), dtype=np.float32)
    for seen in range(D):
        p = (counts + np.float32(b)) / np.float32(seen + b * N / c)
        counts += rng.random(counts.shape, dtype=np.float32) < p
    return (counts > 0).sum(1)


def weighted(rng: np.random.Generator, n: int, weight: NDArray[np.float64]) -> NDArray[np.int64]:
    """n whole numbers k = 1, 2, ... with chances proportional to weight[k - 1]."""
    edges = np.cumsum(weight / weight.sum())
    return np.searchsorted(edges, rng.random(n) * edges[-1], side="right") + 1
