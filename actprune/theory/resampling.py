"""Standard errors of statistics of counts: delete one block of samples at a time.

Never a bootstrap over samples: drawing with replacement loses the units seen exactly once, and
with them K, Q_1 and everything built on them (ours; a bootstrap's interval for K can exclude K).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actprune.theory._blocks import filled_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its standard error, or the reason why one of them does not exist."""

    value: float | None
    stderr: float | None  # in the units of `value`
    reason: str | None = None


def delete_block_stderr(
    value: ArrayLike, without: ArrayLike, sizes: ArrayLike
) -> NDArray[np.float64]:
    """Standard error of a statistic from its values with one block left out.

    Args:
        value: the statistic on all blocks, any shape S.
        without: (g, *S), its value without block j, g >= 2.
        sizes: (g,), samples in each block, > 0.

    With h_j = n / m_j the pseudo-values are h_j t - (h_j - 1) t_(j), t_J = g t - sum_j (1 - m_j/n)
    t_(j), and the variance is the mean over j of (pseudo_j - t_J)^2 / (h_j - 1). For equal blocks
    it is (g - 1)/g sum_j (t_(j) - mean)^2.

    Busing, Meijer & van der Leeden (1999), Statistics and Computing 9, 3-8.
    """
    value, without = np.asarray(value, dtype=np.float64), np.asarray(without, dtype=np.float64)
    sizes = np.asarray(sizes, dtype=np.float64)
    ratio = (sizes.sum() / sizes).reshape(-1, *[1] * value.ndim)
    pseudo = ratio * value - (ratio - 1) * without
    centre = len(sizes) * value - ((1 - 1 / ratio) * without).sum(0)
    return np.sqrt(((pseudo - centre) ** 2 / (ratio - 1)).mean(0))


def jackknife(
    statistic: Callable[[NDArray[np.int64], int], float],
    active: NDArray[np.int64],
    samples: NDArray[np.int64],
) -> Estimate:
    """A statistic of the counts D_i and of D, with its grouped delete-one-block standard error.

    Args:
        statistic: takes counts (N,) and the number of samples behind them.
        active: (B, N), samples of each block that activate each unit.
        samples: (B,), samples in each block; blocks of documents where samples are correlated.
    """
    active, samples = filled_blocks(active, samples)
    counts, D = active.sum(0), int(samples.sum())
    if D == 0:
        return Estimate(value=None, stderr=None, reason="no samples")
    value = float(statistic(counts, D))
    if len(samples) < 2:
        reason = "a standard error needs two non-empty blocks"
        return Estimate(value=value, stderr=None, reason=reason)
    without = [
        float(statistic(counts - block, D - int(size)))
        for block, size in zip(active, samples, strict=True)
    ]
    return Estimate(value=value, stderr=float(delete_block_stderr(value, without, samples)))
