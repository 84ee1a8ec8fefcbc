"""The activation urn: how many units work after D samples, published and exact.

[ZS] is Zhang & Sui, arXiv 2412.18073 (2024). Their rule makes a unit that fired on D_i of D
samples fire next with probability (D_i + b) / (D + M), M = b N / c: N units, c of them active per
sample, b > 0 the rich-get-richer constant. What is marked "ours" follows from that rule exactly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from actprune.errors import ActpruneError
from actprune.theory._gamma import digamma_rising, log_rising


def crossover(*, N: int, b: float, c: float) -> float:
    """M = b N / c in samples: the prior mass of one unit's urn, and the D* of [ZS].

    A smooth crossover, not a transition (ours); rho(D*) ~ 2^-b holds for M >> 1 and c << N only.
    On dense sites it lies below one sample and says nothing about the calibration set.
    """
    _check(N, b, c)
    return b * N / c


def published_free_share(D: ArrayLike, *, N: int, b: float, c: float) -> NDArray[np.float64]:
    """rho = (b N / (c D + b N))^b, the free share after D samples as published [ZS].

    Args:
        D: samples, >= 0, any shape.
        N: units, >= 1.
        b: > 0.
        c: units active per sample, 0 < c <= N.

    Raises:
        ActpruneError: if a parameter is out of range.
    """
    M = crossover(N=N, b=b, c=c)
    return np.exp(-b * np.log1p(_samples(D) / M))


def published_working(D: ArrayLike, *, N: int, b: float, c: float) -> NDArray[np.float64]:
    """K(D) ~ N (1 - (b N / (c D + b N))^b), as published [ZS]; arguments as above.

    The large-M limit of `expected_working`, always below it (ours).
    """
    M = crossover(N=N, b=b, c=c)
    return -N * np.expm1(-b * np.log1p(_samples(D) / M))


def free_share(D: ArrayLike, *, N: int, b: float, c: float) -> NDArray[np.float64]:
    """The exact expected free share G(M) G(D + M - b) / (G(M - b) G(D + M)), ours; as above."""
    return np.exp(_log_free_share(D, N=N, b=b, c=c))


def expected_working(D: ArrayLike, *, N: int, b: float, c: float) -> NDArray[np.float64]:
    """The exact E[K(D)] of the urn in units, ours; arguments as in `published_free_share`."""
    return -N * np.expm1(_log_free_share(D, N=N, b=b, c=c))


@dataclass(frozen=True, slots=True, kw_only=True)
class Elasticities:
    """d ln rho / d ln N and d ln rho / d ln D of the free share rho, exact beside published."""

    exact_N: float | None  # >= 0 for c_exponent <= 1; None where rho is 0
    published_N: float
    exact_D: float | None  # <= 0; None where rho is 0
    published_D: float
    reason: str | None = None  # why the exact ones do not exist


def elasticities(*, N: int, b: float, c: float, D: float, c_exponent: float = 0.0) -> Elasticities:
    """How the free share answers to the width N and to the samples D.

    rho depends on N only through M = b N / c, so if c grows like N^g both N-elasticities carry a
    factor 1 - g: at constant activity c/N (g = 1) the width does not matter at all.

    Args:
        N, b, c: as in `published_free_share`.
        D: samples, >= 0.
        c_exponent: g, how c grows with N; 0 is the fixed c of [ZS].

    Published: b c D / (c D + b N) and its negative [ZS]. Exact (ours): M (psi(M) - psi(M - b) +
    psi(D + M - b) - psi(D + M)) and D (psi(D + M - b) - psi(D + M)), psi the digamma function.
    """
    M = crossover(N=N, b=b, c=c)
    D = float(_samples(D))
    published = b * D / (D + M)
    factor = 1.0 - c_exponent
    if D == 0:  # every unit is free, whatever N: ln rho = 0
        return Elasticities(exact_N=0.0, published_N=0.0, exact_D=0.0, published_D=0.0)
    if c == N:
        return Elasticities(
            exact_N=None,
            published_N=factor * published,
            exact_D=None,
            published_D=-published,
            reason="c = N: every unit fires on every sample, rho is 0 and has no logarithm.",
        )
    rest = b * (N - c) / c  # M - b without cancellation
    return Elasticities(
        exact_N=factor * M * float(digamma_rising(rest, D) - digamma_rising(M, D)),
        published_N=factor * published,
        exact_D=-D * float(digamma_rising(D + rest, b)),
        published_D=-published,
    )


def next_firing(k: ArrayLike, *, D: int, b: float, M: float) -> NDArray[np.float64]:
    """(b + k) / (M + D): chance that a unit seen active on k of D samples fires next [ZS]."""
    return (b + np.asarray(k, dtype=np.float64)) / (M + D)


def free_next_firing(*, D: int, b: float, M: float, pi0: float = 0.0, pi1: float = 0.0) -> float:
    """Chance that a unit with no firing on D samples fires on the next one.

    Args:
        D: samples, >= 0.
        b, M: Beta parameters b and M - b of the rates of live units, 0 < b < M.
        pi0, pi1: shares of dead and of always-on units, >= 0, sum <= 1.

    Without inflation b / (M + D) [ZS]. With it w b / (M + D), w = q z / (pi0 + q z), q = 1 - pi0
    - pi1, z = B(b, M - b + D) / B(b, M - b) (ours). At D = 0 no unit has shown anything, so the
    always-on ones count too: q b / M + pi1. Where no unit can be free (pi1 = 1) it is 0.
    """
    if not (0 < b < M and min(pi0, pi1) >= 0 and pi0 + pi1 <= 1 and D >= 0):
        raise ActpruneError(
            "free_next_firing needs 0 < b < M, pi0 + pi1 <= 1 and D >= 0, "
            f"got b={b}, M={M}, pi0={pi0}, pi1={pi1}, D={D}."
        )
    live = max(0.0, 1.0 - pi0 - pi1)
    if D == 0:
        return live * b / M + pi1
    if live == 0:
        return 0.0
    if pi0 == 0:
        return b / (M + D)
    z = float(np.exp(log_rising(M - b, D) - log_rising(M, D)))
    return live * z / (pi0 + live * z) * b / (M + D)


def _log_free_share(D: ArrayLike, *, N: int, b: float, c: float) -> NDArray[np.float64]:
    M = crossover(N=N, b=b, c=c)
    D = _samples(D)
    if c == N:  # M = b: a unit fires on every sample, the first included
        return np.where(D > 0, -np.inf, 0.0)
    return log_rising(b * (N - c) / c, D) - log_rising(M, D)


def _samples(D: ArrayLike) -> NDArray[np.float64]:
    D = np.asarray(D, dtype=np.float64)
    if not (np.isfinite(D).all() and (D >= 0).all()):
        raise ActpruneError(f"D must hold finite numbers of samples >= 0, got {D}.")
    return D


def _check(N: int, b: float, c: float) -> None:
    if not (N >= 1 and 0 < b < np.inf and 0 < c <= N):
        raise ActpruneError(
            f"The urn needs N >= 1 units, b > 0 and 0 < c <= N active ones, got {N=}, {b=}, {c=}."
        )
