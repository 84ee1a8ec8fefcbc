"""What a site's fitted law says about its compressibility, and a model's from its sites (ours).

From the law alone: nothing here measures a loss, and a free unit is not a proved one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actprune.errors import ActpruneError
from actprune.theory._gamma import digamma_rising, log_rising
from actprune.theory.count_fit import CountFit
from actprune.theory.lorenz import true_rate_lorenz

Array = NDArray[np.float64]

_FRACTIONS = np.linspace(0.0, 1.0, 201)  # of the units, where Lorenz curves are kept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Compressibility:
    """Free shares, concentration and exponents of a site or of all sites of a model."""

    units: int
    D: int  # samples of the calibration set
    D_new: int  # D', samples to look ahead to
    free_now: float  # share of units expected silent on D samples, 0 to 1
    free_then: float  # and on D'
    never: float  # share that never fires, however many samples: pi0
    fractions: Array  # of the units, rarest true rate first, 0 to 1
    shares: Array  # of all firings they carry, 0 to 1: the Lorenz curve of true rates
    effective_units: float | None  # (sum p)^2 / sum p^2, 1 to N; None where nothing ever fires
    exponent_N: float | None  # d ln free share / d ln N; None where no unit is free
    exponent_D: float | None  # d ln free share / d ln D, <= 0
    c_exponent: float  # g: units active per sample grow like N^g; exponent_N has the factor 1 - g
    rates: tuple[float, float]  # sum of the units' rates and of their squares
    note: str = ""


def site_compressibility(fit: CountFit, *, D_new: int, c_exponent: float = 0.0) -> Compressibility:
    """Compressibility of one site from its fitted law.

    Args:
        fit: any family.
        D_new: D' >= D, samples to look ahead to.
        c_exponent: g, how the active units per sample grow with the width N. 0 is the fixed c of
            Zhang & Sui (arXiv 2412.18073); at g = 1 the width does not matter. Measure it.

    Free share rho(d) = pi0 + q z(d), z the chance that a live unit stays silent. exponent_D = q z'D
    / rho; exponent_N moves M = b N/c at b and c held, pi0 and pi1 held too. Beta rates: as in
    `urn.elasticities` times q z/rho. One shared rate c/N: exponent_N = (1 - g) q z D p/((1 - p)
    rho). The published urn: its own forms.

    Raises:
        ActpruneError: if D' < D.
    """
    if D_new < fit.D:
        raise ActpruneError(f"Looking ahead needs D' >= D, got D={fit.D}, D'={D_new}.")
    now, then = (_free_share(fit, d) for d in (fit.D, D_new))
    by_N, by_D = _exponents(fit, now)
    rates = _rates(fit)
    return Compressibility(
        units=fit.N,
        D=fit.D,
        D_new=D_new,
        free_now=now,
        free_then=then,
        never=_never(fit),
        fractions=_FRACTIONS,
        shares=_lorenz(fit, _FRACTIONS),
        effective_units=rates[0] ** 2 / rates[1] if rates[1] > 0 else None,
        exponent_N=None if by_N is None else (1 - c_exponent) * by_N,
        exponent_D=by_D,
        c_exponent=c_exponent,
        rates=rates,
        note="no unit is expected free: rho has no logarithm" if by_D is None else "",
    )


def model_compressibility(sites: Sequence[Compressibility]) -> Compressibility:
    """All sites together: shares over all units, units of different sites compared by their rates.

    The exponents are exact for all widths growing together: sites weighted by their free units.
    The Lorenz curve joins the chords of the sites' curves.

    Raises:
        ActpruneError: if there is no site, or they differ in D, D' or c_exponent.
    """
    if not sites:
        raise ActpruneError("A model's compressibility needs at least one site.")
    first = sites[0]
    if any((s.D, s.D_new, s.c_exponent) != (first.D, first.D_new, first.c_exponent) for s in sites):
        raise ActpruneError("Sites are joined at one D, one D' and one c_exponent.")
    units = np.array([s.units for s in sites], dtype=np.float64)
    N = units.sum()
    free = units * [s.free_now for s in sites]
    total, square = (float(sum(s.rates[i] for s in sites)) for i in (0, 1))

    def joined(exponents: Sequence[float | None]) -> float | None:
        if free.sum() == 0:
            return None
        return float(sum(f * (e or 0.0) for f, e in zip(free, exponents, strict=True)) / free.sum())

    return Compressibility(
        units=int(N),
        D=first.D,
        D_new=first.D_new,
        free_now=float(free.sum() / N),
        free_then=float(units @ [s.free_then for s in sites] / N),
        never=float(units @ [s.never for s in sites] / N),
        fractions=_FRACTIONS,
        shares=_joined_lorenz(sites, total),
        effective_units=total**2 / square if square > 0 else None,
        exponent_N=joined([s.exponent_N for s in sites]),
        exponent_D=joined([s.exponent_D for s in sites]),
        c_exponent=first.c_exponent,
        rates=(total, square),
        note="no unit is expected free: rho has no logarithm" if free.sum() == 0 else "",
    )


def compressibility_verdict(
    *,
    free: float,
    certified: bool | None = None,
    more: float | None = None,
    cost: float | None = None,
    times: float | None = None,
    unit: str = "nats",
) -> str:
    """The finding in words, e.g. "12 % free, certified; 31 % more at +0.01 nats; calibration set
    too small by 4x for this site".

    Args:
        free: share of the units that are free, 0 to 1.
        certified: whether a certificate holds for them; None if none was asked for.
        more: further share that goes at `cost`, 0 to 1; None if not known.
        cost: change of the loss; needed with `more`.
        unit: of the loss; may be empty.
        times: how many times too small the calibration set is, as `TooSmall.times`; None if fine.
    """
    if not 0 <= free <= 1 or (more is None) != (cost is None) or (more is not None and more < 0):
        raise ActpruneError(
            f"A verdict needs shares >= 0 and a cost with `more`, got {free=}, {more=}, {cost=}."
        )
    words = {True: ", certified", False: ", not certified", None: ""}[certified]
    said = [f"{_percent(free)} free{words if free > 0 else ''}"]
    if more is not None:
        said.append(f"{_percent(more)} more at {cost:+.2g} {unit}".rstrip())
    if times is not None and times > 1:
        said.append(f"calibration set too small by {times:.2g}x for this site")
    return "; ".join(said)


def _percent(share: float) -> str:
    """Whole per cent, but no share that is not 0 reads as 0."""
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _live(fit: CountFit) -> float:
    return 0.0 if fit.mean is None else max(0.0, 1.0 - fit.pi0 - fit.pi1)


def _free_share(fit: CountFit, d: int) -> float:
    return float(1 - fit.expected_working(np.array(d)) / fit.N)


def _never(fit: CountFit) -> float:
    """Units of rate 0; with rates of 0 and 1 only (M = 0) those of the live law count too."""
    if fit.mean is not None and (fit.M == 0 or fit.mean == 0):
        return fit.pi0 + _live(fit) * (1 - fit.mean)
    return fit.pi0


def _rates(fit: CountFit) -> tuple[float, float]:
    """N E[p] and N E[p^2]."""
    q, m = _live(fit), fit.mean or 0.0
    if fit.b is None or fit.M is None:
        square = m * m
    elif fit.family == "urn":  # Gamma(b, M) rates, of which those above 1 do not exist
        square = m * m + m / fit.M
    else:
        square = m * (m * fit.M + 1) / (fit.M + 1)
    return fit.N * (q * m + fit.pi1), fit.N * (q * square + fit.pi1)


def _exponents(fit: CountFit, rho: float) -> tuple[float | None, float | None]:
    """d ln rho by ln N at fixed c, and by ln D."""
    if rho <= 0:
        return None, None
    q, m, D = _live(fit), fit.mean, fit.D
    if m is None or m == 0 or q == 0:
        return 0.0, 0.0
    if fit.family == "urn" and fit.b is not None and fit.M is not None:
        published = fit.b * D / (D + fit.M)
        return published, -published
    if fit.b is None or fit.M is None:  # one rate c/N
        if m == 1:
            return 0.0, 0.0
        z = math.exp(D * math.log1p(-m)) if fit.family != "urn" else math.exp(-D * m)
        slope = -D * math.log1p(-m) if fit.family != "urn" else D * m
        width = D * m / (1 - m) if fit.family != "urn" else D * m
        return q * z * width / rho, -q * z * slope / rho
    if fit.M == 0:  # rates are 0 or 1: z = 1 - m
        return q * m / rho, 0.0
    b, M, rest = fit.b, fit.M, fit.M - fit.b
    weight = q * math.exp(float(log_rising(rest, D) - log_rising(M, D))) / rho
    by_N = M * float(digamma_rising(rest, D) - digamma_rising(M, D))
    by_D = -D * float(digamma_rising(D + rest, b))
    return weight * by_N, weight * by_D


def _lorenz(fit: CountFit, f: Array) -> Array:
    """Lorenz curve of the law's true rates; the published urn's as if its rates were Beta."""
    pi0, pi1, q, m = fit.pi0, fit.pi1, _live(fit), fit.mean or 0.0
    if fit.mean is not None and fit.M == 0:
        pi0, pi1, q = pi0 + q * (1 - m), pi1 + q * m, 0.0
    if q > 0 and fit.b is not None and fit.M is not None and fit.b < fit.M:
        return true_rate_lorenz(f, b=fit.b, M=fit.M, pi0=pi0, pi1=pi1)
    total = q * m + pi1
    if total == 0:
        return np.zeros_like(f)
    return (m * np.clip(f - pi0, 0, q) + np.maximum(0.0, f - 1 + pi1)) / total


def _joined_lorenz(sites: Sequence[Compressibility], total: float) -> Array:
    if total == 0:
        return np.zeros_like(_FRACTIONS)
    width = np.concatenate([np.diff(s.fractions) * s.units for s in sites])
    carried = np.concatenate([np.diff(s.shares) * s.rates[0] for s in sites])
    order = np.argsort(carried / width, kind="stable")
    at = np.concatenate([[0.0], np.cumsum(width[order])])
    curve = np.concatenate([[0.0], np.cumsum(carried[order])])
    return np.interp(_FRACTIONS, at / at[-1], curve / curve[-1])
