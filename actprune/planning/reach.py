"""Meet the targets, or refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from actprune.planning.allocate import (
    Counts,
    Fits,
    Room,
    cut_of,
    first_that_fits,
    give_back,
    ladder_uniform,
    out_of_reach,
)
from actprune.planning.fast import Clock, fast_enough
from actprune.planning.forecast import Forecaster
from actprune.planning.result import Timed, Tried
from actprune.planning.solve import Problem, Solution
from actprune.planning.target import COSTS, TRIED, Target
from actprune.planning.trials import check_held, smallest_that_holds, trying
from actprune.refit.settings import Compensation
from actprune.sites.census import Census


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocated:
    """Units kept at each site; with the solution where the global problem was solved, and what
    was tried and timed on the way."""

    counts: Counts
    solution: Solution | None = None
    tried: Tried | None = None
    timed: Timed | None = None


def reach(
    targets: Sequence[Target],
    rooms: Sequence[Room],
    problem: Problem | None,
    census: Census,
    settings: Compensation,
    forecaster: Forecaster | None,
    clock: Clock | None = None,
) -> Allocated:
    """How many units each site keeps so that every target is met.

    Cost targets are met with the largest model that meets them: less than one group of units could
    be returned. A latency target, with the largest on a ladder of sizes that is timed to meet it. A
    loss or metric target without any of these, with the smallest model that holds where it is
    tried; together with them, it is only checked.

    Args:
        problem: curves and prices for a global allocation; None keeps the same share everywhere.
        clock: times a cut, for a latency target.

    Raises:
        BudgetError: if a target cannot be met, or the targets exclude each other.
        ActpruneError: if a target needs data and there are none.
    """
    if targets[0].kind == "lossless":
        return Allocated(counts={r.site.name: r.most for r in rooms})
    costs = [t for t in targets if t.kind in COSTS]
    times = [t for t in targets if t.kind == "latency"]
    trials = [t for t in targets if t.kind in TRIED]
    trier = trying(trials, forecaster) if trials else None

    def steps() -> list[Counts]:
        return ladder_uniform(rooms) if problem is None else problem.ladder("macs")

    def fits(counts: Counts) -> bool:
        whole = problem is not None
        return all(_within(t, counts, rooms, census, settings, overall=whole) for t in costs)

    found = None
    if costs:
        found = _priced(costs, rooms, problem, fits, asked=", ".join(map(str, targets)))
    if times:
        rungs = steps()
        if found is not None:
            rungs = [found.counts, *(c for c in rungs if fits(c) and _below(c, found.counts))]
        counts, timed = fast_enough(times, rungs, rooms, clock)
        solved = found.solution if found and counts == found.counts else None
        found = Allocated(counts=counts, solution=solved, timed=timed)
    if trier is None:
        assert found is not None
        return found
    if found is None:
        counts, tried = smallest_that_holds(trials, steps(), rooms, trier, problem)
        return Allocated(counts=counts, tried=tried)
    return replace(found, tried=check_held(trials, found.counts, rooms, trier))


def _priced(
    costs: Sequence[Target],
    rooms: Sequence[Room],
    problem: Problem | None,
    fits: Fits,
    *,
    asked: str,
) -> Allocated:
    if problem is None:
        first = first_that_fits(ladder_uniform(rooms), fits, asked)
        return Allocated(counts=give_back(first, rooms, fits))
    solution = problem.solve(_budgets(costs, problem), fits)
    if solution is None:
        raise out_of_reach(asked)
    return Allocated(counts=solution.counts, solution=solution)


def _below(counts: Counts, others: Counts) -> bool:
    return sum(counts.values()) < sum(others.values())


def _budgets(costs: Sequence[Target], problem: Problem) -> dict[str, float]:
    """The strictest budget of each metric, in its own unit."""
    budgets: dict[str, float] = {}
    for t in costs:
        assert t.value is not None
        asked = t.value * problem.prices[t.kind].whole
        budgets[t.kind] = min(asked, budgets.get(t.kind, asked))
    return budgets


def _within(
    target: Target,
    counts: Counts,
    rooms: Sequence[Room],
    census: Census,
    settings: Compensation,
    *,
    overall: bool,
) -> bool:
    """Whether one cost target is met; `overall`: a share of units is one of all sites together."""
    assert target.value is not None
    if target.kind == "units":
        if not overall:
            share = target.value  # of every site, but never less than one unit
            return all(counts[r.site.name] <= max(1, share * r.site.units + 1e-9) for r in rooms)
        whole = sum(r.site.units for r in rooms)
        return sum(counts.values()) <= target.value * whole + 1e-9
    cut = cut_of(rooms, counts)
    cost = census.cost([r.site for r in rooms], cut, adds_bias=settings.adds_bias)
    before, now = getattr(census.dense, target.kind), getattr(cost, target.kind)
    return now <= target.value * before * (1 + 1e-12)
