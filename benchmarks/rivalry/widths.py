"""Rivals' own answers to how many units each site keeps, held to a share of the MACs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

import actprune
from actprune.data.source import Source
from actprune.planning.alike import alike
from actprune.planning.allocate import Counts, first_that_fits
from actprune.planning.criteria import effective_number, named
from actprune.planning.evidence import gather
from actprune.planning.result import Plan, PlannedSite
from actprune.planning.samples import refit_samples
from actprune.profiling.result import Profile
from actprune.sites.cut import Cut


def standardized_ladder(scores: Sequence[np.ndarray]) -> list[list[int]]:
    """Units kept at each site, step by step, as the least of all standardized scores goes first.

    FLAP (2312.11983, AL-AM): a site's scores less their mean, over their standard deviation. A
    site keeps its best unit, without which nothing would pass.

    Args:
        scores: float64 [N] of each site.
    """
    found = []
    for i, s in enumerate(scores):
        z = (s - s.mean()) / (s.std(ddof=1) if len(s) > 1 and s.std() else 1.0)
        found += [(float(value), i) for value in np.sort(z)[:-1]]
    counts = [len(s) for s in scores]
    steps = [list(counts)]
    for _, i in sorted(found):
        counts[i] -= 1
        steps.append(list(counts))
    return steps


def scaled_ladder(numbers: Sequence[float], units: Sequence[int]) -> list[tuple[list[int], float]]:
    """Units kept at each site, floor(factor * number) and at least one, for every factor that
    changes any of them, largest first; with the factor."""
    factors = {k / e for e, n in zip(numbers, units, strict=True) for k in range(1, n + 1)}
    return [
        (
            # a hair more than the factor, so that k / e * e is not rounded below k
            [
                int(np.clip(np.floor(f * (1 + 1e-12) * e), 1, n))
                for e, n in zip(numbers, units, strict=True)
            ],
            f,
        )
        for f in sorted(factors, reverse=True)
    ]


def flap_widths(
    model: nn.Module, profile: Profile, base: Plan, data: Source, share: float
) -> Counts:
    """FLAP's allocation: the largest step of its ladder within `share` of the MACs."""
    steps = standardized_ladder(_scores(model, profile, base, data, "fluctuation"))
    names = [p.site.name for p in base.sites]
    return _first([dict(zip(names, s, strict=True)) for s in steps], profile, base, share)


def emp_widths(
    model: nn.Module, profile: Profile, base: Plan, data: Source, share: float
) -> tuple[Counts, float]:
    """Multiples of EMP's effective numbers of the magnitudes, and the factor."""
    numbers = [effective_number(s) for s in _scores(model, profile, base, data, "magnitude")]
    names = [p.site.name for p in base.sites]
    ladder = scaled_ladder(numbers, [p.site.units for p in base.sites])
    steps = [dict(zip(names, counts, strict=True)) for counts, _ in ladder]
    found = _first(steps, profile, base, share)
    return found, ladder[steps.index(found)][1]


def reshaped(
    model: nn.Module,
    profile: Profile,
    base: Plan,
    counts: Counts,
    criterion: str,
    kind: str,
    data: Source,
) -> Plan:
    """`base` with `counts` units kept, chosen by `criterion`; compensated by `kind`."""
    sites = tuple(
        PlannedSite(
            site=p.site,
            rule=p.rule,
            kept=tuple(range(counts[p.site.name])),  # the number alone: `alike` chooses
            constants=(None,) * (p.site.units - counts[p.site.name]),
        )
        for p in base.sites
    )
    settings = actprune.Compensation.model_validate({"kind": kind})
    return alike(
        model, profile, base.model_copy(update={"sites": sites}),
        criterion=criterion, compensation=settings, batches=data,
    )  # fmt: skip


def _scores(
    model: nn.Module, profile: Profile, base: Plan, data: Source, criterion: str
) -> list[np.ndarray]:
    sites = [p.site for p in base.sites]
    evidence = gather(model, profile, sites, refit_samples(base, data), seed=base.data.seed)
    return [named(criterion)(evidence[s.name]).harm for s in sites]


def _first(steps: list[Counts], profile: Profile, base: Plan, share: float) -> Counts:
    sites = [p.site for p in base.sites]

    def fits(counts: Counts) -> bool:
        cut = Cut(kept={n: tuple(range(k)) for n, k in counts.items()})
        return profile.census.cost(sites, cut).macs <= share * profile.census.macs * (1 + 1e-12)

    return first_that_fits(steps, fits, f"macs={100 * share:g}%")
