"""The interval of a mean by resampling."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2_000


def bootstrap_mean(values: np.ndarray, *, level: float, seed: int) -> tuple[float, float]:
    """Two-sided percentile interval of the mean of per-sample values, shape (n,)."""
    rng = np.random.default_rng(seed)
    n = len(values)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        means[i] = values[rng.integers(0, n, n)].mean()
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
