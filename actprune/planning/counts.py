"""The counts-only forecast: kappa x share^gamma, from activation counts and two probes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actprune.planning.result import CountsForecast
from actprune.profiling.result import Profile
from actprune.sites.cut import Cut
from actprune.sites.site import Site
from actprune.theory import Theory
from actprune.theory.lorenz import removed_share

RESAMPLES = 2_000
FLOOR = 1e-9  # a probe's loss change, in units of the loss, that counts as none


def activation_share(profile: Profile, theory: Theory, sites: Sequence[Site], cut: Cut) -> float:
    """Share of all activations that the removed units carry, 0 to 1, over all sites.

    Per site as `theory.lorenz.removed_share` expects it on fresh samples from the fitted law, or
    as counted where no such law was fitted; sites weigh by their counted activations (ours).
    """
    fits = {s.name: (s.fit, s.samples) for s in theory.sites}
    gone = whole = 0.0
    for site in sites:
        counts = profile.site(site.name).samples_active.sum(0)
        removed = np.zeros(site.units, dtype=bool)
        removed[list(cut.removes(site))] = True
        mass = float(counts.sum())
        fit, samples = fits[site.name]
        if mass and fit is not None and fit.b and fit.M and fit.b < fit.M:
            share = removed_share(
                counts, removed, D=samples, b=fit.b, M=fit.M, pi0=fit.pi0 or 0.0, pi1=fit.pi1 or 0.0
            ).share
        else:
            share = float(counts[removed].sum()) / mass if mass else 0.0
        gone += share * mass
        whole += mass
    return gone / whole if whole else 0.0


def counts_forecast(
    share: float,
    probe_shares: tuple[float, float],
    probe_changes: tuple[np.ndarray, np.ndarray],
    *,
    level: float,
    seed: int,
) -> CountsForecast | str:
    """Fit kappa and gamma to two smaller cuts and read off the loss change at `share` (ours).

    Args:
        share: of the planned cut.
        probe_shares: of two probes of different size, both removing fewer of the same units.
        probe_changes: per-sample loss changes of each probe, measured on the same samples, (n,).
        level: of the two-sided percentile bootstrap interval over samples.

    Returns:
        The forecast, or the reason why there is none.
    """
    if share == 0:
        return CountsForecast(
            loss_delta=0.0, low=0.0, high=0.0, level=level, share=0.0, kappa=0.0, gamma=1.0
        )
    small, large = probe_shares
    if not 0 < small < large:
        return "the probes do not differ in the activations they remove"
    x = np.log([small, large])

    def fit(means: np.ndarray) -> tuple[float, float]:
        y = np.log(np.maximum(means, FLOOR))
        gamma = (y[1] - y[0]) / (x[1] - x[0])
        return float(np.exp(y[1] - gamma * x[1])), float(gamma)

    changes = np.stack(probe_changes)
    means = changes.mean(1)
    if (means <= FLOOR).any():
        return (
            f"a probe did not raise the loss ({means[0]:.2g}, {means[1]:.2g}), so no power law fits"
        )
    kappa, gamma = fit(means)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(RESAMPLES):
        k, g = fit(changes[:, rng.integers(0, changes.shape[1], changes.shape[1])].mean(1))
        draws.append(k * share**g)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return CountsForecast(
        loss_delta=kappa * share**gamma,
        low=float(low),
        high=float(high),
        level=level,
        share=share,
        kappa=kappa,
        gamma=gamma,
    )
