"""Meet the targets, or refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actprune.errors import ActpruneError, BudgetError
from actprune.planning.allocate import (
    Counts,
    Room,
    cut_of,
    first_that_fits,
    give_back,
    ladder_uniform,
    out_of_reach,
)
from actprune.planning.forecast import Forecaster
from actprune.planning.solve import Problem, Solution
from actprune.planning.target import Target
from actprune.refit.settings import Compensation
from actprune.sites.census import Census


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocated:
    """Units kept at each site; with the solution where the global problem was solved."""

    counts: Counts
    solution: Solution | None = None


def reach(
    targets: Sequence[Target],
    rooms: Sequence[Room],
    problem: Problem | None,
    census: Census,
    settings: Compensation,
    forecaster: Forecaster | None,
) -> Allocated:
    """How many units each site keeps so that every target is met.

    The cost targets are met with the largest model that meets them: less than one group of units
    could be returned. A loss target alone is met with the smallest model whose forecast, at the
    upper end of its interval, stays within it.

    Args:
        problem: curves and prices for a global allocation; None keeps the same share everywhere.

    Raises:
        BudgetError: if a target cannot be met, or the targets exclude each other.
        ActpruneError: if a loss target is given without data.
    """
    if targets[0].kind == "lossless":
        return Allocated(counts={r.site.name: r.most for r in rooms})
    costs = [t for t in targets if t.kind != "loss"]
    losses = [t for t in targets if t.kind == "loss"]
    if losses and forecaster is None:
        raise ActpruneError("A loss target needs data to forecast on; give the calibration data.")
    if not costs:
        steps = ladder_uniform(rooms) if problem is None else problem.ladder("macs")
        return Allocated(counts=_smallest_within(losses, steps, rooms, forecaster))

    def fits(counts: Counts) -> bool:
        whole = problem is not None
        return all(_within(t, counts, rooms, census, settings, overall=whole) for t in costs)

    asked = ", ".join(map(str, targets))
    if problem is None:
        steps = ladder_uniform(rooms)
        found = Allocated(counts=give_back(first_that_fits(steps, fits, asked), rooms, fits))
    else:
        solution = problem.solve(_budgets(costs, problem), fits)
        if solution is None:
            raise out_of_reach(asked)
        found = Allocated(counts=solution.counts, solution=solution)
    for t in losses:
        _check_loss(t, found.counts, rooms, forecaster)
    return found


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
    adds_bias = settings.adds_bias and bool(cut.kept)
    cost = census.cost([r.site for r in rooms], cut, adds_bias=adds_bias)
    before = {"params": census.params, "macs": census.macs, "bytes": census.bytes}[target.kind]
    now = {"params": cost.params, "macs": cost.macs, "bytes": cost.bytes}[target.kind]
    return now <= target.value * before * (1 + 1e-12)


def _check_loss(
    target: Target, counts: Counts, rooms: Sequence[Room], forecaster: Forecaster | None
) -> None:
    assert forecaster is not None
    assert target.value is not None
    forecast = forecaster.probed(cut_of(rooms, counts))
    if forecast.high > target.value:
        raise BudgetError(
            f"Target {target} cannot be met together with the cost targets: they are forecast to "
            f"change the loss by {forecast}."
        )


def _smallest_within(
    targets: Sequence[Target],
    steps: Sequence[Counts],
    rooms: Sequence[Room],
    forecaster: Forecaster | None,
) -> Counts:
    """Bisection along the ladder; the forecast grows along it up to noise, and the result is one
    whose own forecast was seen to fit."""
    assert forecaster is not None
    bound = min(t.value for t in targets if t.value is not None)

    def fits(counts: Counts) -> bool:
        return forecaster.probed(cut_of(rooms, counts)).high <= bound

    low, high = 0, len(steps) - 1  # steps[0] keeps everything, or everything but forced units
    if not fits(steps[low]):
        raise BudgetError(f"Target loss=+{bound:g} cannot be met: even the least cut exceeds it.")
    while low < high:
        middle = (low + high + 1) // 2
        if fits(steps[middle]):
            low = middle
        else:
            high = middle - 1
    return steps[low]
