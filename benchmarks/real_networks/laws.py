"""Which law the counts of one site follow, whether it fits, and what its tail looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actprune.theory import (
    Family,
    alpha_beside_b,
    alpha_jackknife,
    choose,
    compare_tails,
    count_goodness,
    fit_family,
    fit_tail,
    predictive_log_pmf,
    tail_goodness,
)

BLOCKS = 32
LEAST = 50  # units in the range of a tail, below which nothing is said about it

Blocks = tuple[NDArray[np.int64], NDArray[np.int64]]


def in_blocks(fires: NDArray[np.bool_]) -> Blocks:
    """Block counts (B, N) and samples (B,) of firings (D, N), sample i in block i % 32."""
    block = np.arange(len(fires)) % BLOCKS
    active = np.stack([fires[block == i].sum(0) for i in range(min(BLOCKS, len(fires)))])
    return active.astype(np.int64), np.bincount(block)


def law(fires: NDArray[np.bool_], *, replicates: int) -> dict[str, Any]:
    """The family that held-out samples choose, by how much, and its parameters.

    Args:
        fires: (D, N), in random order.
        replicates: of the bootstrap of the fit; 0 for none.
    """
    active, samples = in_blocks(fires)
    counts, D = active.sum(0), len(fires)
    choice = choose(active, samples)
    scored: dict[Family, float] = {f: s for f, s in choice.heldout.items() if s is not None}
    losers: list[Family] = [f for f in scored if f != choice.family]
    others = sorted(losers, key=lambda f: -scored[f])
    margin = error = None
    if choice.family in scored and others:
        margin = scored[choice.family] - scored[others[0]]
        error = _margin_error(active, samples, choice.family, others[0])
    fit = choice.fit
    goodness = count_goodness(counts, D, fit, replicates=replicates) if replicates else None
    return {
        "D": D,
        "silent": int((counts == 0).sum()),
        "always_on": int((counts == D).sum()),
        "once": int((counts == 1).sum()),
        "mean": _short(float(counts.mean() / D)),
        "family": choice.family,
        "heldout": {f: _short(s) for f, s in choice.heldout.items()},
        "runner_up": others[0] if others else None,
        "margin": _short(margin),
        "margin_error": _short(error),
        "b": {f: _short(found.b) for f, found in choice.fits.items()},
        "pi0": _short(fit.pi0),
        "pi1": _short(fit.pi1),
        "fit_p": None if goodness is None else goodness.p,
        "fit_ks": None if goodness is None else _short(goodness.ks),
        "fit_replicates": replicates,
    }


def tail(fires: NDArray[np.bool_], family: Family, *, replicates: int) -> dict[str, Any] | None:
    """The exponent beside 1 - b, and what speaks against a power law; counts 1 to D - 1.

    None with fewer than 50 such units.
    """
    active, samples = in_blocks(fires)
    counts, D = active.sum(0), len(fires)
    if np.count_nonzero((counts > 0) & (counts < D)) < LEAST:
        return None
    power = fit_tail(counts, D, "power law", xmax=D - 1)
    bent = fit_tail(counts, D, "truncated power law", xmax=D - 1)
    mixed = fit_tail(counts, D, "beta-binomial", xmax=D - 1)
    goodness = tail_goodness(counts, power, replicates=replicates)
    chosen = fit_family(counts, D, family)
    beside = alpha_beside_b(bent, chosen)
    free = alpha_jackknife(active, samples, "truncated power law")
    known = power.parameters is not None

    def against(other: Any) -> tuple[float | None, float | None]:
        if not known or other.parameters is None:
            return None, None
        test = compare_tails(counts, power, other)
        return _short(test.p), _short(test.gap)

    return {
        "units": power.n,
        "power_alpha": _short(power.alpha),
        "power_ks": _short(power.ks),
        "power_p": _short(goodness.p),
        "against_truncated_p": against(bent)[0],
        "against_beta_binomial": against(mixed),  # Vuong's p, and the gap in nats
        "alpha": _short(bent.alpha),
        "alpha_error": _short(bent.stderr.get("alpha")),
        "alpha_jackknife_error": _short(free.stderr),
        "one_minus_b": _short(beside.one_minus_b),
        "one_minus_b_error": _short(beside.one_minus_b_stderr),
        "family": beside.family,
        "cut_off": _short(
            1 / np.log1p(chosen.M / D) if chosen.M and chosen.b is not None else None
        ),
        "turns_up": bool(chosen.b is not None and chosen.M and chosen.b + 1 >= chosen.M),
    }


def _margin_error(
    active: NDArray[np.int64], samples: NDArray[np.int64], a: Family, b: Family
) -> float:
    """Root of N times the units' variance of the gain, both directions of `choose` added."""
    gains = np.zeros(active.shape[1])
    for fitted in (0, 1):
        k, d = active[fitted::2].sum(0), int(samples[fitted::2].sum())
        j, e = active[1 - fitted :: 2].sum(0), int(samples[1 - fitted :: 2].sum())
        gains += predictive_log_pmf(fit_family(k, d, a), j, e, k, d)
        gains -= predictive_log_pmf(fit_family(k, d, b), j, e, k, d)
    return float(gains.std(ddof=1) * len(gains) ** 0.5)


def _short(x: float | None) -> float | None:
    """To five digits: the rows stay readable."""
    return None if x is None or not np.isfinite(x) else float(f"{x:.5g}")
