"""Differences of log-gamma and digamma that stay accurate when both arguments are huge.

The binomial limit of every urn is M -> infinity, where ln G(M + D) - ln G(M) computed by plain
subtraction loses all its digits. Above `_LARGE` both differences use Stirling's series instead.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, gammaln

_LARGE = 32.0  # the first term left out of either series is below 2e-14 here


def log_rising(x: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """ln of the rising factorial x (x + 1) ... (x + n - 1) = ln G(x + n) - ln G(x).

    Args:
        x: > 0, any shape.
        n: >= 0, not necessarily whole; broadcast against `x`.
    """
    x, n = np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64)
    large = x >= _LARGE
    if large.all():
        return _stirling(x, n)
    plain = gammaln(x + n) - gammaln(x)
    if not large.any():
        return plain
    return np.where(large, _stirling(np.maximum(x, _LARGE), n), plain)


def digamma_rising(x: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """The derivative of `log_rising` by x: digamma(x + n) - digamma(x), arguments as there."""
    x, n = np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64)
    large = x >= _LARGE
    if large.all():
        return _digamma_series(x, n)
    plain = digamma(x + n) - digamma(x)
    if not large.any():
        return plain
    return np.where(large, _digamma_series(np.maximum(x, _LARGE), n), plain)


def _stirling(x: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    y = x + n
    correction = _stirling_tail(y) - _stirling_tail(x)
    return n * np.log(x) + (y - 0.5) * np.log1p(n / x) - n + correction


def _stirling_tail(x: NDArray[np.float64]) -> NDArray[np.float64]:
    u = 1 / (x * x)
    return (1 / 12 - u * (1 / 360 - u / 1260)) / x


def _digamma_series(x: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log1p(n / x) + _digamma_tail(x + n) - _digamma_tail(x)


def _digamma_tail(x: NDArray[np.float64]) -> NDArray[np.float64]:
    u = 1 / (x * x)
    return -0.5 / x - u * (1 / 12 - u * (1 / 120 - u / 252))
