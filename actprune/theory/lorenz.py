"""How unequally the units share the activations, and what the rarest of them carry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv

from actprune.errors import ActpruneError
from actprune.theory._gamma import log_rising


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Lorenz:
    """The Lorenz curve of the units' activation counts.

    In-sample: units are ranked by the counts that are added up, so the low end is too low for
    fresh samples. For what a cut would remove use `removed_share`.
    """

    fractions: NDArray[np.float64]  # share of the units, rarest first, 0 to 1
    shares: NDArray[np.float64]  # share of all activations they carry, 0 to 1; 0 if there are none
    gini: float | None  # 0 (all alike) to (N - 1)/N (one carries all); None without activations
    effective_units: float | None  # 1 / sum w^2, w the units' shares: 1 to N; None likewise
    reason: str | None = None


def lorenz_curve(counts: ArrayLike, fractions: ArrayLike) -> Lorenz:
    """Share of all activations carried by the rarest fractions of the units.

    Args:
        counts: (N,), activations of each unit, samples (D_i) or positions (T_i), >= 0.
        fractions: of the units, 0 to 1; between two units the curve is linear.

    Lorenz (1905), Publ. Am. Stat. Assoc. 9, 209-219; effective number of units 1 / sum w^2 as in
    EMP (arXiv 2509.25606), here of activation counts.
    """
    counts = np.sort(np.asarray(counts, dtype=np.float64))
    fractions = np.asarray(fractions, dtype=np.float64)
    N, total = len(counts), counts.sum()
    if N == 0 or counts[0] < 0:
        raise ActpruneError("A Lorenz curve needs at least one unit and counts >= 0.")
    if total == 0:
        return Lorenz(
            fractions=fractions,
            shares=np.zeros_like(fractions),
            gini=None,
            effective_units=None,
            reason="no unit was ever active",
        )
    w = counts / total
    curve = np.concatenate([[0.0], np.cumsum(w)])
    curve[-1] = 1.0
    rank = np.arange(1, N + 1)
    return Lorenz(
        fractions=fractions,
        shares=np.interp(fractions, np.arange(N + 1) / N, curve),
        gini=max(0.0, float(2 * (rank @ w) / N - (N + 1) / N)),
        effective_units=float(1 / (w @ w)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedShare:
    """Share of all activations that the removed units carry, as expected on fresh samples."""

    share: float  # 0 to 1
    stderr: float  # spread of the units' rates given their counts, b and M; not of b and M


def removed_share(
    counts: ArrayLike,
    removed: ArrayLike,
    *,
    D: int,
    b: float,
    M: float,
    pi0: float = 0.0,
    pi1: float = 0.0,
) -> RemovedShare:
    """sum_removed E[p_i | D_i] / sum_all E[p_i | D_i], for units chosen by their counts (ours).

    Args:
        counts: int64 (N,), samples that activate each unit, over D samples.
        removed: bool (N,).
        D: samples, >= 1.
        b, M: 0 < b < M of the fitted (inflated) beta-binomial.
        pi0, pi1: its shares of dead and always-on units.

    Without inflation E[p_i | D_i] = (b + D_i)/(M + D), so the share is sum_removed (b + D_i) /
    sum_all (b + D_i). With it a silent unit is live with probability w = q z0/(pi0 + q z0), an
    always-on count likewise. The standard error is the delta method on the units' posterior
    variances; fresh counts scatter around the share in addition.
    """
    removed = np.asarray(removed, dtype=bool)
    mean, variance = posterior_rates(counts, D=D, b=b, M=M, pi0=pi0, pi1=pi1)
    total = mean.sum()
    if total == 0:
        return RemovedShare(share=0.0, stderr=0.0)
    share = float(mean[removed].sum() / total)
    spread = (removed - share) ** 2 @ variance.clip(0)
    return RemovedShare(share=share, stderr=float(np.sqrt(spread) / total))


def posterior_rates(
    counts: ArrayLike, *, D: int, b: float, M: float, pi0: float = 0.0, pi1: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of each unit's rate given its count, (N,) each; as in `removed_share`."""
    counts = np.asarray(counts)
    if not (0 < b < M and min(pi0, pi1) >= 0 and pi0 + pi1 <= 1 and D >= 1):
        raise ActpruneError(f"Needs 0 < b < M, pi0 + pi1 <= 1, D >= 1, got {b=}, {M=}, {D=}.")
    live = max(0.0, 1.0 - pi0 - pi1)
    all_silent = live * np.exp(log_rising(M - b, D) - log_rising(M, D))
    all_on = live * np.exp(log_rising(b, D) - log_rising(M, D))
    w = np.ones(counts.shape)  # chance that the unit is live
    if pi0 > 0:
        w[counts == 0] = all_silent / (pi0 + all_silent)
    if pi1 > 0:
        w[counts == D] = all_on / (pi1 + all_on)
    on = (counts == D) & (pi1 > 0)
    mean_live = (b + counts) / (M + D)
    square_live = mean_live * (b + counts + 1) / (M + D + 1)
    mean = w * mean_live + np.where(on, 1 - w, 0.0)
    return mean, w * square_live + np.where(on, 1 - w, 0.0) - mean**2


def true_rate_lorenz(
    f: ArrayLike, *, b: float, M: float, pi0: float = 0.0, pi1: float = 0.0
) -> NDArray[np.float64]:
    """Lorenz curve of the true rates of an inflated Beta(b, M - b) population (ours).

    Only for units ranked by their unknown true rates: for units ranked by counts the removed
    share is much larger, use `removed_share`.

    Args:
        f: fractions of the units, 0 to 1, any shape.
        b, M, pi0, pi1: as in `removed_share`.

    [q m I_x(b + 1, M - b) + max(0, f - 1 + pi1)] / [q m + pi1], q = 1 - pi0 - pi1, m = b/M, x the
    Beta(b, M - b) quantile of (f - pi0)/q clipped to [0, 1]. All dead (pi0 = 1): 0.
    """
    if not (0 < b < M and min(pi0, pi1) >= 0 and pi0 + pi1 <= 1):
        raise ActpruneError(f"Needs 0 < b < M and pi0 + pi1 <= 1, got {b=}, {M=}, {pi0=}, {pi1=}.")
    f = np.asarray(f, dtype=np.float64)
    live = max(0.0, 1.0 - pi0 - pi1)
    total = live * b / M + pi1
    if total == 0:
        return np.zeros_like(f)
    carried = np.maximum(0.0, f - 1 + pi1)
    if live > 0:
        x = betaincinv(b, M - b, ((f - pi0) / live).clip(0, 1))
        carried = carried + live * b / M * betainc(b + 1, M - b, x)
    return carried / total
