"""The cost of a cut as a formula of how many units each site keeps.

Tensors shrink along two axes at most, each by the units of one or more sites, so parameters, bytes
and multiply-accumulates are quadratic in the numbers of units removed (ours; exact, but for the
biases that a compensation adds, which are left out here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from actprune.sites.census import Census
from actprune.sites.cut import Cut
from actprune.sites.site import Site

METRICS = ("params", "macs", "bytes")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class Price:
    """cost = whole - linear . r + 1/2 r . pairs . r, with r the units removed of each site."""

    whole: float
    linear: np.ndarray  # [sites]
    pairs: np.ndarray  # [sites, sites], symmetric

    def at(self, removed: np.ndarray) -> float:
        """The cost with `removed` units gone of each site, [sites]."""
        return float(self.whole - self.linear @ removed + removed @ self.pairs @ removed / 2)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of sites whose savings depend on one another."""
        upper = np.triu(self.pairs, 1)
        return [(int(i), int(j)) for i, j in zip(*upper.nonzero(), strict=True)]


def price_in_units(sites: Sequence[Site]) -> Price:
    """The number of units left over all sites."""
    n = len(sites)
    return Price(
        whole=float(sum(s.units for s in sites)), linear=np.ones(n), pairs=np.zeros((n, n))
    )


def prices(census: Census, sites: Sequence[Site]) -> dict[str, Price]:
    """The formulas of `METRICS`, read off the exact costs of small cuts."""
    whole = census.dense
    seen: dict[tuple[tuple[int, int], ...], np.ndarray] = {}

    def cost(*removed: tuple[int, int]) -> np.ndarray:
        if removed not in seen:
            gone = {sites[i].name: tuple(range(sites[i].units - r)) for i, r in removed}
            after = census.cost(sites, Cut(kept=gone))
            seen[removed] = np.array([getattr(after, m) - getattr(whole, m) for m in METRICS])
        return seen[removed]

    n = len(sites)
    linear, pairs = np.zeros((3, n)), np.zeros((3, n, n))
    for i, site in enumerate(sites):
        once = cost((i, 1))
        if site.units > 2:
            pairs[:, i, i] = cost((i, 2)) - 2 * once
        linear[:, i] = pairs[:, i, i] / 2 - once
    modules = [{slot.module for slot in s.slots} for s in sites]
    for i, j in combinations(range(n), 2):
        if modules[i] & modules[j]:
            both = cost((i, 1), (j, 1)) - cost((i, 1)) - cost((j, 1))
            pairs[:, i, j] = pairs[:, j, i] = both
    pairs[np.abs(pairs) < 1e-9 * max(1.0, float(np.abs(linear).max()))] = 0.0
    return {
        m: Price(whole=float(getattr(whole, m)), linear=linear[k], pairs=pairs[k])
        for k, m in enumerate(METRICS)
    }
