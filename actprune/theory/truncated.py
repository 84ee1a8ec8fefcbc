"""The published urn's sparse limit, cut off at D: a unit cannot fire on more samples than there are.

Zhang & Sui (arXiv 2412.18073) work in the limit of rare firings, where a count is negative
binomial with shape b and mean c D / N = b D / M and its zero class is exactly their
rho = (1 + D / M)^-b. The truncation at D is ours: without it the law puts mass beyond D.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaln, gammaincc, gammaln, hyp2f1, xlog1py, xlogy

from actprune.theory._gamma import log_rising

_SMALL = 1e-250  # below it the distribution function is taken from its series, not its value


def negative_binomial_log_pmf(
    k: ArrayLike, D: int, b: ArrayLike, M: ArrayLike
) -> NDArray[np.float64]:
    """ln P(k | k <= D), k whole in 0..D, b > 0, M >= 0 in samples; all but D broadcast.

    M = 0 is the limit of an infinite mean: the truncated power law (b)_k / k! ~ k^(b - 1).
    """
    k, b, M = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (k, b, M)))
    power = log_rising(b, k) - gammaln(k + 1)
    if (M == 0).any():  # sum over k <= D of (b)_k / k! = (b + 1)_D / D!
        return power - log_rising(b + 1, D) + gammaln(D + 1)
    p = M / (M + D)
    return power + b * np.log(p) + xlog1py(k, -p) - _log_cdf(D, b, p)


def poisson_log_pmf(k: ArrayLike, D: int, rate: float) -> NDArray[np.float64]:
    """ln P(k | k <= D) of a Poisson count of mean rate D, rate >= 0 per sample: b -> infinity."""
    k = np.asarray(k, dtype=np.float64)
    mean = rate * D
    below = gammaincc(D + 1.0, mean)
    if below > _SMALL:
        return xlogy(k, mean) - mean - gammaln(k + 1) - np.log(below)
    j = np.arange(D + 1)
    terms = xlogy(j, mean) - gammaln(j + 1)
    return xlogy(k, mean) - gammaln(k + 1) - np.logaddexp.reduce(terms)


def _log_cdf(
    D: int, b: NDArray[np.float64], p: NDArray[np.float64]
) -> NDArray[np.float64]:
    below = np.asarray(betainc(b, D + 1.0, p))
    small = below <= _SMALL
    out = np.log(np.where(small, 1.0, below))
    if small.any():  # I_p(b, D + 1) = p^b (1-p)^(D+1) F(b+D+1, 1; b+1; p) / (b B(b, D+1))
        b, p = b[small], p[small]
        series = np.log(hyp2f1(b + D + 1, 1.0, b + 1, p))
        out[small] = b * np.log(p) + (D + 1) * np.log1p(-p) - np.log(b) - betaln(b, D + 1) + series
    return out
