"""How many units each site keeps, so that the targets are met and no more is cut than that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from actprune.errors import BudgetError
from actprune.planning.criteria import Ranking
from actprune.sites.cut import Cut
from actprune.sites.site import Site

Counts: TypeAlias = dict[str, int]  # site name -> units kept
Fits: TypeAlias = Callable[[Counts], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One site's freedom: its units in order of removal, and how few it may keep."""

    site: Site
    order: tuple[int, ...]  # removable units, first to go first; protected ones are not in it
    harm: tuple[float, ...]  # of each, as a share of the site's total
    forced: int  # how many at the head of `order` must go
    step: int  # units are removed and kept in multiples of this (round_to)
    fewest: int = 1  # the user's own limits of how many stay
    limit: int | None = None

    @property
    def least(self) -> int:
        """The fewest units it can keep: one group, what is protected, or the user's least."""
        free = self.site.units - len(self.order)
        return self.rounded(max(free, min(self.step, self.site.units)))

    @property
    def most(self) -> int:
        """The most units it can keep: all; or, where some must go, the whole groups left."""
        units = self.site.units
        left = min(units - self.forced, units if self.limit is None else self.limit)
        groups = left // self.step * self.step
        protected = units - len(self.order)
        return groups if left < units and groups >= max(protected, 1) else left

    def rounded(self, keep: float) -> int:
        """The largest admissible count not above `keep`, or the smallest admissible one."""
        groups = int(np.floor(keep / self.step + 1e-9)) * self.step
        free = self.site.units - len(self.order)
        while groups < max(free, self.fewest):
            groups += self.step
        return min(groups, self.most) if keep < self.site.units else self.most


def room(site: Site, ranking: Ranking, keep: Sequence[int], drop: Sequence[int], step: int) -> Room:
    """Combine a ranking with the units that must stay and those that must go."""
    dropped = [int(u) for u in ranking.order if int(u) in set(drop)]
    others = [int(u) for u in ranking.order if int(u) not in {*keep, *drop}]
    order = [*dropped, *others]
    total = float(ranking.harm.sum()) or 1.0
    return Room(
        site=site,
        order=tuple(order),
        harm=tuple(float(ranking.harm[u]) / total for u in order),
        forced=len(dropped),
        step=step,
    )


def uniform(rooms: Sequence[Room], share: float) -> Counts:
    """Keep the same share of every site's units, rounded down, at least one group."""
    return {r.site.name: r.rounded(share * r.site.units) for r in rooms}


def ladder_uniform(rooms: Sequence[Room]) -> list[Counts]:
    """Every distinct uniform allocation, largest first."""
    shares = sorted(
        {k / r.site.units for r in rooms for k in range(r.least, r.site.units + 1)}, reverse=True
    )
    steps: list[Counts] = []
    for share in shares:
        counts = uniform(rooms, share)
        if not steps or counts != steps[-1]:
            steps.append(counts)
    return steps


def out_of_reach(asked: str) -> BudgetError:
    """Why even the smallest model does not meet the target."""
    return BudgetError(
        f"Target {asked} cannot be reached: too much of the cost lies outside the prunable "
        f"units, or sites are already at their minimum (one unit or group of round_to, and "
        f"what must be kept); see --explain for what is prunable."
    )


def first_that_fits(steps: Sequence[Counts], fits: Fits, asked: str) -> Counts:
    """The largest allocation of a ladder that fits, by bisection: cost falls along the ladder.

    Raises:
        BudgetError: if even the last step does not fit.
    """
    if not fits(steps[-1]):
        raise out_of_reach(asked)
    low, high = 0, len(steps) - 1  # steps[high] fits
    while low < high:
        middle = (low + high) // 2
        if fits(steps[middle]):
            high = middle
        else:
            low = middle + 1
    return steps[high]


def give_back(counts: Counts, rooms: Sequence[Room], fits: Fits) -> Counts:
    """Return groups one at a time while the budget allows, so that less than one is left over."""
    counts = dict(counts)
    changed = True
    while changed:
        changed = False
        for r in sorted(rooms, key=lambda r: counts[r.site.name] / r.site.units):
            name = r.site.name
            more = {**counts, name: min(counts[name] + r.step, r.most)}
            if more[name] > counts[name] and fits(more):
                counts, changed = more, True
    return counts


def kept_units(rooms: Sequence[Room], counts: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The units that stay at each site: all but the head of its order."""
    kept = {}
    for r in rooms:
        gone = set(r.order[: r.site.units - counts[r.site.name]])
        kept[r.site.name] = tuple(u for u in range(r.site.units) if u not in gone)
    return kept


def cut_of(rooms: Sequence[Room], counts: Mapping[str, int]) -> Cut:
    """The cut that `counts` stand for; sites that lose nothing are not in it."""
    units = {r.site.name: r.site.units for r in rooms}
    kept = kept_units(rooms, counts)
    return Cut(kept={n: k for n, k in kept.items() if len(k) < units[n]})
