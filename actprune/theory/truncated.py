"""The published urn's sparse limit, cut off at D: no unit fires on more samples than there are.

Zhang & Sui (arXiv 2412.18073) work in the limit of rare firings, where a count is negative
binomial with shape b and mean c D / N = b D / M and its zero class is exactly their
rho = (1 + D / M)^-b. The truncation at D is ours: without it the law puts mass beyond D.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaincc, gammaln, xlog1py, xlogy

from actprune.theory._gamma import log_rising


def negative_binomial_log_pmf(
    k: ArrayLike, D: int, b: ArrayLike, M: ArrayLike
) -> NDArray[np.float64]:
    """ln P(k | k <= D), in nats.

    Args:
        k: whole numbers in 0..D, broadcast against b and M.
        D: samples, >= 1.
        b, M: 0 < b <= M, M in samples: the mean before truncation is then at most D, and the
            probability of k <= D never small.
    """
    k, b, M = (np.asarray(v, dtype=np.float64) for v in (k, b, M))
    p = M / (M + D)
    # b ln p by log1p: p -> 1 for M >> D
    whole = log_rising(b, k) - gammaln(k + 1) - b * np.log1p(D / M) + xlog1py(k, -p)
    return whole - np.log(betainc(b, D + 1.0, p))


def poisson_log_pmf(k: ArrayLike, D: int, rate: float) -> NDArray[np.float64]:
    """ln P(k | k <= D) of a Poisson count of mean rate D, 0 <= rate <= 1: the limit b -> inf."""
    k = np.asarray(k, dtype=np.float64)
    mean = rate * D
    return xlogy(k, mean) - mean - gammaln(k + 1) - np.log(gammaincc(D + 1.0, mean))
