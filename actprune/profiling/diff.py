"""Which units changed their activation rate from one profile to another?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control, norm

from actprune.errors import ActpruneError
from actprune.profiling.result import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChange:
    """One unit's share of samples that fire it, in two profiles."""

    site: str
    unit: int
    rate_a: float  # 0 to 1
    rate_b: float
    p_value: float  # two-sided, of equal rates; 1 where both rates are 0 or both are 1
    adjusted: float  # Benjamini-Hochberg over all units of all sites
    significant: bool  # adjusted <= 1 - level


def diff(a: Profile, b: Profile, level: float = 0.95) -> tuple[RateChange, ...]:
    """Two-proportion z tests with pooled variance, unit by unit, and false-discovery control at
    1 - level over all of them (Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57, 289-300).

    The models may differ (before and after training), the sites and firing rules may not.

    Raises:
        ActpruneError: if sites, firing rules or sample counts do not allow a comparison.
    """
    if not 0 < level < 1:
        raise ActpruneError(f"level must lie between 0 and 1, got {level}.")
    shape_a = [(s.site.name, s.units) for s in a.sites]
    shape_b = [(s.site.name, s.units) for s in b.sites]
    if shape_a != shape_b:
        raise ActpruneError(
            f"Profiles to compare must have the same sites and units, "
            f"got {shape_a[:3]} and {shape_b[:3]}."
        )
    rows = []
    for x, y in zip(a.sites, b.sites, strict=True):
        if x.rule != y.rule:
            raise ActpruneError(
                f"Profiles to compare must share their firing rules; site {x.site.name!r} has "
                f"{x.rule} and {y.rule}; profile the second one with --like the first."
            )
        n, m = int(x.samples.sum()), int(y.samples.sum())
        if not (n and m):
            raise ActpruneError(f"Profiles to compare must hold samples, got {n} and {m}.")
        active_x, active_y = x.samples_active.sum(0), y.samples_active.sum(0)
        p, q = active_x / n, active_y / m
        pooled = (active_x + active_y) / (n + m)
        spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        z = np.divide(p - q, spread, out=np.zeros_like(p), where=spread > 0)
        rows += [
            (x.site.name, u, float(p[u]), float(q[u]), float(v))
            for u, v in enumerate(2 * norm.sf(np.abs(z)))
        ]
    adjusted = false_discovery_control([r[4] for r in rows]) if rows else []
    return tuple(
        RateChange(
            site=site, unit=unit, rate_a=p, rate_b=q, p_value=v,
            adjusted=float(adj), significant=bool(adj <= 1 - level),
        )
        for (site, unit, p, q, v), adj in zip(rows, adjusted, strict=True)
    )  # fmt: skip
