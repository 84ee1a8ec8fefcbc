"""Laws of K(D), the units that work after D samples, fitted by least squares.

Published: K = N (1 - (1 + D/M)^-b), M = bN/c (Zhang & Sui, arXiv 2412.18073). Exact: the mean of
the same urn without their limit (ours). The others are what anybody would try first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from actprune.theory import expected_working

Array = NDArray[np.float64]
ROUNDING = 1 / 12  # variance of a whole number about the real one that it stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class LawFit:
    """One law on one set of points."""

    law: str
    parameters: dict[str, float]
    rms: float  # of the residuals, in units
    r2: float  # 1 - residual / total sum of squares; NaN where K never varies
    aicc: float  # inf where the points are too few for the parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A curve K(D) of some parameters, each searched over its logarithm or as it is."""

    names: tuple[str, ...]
    curve: Callable[..., Array]  # (D, *parameters) -> K
    starts: Sequence[tuple[float, ...]]  # on the searched scale
    log: bool = True


def laws(N: int, c: float) -> dict[str, Law]:
    """The laws for a site of N units of which c are active a sample, as measured."""

    def exact(D: Array, b: float, rest: float) -> Array:
        return expected_working(D, N=N, b=b, c=b * N / (b + rest))

    def published(D: Array, b: float, M: float) -> Array:
        return -N * np.expm1(-b * np.log1p(D / M))

    two = [(math.log(b), math.log(M)) for b, M in ((0.1, 1.0), (1.0, 1.0), (0.3, 1e3))]
    one = [(math.log(b),) for b in (0.1, 2.0)]
    inside = min(c, N * (1 - 1e-9))
    return {
        "constant": Law(names=("K",), curve=lambda D, K: 0 * D + K, starts=[(math.log(N),)]),
        "published, c measured": Law(
            names=("b",), curve=lambda D, b: published(D, b, b * N / inside), starts=one
        ),
        "exact, c measured": Law(
            names=("b",), curve=lambda D, b: expected_working(D, N=N, b=b, c=inside), starts=one
        ),
        "published, c fitted": Law(names=("b", "M"), curve=published, starts=two),
        "exact, c fitted": Law(names=("b", "M - b"), curve=exact, starts=two),
        "exponential": Law(
            names=("scale",),
            curve=lambda D, scale: -N * np.expm1(-D / scale),
            starts=[(0.0,), (5.0,), (9.0,)],
        ),
        "line in log D": Law(
            names=("at 1", "a decade"),
            curve=lambda D, at, rise: at + rise * np.log10(D),
            starts=[(float(N), 0.0)],
            log=False,
        ),
        "power of D": Law(
            names=("at 1", "exponent"),
            curve=lambda D, at, p: at * np.exp(np.clip(p * np.log(D), -50, 50)),
            starts=[(float(N), 0.0), (N / 4, 0.1)],
            log=False,
        ),
    }


URN = ("published, c measured", "exact, c measured", "published, c fitted", "exact, c fitted")


def fit_laws(D: Array, K: Array, N: int, c: float, only: Iterable[str] = ()) -> dict[str, LawFit]:
    """Every law, or `only` some, fitted to the points (D, K).

    Args:
        D: samples, > 0; K: units that work, 0 to N; both (points,).
        N: units; c: active a sample, 0 < c <= N.

    AICc of normal residuals, whose sum of squares is at least what rounding K to whole units
    makes, so that points on a curve by chance do not decide.
    """
    known = laws(N, c)
    return {name: _fit(name, known[name], D, K) for name in only or known}


def _fit(name: str, law: Law, D: Array, K: Array) -> LawFit:
    def values(theta: Array) -> Array:
        real = np.exp(np.clip(theta, -30, 30)) if law.log else theta
        return law.curve(D, *real)

    found = [least_squares(lambda t: values(t) - K, start) for start in law.starts]
    best = min(found, key=lambda f: f.cost)
    rest = 2 * float(best.cost)
    n, k = len(K), len(law.names) + 1  # and the variance
    total = float((K - K.mean()) @ (K - K.mean()))
    small = n - k - 1
    spread = n * math.log(max(rest / n, ROUNDING))
    aicc = spread + 2 * k + 2 * k * (k + 1) / small if small > 0 else math.inf
    real = np.exp(np.clip(best.x, -30, 30)) if law.log else best.x
    return LawFit(
        law=name,
        parameters=dict(zip(law.names, map(float, real), strict=True)),
        rms=math.sqrt(rest / n),
        r2=1 - rest / total if total else math.nan,
        aicc=aicc,
    )
