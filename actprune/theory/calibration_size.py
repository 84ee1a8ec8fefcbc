"""Is the calibration set too small for a site, and how many times (ours)?"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from actprune.theory._gamma import log_rising
from actprune.theory._tied import tie
from actprune.theory.count_fit import CountFit


@dataclass(frozen=True, slots=True, kw_only=True)
class TooSmall:
    """The calibration set cannot tell a site's free units from rare ones."""

    times: float  # how many times as many samples would do, if Q_1 grows no more; > 1
    needed: int  # samples, times D rounded up
    fitted: int | None  # samples the fitted law asks for; None without a law, or beyond 1e15
    Q1: int
    D: int
    tolerance: float  # firings of free units an input, thought harmless

    @property
    def message(self) -> str:
        """The warning in a sentence."""
        law = "" if self.fitted is None else f" ({self.fitted} by the fitted law)"
        return (
            f"calibration set too small by {self.times:.2g}x for this site: {self.Q1} units fired "
            f"on one of {self.D} samples only, so the next input fires about "
            f"{self.Q1 / self.D:.2g} units free here, over {self.tolerance:g}; about "
            f"{self.needed} samples would do{law}."
        )


def calibration_warning(
    counts: ArrayLike, D: int, *, tolerance: float = 0.01, fit: CountFit | None = None
) -> TooSmall | None:
    """A warning where Q_1/D is above the tolerance or D could not have shown it; None if fine.

    Args:
        counts: int64 (N,), samples that activate each unit; documents where samples are correlated.
        D: samples, >= 1.
        tolerance: firings of free units an input that do no harm, > 0.
        fit: the fitted law of the counts, for its own estimate of the samples needed.

    Q_1/D is the number of free units that the next input fires (Good 1953). It falls as D grows,
    whatever the rates; with Q_1 as it is it reaches the tolerance at Q_1/tolerance samples. Under
    the urn Q_1 grows up to D ~ M/b and shrinks like D^-b after it, so `fitted` may be either side
    of that. Q_1 < 3 is taken as 3, the rule of three: silence on D samples cannot bound a rate
    below 3/D. A site without a free unit gives None: nothing there is to be called free.
    """
    tied = tie(counts, D)
    if tied.silent == 0:
        return None
    Q1 = int(tied.n[tied.k == 1].sum())
    times = max(Q1, 3) / (D * tolerance)
    if times <= 1:
        return None
    return TooSmall(
        times=times,
        needed=math.ceil(times * D - 1e-9),
        fitted=None if fit is None else samples_by_law(fit, tolerance, least=D),
        Q1=Q1,
        D=D,
        tolerance=tolerance,
    )


def unseen_firings(fit: CountFit, d: float) -> float:
    """Firings of units silent on d samples that the next input brings, in units an input (ours).

    E[K(d + 1)] - E[K(d)] of the fitted law, without cancellation: N q z(d) b / (M + d).
    """
    live = fit.N * max(0.0, 1.0 - fit.pi0 - fit.pi1)
    if fit.mean is None or live == 0:
        return 0.0
    if fit.b is None or fit.M is None:
        silent = math.exp(d * math.log1p(-fit.mean)) if fit.mean < 1 else float(d == 0)
        return live * fit.mean * silent
    if fit.M == 0:
        return live * fit.mean if d == 0 else 0.0
    if fit.family == "urn":
        return (
            live
            * -float(np.expm1(-fit.b * np.log1p(1 / (fit.M + d))))
            * math.exp(-fit.b * math.log1p(d / fit.M))
        )
    silent = math.exp(float(log_rising(fit.M - fit.b, d) - log_rising(fit.M, d)))
    return live * silent * fit.b / (fit.M + d)


def samples_by_law(fit: CountFit, tolerance: float, *, least: int = 1) -> int | None:
    """The least d >= `least` at which the law's unseen firings are at most the tolerance.

    None where that is beyond 1e15 samples.
    """
    low, high = least - 1, max(1, least)
    while unseen_firings(fit, high) > tolerance:
        low, high = high, 2 * high
        if high > 10**15:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if unseen_firings(fit, middle) > tolerance:
            low = middle
        else:
            high = middle
    return high
