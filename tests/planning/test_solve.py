"""The allocation found is admissible, near the best there is, and the bound is a bound."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from actprune.data.batch import Batch
from actprune.planning.allocate import Counts, Room, cut_of
from actprune.planning.curves import Curve, interpolated, ranked
from actprune.planning.pricing import Price, price_in_units, prices
from actprune.planning.solve import Problem
from actprune.sites.find import survey
from actprune.sites.site import Site, Slot


def room(name: str, units: int, *, step: int = 1, free: int | None = None) -> Room:
    slots = (Slot(module=name, role="producer"), Slot(module=f"{name}+", role="consumer"))
    site = Site(name=name, kind="linear", units=units, slots=slots)
    order = tuple(range(units if free is None else free))
    return Room(site=site, order=order, harm=(1.0 / units,) * len(order), forced=0, step=step)


def curve(name: str, units: int, random: np.random.Generator) -> Curve:
    falls = random.exponential(size=units) ** 2
    harm = np.concatenate([[np.inf], np.cumsum(falls)[::-1][1:], [0.0]])
    return Curve(site=name, harm=harm)


def price(n: int, edges: list[tuple[int, int]], random: np.random.Generator) -> Price:
    """A cost in which the pairs of `edges` share layers."""
    pairs = np.zeros((n, n))
    for i, j in edges:
        pairs[i, j] = pairs[j, i] = random.uniform(0.2, 1.0)
    linear = random.uniform(1.0, 3.0, n) + 7 * pairs.sum(1)  # more than pairs can take back
    return Price(whole=float(7 * linear.sum()), linear=linear, pairs=pairs)


SHAPES = {
    "apart": [],
    "a chain": [(0, 1), (1, 2), (2, 3)],
    "a star": [(1, 0), (1, 2), (1, 3)],
    "a ring": [(0, 1), (1, 2), (2, 3), (0, 3)],
}


def best(problem: Problem, budgets: dict[str, float]) -> float:
    """The least harm within the budgets, by trying everything."""
    names = [r.site.name for r in problem.rooms]
    levels = [range(r.least, r.most + 1) for r in problem.rooms]
    found = np.inf
    for counts in product(*levels):
        chosen = dict(zip(names, counts, strict=True))
        if all(problem.cost(m, chosen) <= b for m, b in budgets.items()):
            found = min(found, problem.harm(chosen))
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("metrics", [1, 2])
def test_the_best_lies_between_the_bound_and_what_is_found(
    shape: str, seed: int, metrics: int
) -> None:
    random = np.random.default_rng(seed)
    rooms = [room(f"s{i}", 7) for i in range(4)]
    curves = {r.site.name: curve(r.site.name, 7, random) for r in rooms}
    costs = {f"m{k}": price(4, SHAPES[shape], random) for k in range(metrics)}
    problem = Problem(rooms, curves, costs)
    budgets = {m: p.whole * random.uniform(0.45, 0.7) for m, p in costs.items()}

    def fits(counts: Counts) -> bool:
        return all(problem.cost(m, counts) <= b for m, b in budgets.items())

    solution = problem.solve(budgets, fits)
    assert solution is not None
    assert fits(solution.counts)
    optimum = best(problem, budgets)
    assert solution.bound <= optimum * (1 + 1e-9)  # float64 sums of few terms
    assert optimum <= solution.harm * (1 + 1e-9)
    # one exchange away from nothing better: what is left of the gap is smaller than a unit's harm
    largest = max(float(np.diff(c.harm[1:]).min() * -1) for c in curves.values())
    assert solution.harm - optimum <= largest


def test_what_cannot_fit_has_no_solution() -> None:
    random = np.random.default_rng(0)
    rooms = [room("a", 5), room("b", 5)]
    curves = {r.site.name: curve(r.site.name, 5, random) for r in rooms}
    problem = Problem(rooms, curves, {"units": price_in_units([r.site for r in rooms])})
    assert problem.solve({"units": 1.0}, lambda c: sum(c.values()) <= 1) is None


def test_groups_and_protected_units_are_kept_to() -> None:
    random = np.random.default_rng(0)
    rooms = [room("a", 16, step=4), room("b", 16, step=4, free=7)]
    curves = {r.site.name: curve(r.site.name, 16, random) for r in rooms}
    problem = Problem(rooms, curves, {"units": price_in_units([r.site for r in rooms])})
    solution = problem.solve({"units": 20.0}, lambda c: sum(c.values()) <= 20)
    assert solution is not None
    assert solution.counts["a"] % 4 == 0
    assert solution.counts["b"] in (12, 16)
    assert sum(solution.counts.values()) in (16, 20)


def test_the_ladder_descends_from_everything_to_the_least() -> None:
    random = np.random.default_rng(0)
    rooms = [room(f"s{i}", 9) for i in range(3)]
    curves = {r.site.name: curve(r.site.name, 9, random) for r in rooms}
    problem = Problem(rooms, curves, {"m": price(3, [(0, 1)], random)})
    ladder = problem.ladder("m")
    costs = [problem.cost("m", c) for c in ladder]
    assert ladder[0] == {r.site.name: 9 for r in rooms}
    assert ladder[-1] == {r.site.name: 1 for r in rooms}
    assert costs == sorted(costs, reverse=True)
    assert len(ladder) > 8


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, bias=False)
        self.n, self.c, self.d = nn.BatchNorm2d(6), nn.Linear(6 * 16, 12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.n(self.b(self.a(x).relu())).relu()
        return self.d(self.c(x.flatten(1)).relu())


def test_prices_are_those_of_the_census_for_any_cut() -> None:
    torch.manual_seed(0)
    batch = Batch(args=(torch.randn(4, 3, 6, 6),), kwargs={}, labels=None, ids=torch.arange(4))
    found = survey(Chain().eval(), batch)
    sites = found.sites
    assert len(sites) == 3
    formulas = prices(found.census, sites)
    random = np.random.default_rng(0)
    for _ in range(20):
        keep = {s.name: int(random.integers(1, s.units + 1)) for s in sites}
        rooms = [room(s.name, s.units) for s in sites]
        exact = found.census.cost(sites, cut_of(rooms, keep))
        removed = np.array([s.units - keep[s.name] for s in sites])
        for metric, formula in formulas.items():
            # integers below 2^53 times small factors
            assert formula.at(removed) == pytest.approx(getattr(exact, metric), rel=1e-12)
    assert formulas["macs"].edges == [(0, 1), (1, 2)]


def test_a_curve_goes_through_what_was_seen_and_never_rises() -> None:
    seen = {2: 0.5, 4: 0.1, 6: 0.12, 8: -0.001}
    harm = interpolated("s", 10, seen).harm
    assert harm[0] == np.inf
    assert harm[10] == 0
    assert harm[2] == pytest.approx(0.5)
    assert harm[4] == pytest.approx(0.12)  # levelled: keeping more cannot do more harm
    assert (np.diff(harm) <= 0).all()
    assert harm[1] > harm[2]
    assert not interpolated("s", 4, {1: 0.0, 2: 0.0}).harm[1:].any()


def test_a_ranking_alone_gives_a_convex_curve() -> None:
    site = room("s", 4).site
    order, harm = (2, 0, 1, 3), (0.1, 0.3, 0.2, 0.4)
    found = ranked(Room(site=site, order=order, harm=harm, forced=0, step=1)).harm
    assert found.tolist() == [np.inf, *np.cumsum([0.1, 0.3, 0.3])[::-1].tolist(), 0.0]
