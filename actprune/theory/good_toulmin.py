"""Good and Toulmin's extrapolation of K(D), without a law; smoothed beyond twice the samples."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, ndtri
from scipy.stats import nbinom

from actprune.errors import ActpruneError
from actprune.theory._tied import Tied, tie
from actprune.theory.extrapolation import Extrapolation


def good_toulmin_working(
    counts: ArrayLike, D: int, D_new: int, level: float = 0.95
) -> Extrapolation:
    """K - sum_k (-t)^k P(L >= k) Q_k over the units with D_i <= D/2, t = (D' - D)/D.

    Args:
        counts: int64 (N,), samples that activate each unit.
        D: samples, >= 1.
        D_new: D', samples in all, >= D.
        level: of the interval.

    P(L >= k) is 1 up to D' = 2D: Good & Toulmin (1956), Biometrika 43, 45-63. Beyond it L is
    binomial with r = log_3(n t^2/(t - 1))/2 trials of probability 2/(2 + t), n the firings of the
    units used: Orlitsky, Suresh & Wu (2016), PNAS 113, 13283-13288. Units near always-on
    have terms that do not converge and are left out (ours): they work already. Clipped to K..N.

    The interval is normal with variance sum_k h_k^2 Q_k + new, h_k the coefficient of Q_k (Efron &
    Thisted 1976, Biometrika 63, 435-447, and the noise of the new units); beyond D' = 2D it leaves
    out the bias that smoothing adds.
    """
    tied = tie(counts, D)
    if D_new < D:
        raise ActpruneError(f"Extrapolation needs 1 <= D <= D', got D={D}, D'={D_new}.")
    K, t = float(tied.N - tied.silent), (D_new - D) / D
    if t == 0 or tied.silent == 0:
        note = "no more samples" if t == 0 else "no unit is left to fire"
        return _result(D, D_new, K, (K, K), level, note)
    k, n = _usable(tied)
    if n.sum() == 0:
        return _result(D, D_new, K, None, level, "no unit fired on at most half of the samples")
    h = _coefficients(k, t, float(k @ n))
    new = float(np.clip(h @ n, 0.0, tied.silent))
    reach = float(ndtri(0.5 + level / 2)) * math.sqrt(float(h**2 @ n) + new)
    ends = K + max(0.0, new - reach), K + min(float(tied.silent), new + reach)
    note = "" if t <= 1 else "smoothed; the interval leaves out the bias of smoothing"
    return _result(D, D_new, K + new, ends, level, note)


def linear_bound(counts: ArrayLike, D: int, D_new: int, level: float = 0.95) -> float:
    """Upper prediction bound on K(D') that no law of the rates can break, in units (ours).

    Whatever the rates, E[new units] = sum (1 - p)^D (1 - (1 - p)^(D' - D)) <= (D' - D) sum p (1 -
    p)^D <= t E[Q_1], t = (D' - D)/D. Both counts are Poisson or narrower for independent units, so
    the new units exceed the negative binomial quantile(level; Q_1 + 1, 1/(1 + t)) with probability
    at most 1 - level. One-sided, arguments as in `good_toulmin_working`; at most N. Units that fire
    together on the same samples make it too narrow.
    """
    tied = tie(counts, D)
    if D_new < D:
        raise ActpruneError(f"Extrapolation needs 1 <= D <= D', got D={D}, D'={D_new}.")
    K, t = tied.N - tied.silent, (D_new - D) / D
    if t == 0 or tied.silent == 0:
        return float(K)
    Q1 = float(tied.n[tied.k == 1].sum())
    new = float(nbinom.ppf(level, Q1 + 1, 1 / (1 + t)))
    return K + min(float(tied.silent), new)


def _usable(tied: Tied) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = (tied.k >= 1) & (tied.k <= max(1, tied.D / 2)) & (tied.n > 0)
    return tied.k[low], tied.n[low]


def _coefficients(k: NDArray[np.float64], t: float, n: float) -> NDArray[np.float64]:
    """-(-t)^k P(L >= k), of each k."""
    sign = np.where(k % 2 == 1, 1.0, -1.0)
    if t <= 1:
        return sign * np.exp(k * math.log(t))
    r = math.floor(math.log(max(1.0, n * t * t / (t - 1)), 3) / 2)
    r = max(1, r)  # at least Good's first term
    tail = bdtrc(np.minimum(k - 1, r), r, 2 / (2 + t))
    kept = k <= r
    power = np.exp(np.where(kept, k, 0.0) * math.log(t))
    return np.where(kept, sign * power * np.where(kept, tail, 0.0), 0.0)


def _result(
    D: int, D_new: int, working: float, ends: tuple[float, float] | None, level: float, note: str
) -> Extrapolation:
    low, high = ends if ends else (None, None)
    return Extrapolation(
        method="good-toulmin", D=D, D_new=D_new, working=working, low=low, high=high,
        level=level, note=note,
    )  # fmt: skip
