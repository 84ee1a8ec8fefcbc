"""The whole frontier of a model: least harm against cost, from one measuring of the curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from actprune.data.source import Source
from actprune.errors import ActpruneError
from actprune.planning.allocate import Counts, cut_of, ladder_uniform
from actprune.planning.criteria import Criterion
from actprune.planning.prepare import Choice, prepare, refit_parts
from actprune.planning.problem import pose
from actprune.planning.result import Allocation, Frozen
from actprune.planning.solve import Problem
from actprune.profiling.result import Profile
from actprune.refit.settings import Compensation


class FrontierRow(Frozen):
    """One size. Shares are of the dense model; `units` of the selected sites' units. `harm`: the
    sum of the sites' curves, each of its site cut alone, so interactions are left out."""

    kept: Mapping[str, int]
    units: float
    params: float
    macs: float
    bytes: float
    harm: float


class Frontier(Frozen):
    """Sizes from the largest to the smallest. `unit` says what harm is measured in; it is
    comparable with a loss change only where `measured`. `uniform`: the same curves read at the same
    share of every site, where `rows` are allocated globally; else empty."""

    model: str
    criterion: str
    allocate: Allocation
    unit: str
    measured: bool
    rows: tuple[FrontierRow, ...]
    uniform: tuple[FrontierRow, ...] = ()

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)


def sweep(
    model: nn.Module,
    profile: Profile,
    *,
    batches: Source | Iterable[Any] | None = None,
    criterion: str | Criterion = "residual",
    compensation: Compensation | None = None,
    allocate: Allocation = "global",
    only: Sequence[str] = (),
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    least: Mapping[str, int | float | str] | None = None,
    most: Mapping[str, int | float | str] | None = None,
    round_to: int = 1,
    rows: int = 24,
    seed: int | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Frontier:
    """Harm against cost over the whole ladder of sizes; arguments as `plan`.

    Args:
        batches: the profiled data; without them the criterion's own scores make the curves, in an
            arbitrary unit.
        rows: at most so many sizes, spread over the ladder by multiply-accumulates; at least 2.

    Raises:
        ActpruneError: as `plan`.
    """
    if rows < 2:
        raise ActpruneError(f"rows must be at least 2, got {rows}.")
    if allocate not in ("uniform", "global"):
        raise ActpruneError(f"allocate must be one of uniform, global, got {allocate!r}.")
    seed = profile.identity.seed if seed is None else seed
    ready = prepare(
        model, profile, criterion=criterion, settings=compensation or Compensation(),
        choice=Choice(
            only=only, ignore=ignore, keep=keep, drop=drop, least=least or {}, most=most or {},
            round_to=round_to,
        ),
        batches=batches, parts=refit_parts(None), seed=seed, progress=progress,
    )  # fmt: skip
    problem, unit = pose(
        ready.model, ready.rooms, ready.evidence, ready.fit_on, ready.settings, profile.census,
        seed=profile.identity.seed, progress=progress,
    )  # fmt: skip
    alike = _spread(ladder_uniform(ready.rooms), rows, lambda c: problem.cost("macs", c))
    steps = _solved(problem, rows) if allocate == "global" else alike
    whole, dense = sum(s.units for s in ready.sites), profile.census.dense

    def row(counts: Counts) -> FrontierRow:
        cut = cut_of(ready.rooms, counts)
        after = profile.census.cost(ready.sites, cut, adds_bias=ready.settings.adds_bias)
        return FrontierRow(
            kept=counts,
            units=sum(counts.values()) / whole,
            params=after.params / dense.params,
            macs=after.macs / dense.macs,
            bytes=after.bytes / dense.bytes,
            harm=problem.harm(counts),
        )

    return Frontier(
        model=profile.identity.model,
        criterion=criterion if isinstance(criterion, str) else criterion.__name__,
        allocate=allocate,
        unit=unit,
        measured=bool(ready.fit_on),
        rows=tuple(row(c) for c in steps),
        uniform=tuple(row(c) for c in alike) if allocate == "global" else (),
    )


def _solved(problem: Problem, rows: int) -> list[Counts]:
    """Solutions for evenly spaced budgets of multiply-accumulates, largest first, without those
    that do no less harm than a cheaper one."""
    ends = [{r.site.name: r.most for r in problem.rooms},
            {r.site.name: r.least for r in problem.rooms}]  # fmt: skip
    top, bottom = (problem.cost("macs", c) for c in ends)
    found = [ends[1]]
    for i in reversed(range(1, rows - 1)):
        budget = top + (bottom - top) * i / (rows - 1)
        best = problem.solve(
            {"macs": budget}, lambda c, b=budget: problem.cost("macs", c) <= b * (1 + 1e-12)
        )
        if best is not None:
            found.append(best.counts)
    kept: list[Counts] = []
    for counts in sorted([*found, ends[0]], key=lambda c: problem.cost("macs", c)):
        if not kept or problem.harm(counts) < problem.harm(kept[-1]):
            kept.append(counts)
    return kept[::-1]


def _spread(steps: Sequence[Counts], most: int, cost: Callable[[Counts], float]) -> list[Counts]:
    """At most `most` of a ladder's steps, evenly spaced by cost, the ends among them."""
    costs = np.array([cost(c) for c in steps])
    wanted = np.linspace(costs[0], costs[-1], most)
    return [steps[i] for i in sorted({int(np.abs(costs - w).argmin()) for w in wanted})]
