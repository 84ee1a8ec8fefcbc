"""The zero/one-inflated beta-binomial: counts of units whose rates follow a Beta law.

A live unit's rate is p ~ Beta(b, M - b) and its count Binomial(D, p); a share pi0 of the units is
dead (count 0), a share pi1 always on (count D). Ours; pi0 = pi1 = 0 is the exact marginal of the
urn of Zhang & Sui (arXiv 2412.18073). Everything is float64.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, xlog1py, xlogy

from actprune.errors import ActpruneError
from actprune.theory._gamma import log_rising


def log_pmf(
    k: ArrayLike, *, D: int, b: float, M: float, pi0: float = 0.0, pi1: float = 0.0
) -> NDArray[np.float64]:
    """ln P(count = k), in nats; -inf outside 0..D.

    Args:
        k: whole numbers, any shape.
        D: samples, >= 0.
        b, M: 0 < b < M, the Beta parameters b and M - b of the live units' rates.
        pi0, pi1: shares of dead and always-on units, >= 0, sum <= 1.

    Raises:
        ActpruneError: if a parameter is out of range.
    """
    if not (0 < b < M and min(pi0, pi1) >= 0 and pi0 + pi1 <= 1 and D >= 0):
        raise ActpruneError(
            "The inflated beta-binomial needs 0 < b < M, pi0, pi1 >= 0, pi0 + pi1 <= 1 and "
            f"D >= 0, got b={b}, M={M}, pi0={pi0}, pi1={pi1}, D={D}."
        )
    k = np.asarray(k)
    inside = (k >= 0) & (k <= D)
    at = np.where(inside, k, 0)
    live = beta_binomial_log_pmf(at, D, b, M - b)
    return np.where(inside, inflate(live, at, D, pi0, pi1), -np.inf)


def cdf(
    k: ArrayLike, *, D: int, b: float, M: float, pi0: float = 0.0, pi1: float = 0.0
) -> NDArray[np.float64]:
    """P(count <= k), arguments as in `log_pmf`; time and memory grow like D."""
    pmf = np.exp(log_pmf(np.arange(D + 1), D=D, b=b, M=M, pi0=pi0, pi1=pi1))
    below = np.concatenate([[0.0], np.minimum(np.cumsum(pmf), 1.0)])
    below[-1] = 1.0
    return below[np.clip(np.asarray(k) + 1, 0, D + 1)]


def sf(
    k: ArrayLike, *, D: int, b: float, M: float, pi0: float = 0.0, pi1: float = 0.0
) -> NDArray[np.float64]:
    """P(count > k), summed from the top so that small tails keep their digits; as `cdf`."""
    pmf = np.exp(log_pmf(np.arange(D + 1), D=D, b=b, M=M, pi0=pi0, pi1=pi1))
    above = np.concatenate([np.minimum(np.cumsum(pmf[::-1]), 1.0)[::-1], [0.0]])
    above[0] = 1.0
    return above[np.clip(np.asarray(k) + 1, 0, D + 1)]


def log_choose(D: ArrayLike, k: ArrayLike) -> NDArray[np.float64]:
    """ln of the binomial coefficient D over k, for 0 <= k <= D."""
    D, k = np.asarray(D, dtype=np.float64), np.asarray(k, dtype=np.float64)
    return gammaln(D + 1) - gammaln(k + 1) - gammaln(D - k + 1)


def beta_binomial_log_pmf(
    k: ArrayLike, D: ArrayLike, a: ArrayLike, a_prime: ArrayLike
) -> NDArray[np.float64]:
    """ln C(D, k) B(k + a, D - k + a') / B(a, a') for 0 <= k <= D; all arguments broadcast."""
    k, D = np.asarray(k, dtype=np.float64), np.asarray(D, dtype=np.float64)
    a, a_prime = np.asarray(a, dtype=np.float64), np.asarray(a_prime, dtype=np.float64)
    rising = log_rising(a, k) + log_rising(a_prime, D - k) - log_rising(a + a_prime, D)
    return log_choose(D, k) + rising


def binomial_log_pmf(k: ArrayLike, D: ArrayLike, p: float) -> NDArray[np.float64]:
    """ln C(D, k) p^k (1 - p)^(D - k) for 0 <= k <= D and 0 <= p <= 1: the limit M -> infinity."""
    k, D = np.asarray(k, dtype=np.float64), np.asarray(D, dtype=np.float64)
    return log_choose(D, k) + xlogy(k, p) + xlog1py(D - k, -p)


def inflate(
    live: NDArray[np.float64], k: ArrayLike, D: int, pi0: float, pi1: float
) -> NDArray[np.float64]:
    """ln of pi0 [k = 0] + pi1 [k = D] + (1 - pi0 - pi1) e^live, `live` in nats."""
    k = np.asarray(k)
    with np.errstate(divide="ignore"):  # ln 0 = -inf is meant
        log0, log1, log_live = np.log([pi0, pi1, max(0.0, 1.0 - pi0 - pi1)])
    mixed = log_live + live
    mixed = np.where(k == 0, np.logaddexp(mixed, log0), mixed)
    return np.where(k == D, np.logaddexp(mixed, log1), mixed)
