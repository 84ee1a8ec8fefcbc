"""The allocation problem: least harm within budgets, solved with a bound on what better exists.

    minimize  sum over sites of harm_s(k_s)   subject to   cost_m(k) <= budget_m for every metric m

is relaxed by multipliers (Everett 1963; Lagrangian duality). Costs are quadratic (`pricing`), so
for given multipliers the minimum is found exactly by dynamic programming wherever the sites that
share layers form a forest, as in chains; edges beyond a forest are left out of the bound, which
stays valid because two sites together never save more than apart, and enter the solution by
descent. The gap between the harm of the solution and the dual value is the stated optimality gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actprune.planning.allocate import Counts, Room
from actprune.planning.curves import Curve
from actprune.planning.pricing import Price

LEVELS = 64  # counts a site tries while multipliers are sought; polishing tries them all
BISECTIONS, ROUNDS, SWEEPS = 50, 4, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """An allocation with its harm and a lower bound on the harm of any that meets the budgets.

    Both in the curves' unit. Where the bound is 0 or below, it says nothing.
    """

    counts: Counts
    harm: float
    bound: float

    @property
    def gap(self) -> float:
        """How much less harm the best allocation could do, at most."""
        return max(self.harm - self.bound, 0.0)


class Problem:
    """Curves and prices of some sites, ready to be solved for any budgets."""

    def __init__(
        self, rooms: Sequence[Room], curves: Mapping[str, Curve], prices: Mapping[str, Price]
    ) -> None:
        """`prices` by metric; only metrics with a budget matter."""
        self.rooms, self.prices = list(rooms), dict(prices)
        self._units = np.array([r.site.units for r in rooms])
        self._all = [_admissible(r) for r in rooms]
        self._some = [k[_spread(len(k))] for k in self._all]
        self._curves = [curves[r.site.name].harm for r in rooms]
        edges = sorted({e for p in prices.values() for e in p.edges})
        self._tree, self._rest = _forest(len(self.rooms), edges)

    def harm(self, counts: Mapping[str, int]) -> float:
        """The sum of the curves at `counts`."""
        pairs = zip(self.rooms, self._curves, strict=True)
        return float(sum(curve[counts[r.site.name]] for r, curve in pairs))

    def relaxed(self, multipliers: Mapping[str, float]) -> tuple[Counts, float]:
        """A minimum of harm + sum of multiplier x cost, and a lower bound on it."""
        nodes, edges = self._terms(multipliers)
        chosen = _forest_minimum(nodes, [(i, j, edges[i, j]) for i, j in self._tree])
        bound = _value(chosen, nodes, {e: edges[e] for e in self._tree})
        whole = sum(m * self.prices[k].whole for k, m in multipliers.items())
        if self._rest:
            chosen = _descend(chosen, nodes, edges)
        names = (r.site.name for r in self.rooms)
        counts = dict(zip(names, (int(k[c]) for k, c in zip(self._some, chosen, strict=True)),
                          strict=True))  # fmt: skip
        return counts, bound + whole

    def ladder(self, metric: str, steps: int = 96) -> list[Counts]:
        """Allocations from the largest to the smallest along one metric's multiplier."""
        found = [{r.site.name: r.most for r in self.rooms}]
        for multiplier in np.geomspace(*self._range(metric), steps):
            counts, _ = self.relaxed({metric: float(multiplier)})
            if counts != found[-1]:
                found.append(counts)
        least = {r.site.name: r.least for r in self.rooms}
        if found[-1] != least:
            found.append(least)
        return sorted(found, key=lambda c: -self.cost(metric, c))

    def cost(self, metric: str, counts: Mapping[str, int]) -> float:
        """What `counts` cost by the formula."""
        return self.prices[metric].at(self._units - self._vector(counts))

    def solve(
        self, budgets: Mapping[str, float], fits: Callable[[Counts], bool]
    ) -> Solution | None:
        """The least harm found within `budgets`, in the metrics' units; None if nothing fits.

        Args:
            fits: the exact word on whether an allocation is allowed; budgets guide the search.
        """
        multipliers = dict.fromkeys(budgets, 0.0)
        bound = -np.inf
        best: Counts | None = None
        for _ in range(1 if len(budgets) == 1 else ROUNDS):
            for metric, budget in budgets.items():
                low, high = self._range(metric)
                for _ in range(BISECTIONS):
                    middle = float(np.sqrt(low * high))
                    multipliers[metric] = middle
                    counts, value = self.relaxed(multipliers)
                    spent = sum(m * budgets[k] for k, m in multipliers.items())
                    bound = max(bound, value - spent)
                    if self.cost(metric, counts) <= budget:
                        high = middle
                        if fits(counts) and (best is None or self.harm(counts) < self.harm(best)):
                            best = counts
                    else:
                        low = middle
                multipliers[metric] = high
        if best is None:
            best = self._squeezed(self.relaxed(multipliers)[0], fits)
        if best is None:
            return None
        best = self._polished(best, fits)
        return Solution(counts=best, harm=self.harm(best), bound=max(bound, 0.0))

    def _squeezed(self, counts: Counts, fits: Callable[[Counts], bool]) -> Counts | None:
        """`counts` with the least harmful groups taken away until it fits."""
        counts = dict(counts)
        while not fits(counts):
            moves = [(self._change(i, counts, -1), i) for i in range(len(self.rooms))]
            harm, i = min(moves)
            if not np.isfinite(harm):
                return None
            counts[self.rooms[i].site.name] = self._step(i, counts, -1)
        return counts

    def _polished(self, counts: Counts, fits: Callable[[Counts], bool]) -> Counts:
        """Give groups back while they fit, most relief first, then exchange one group for another
        as long as that lowers the harm."""
        counts = self._filled(counts, fits)
        for _ in range(SWEEPS * len(self.rooms)):
            better = self._exchange(counts, fits)
            if better is None:
                return counts
            counts = self._filled(better, fits)
        return counts

    def _filled(self, counts: Counts, fits: Callable[[Counts], bool]) -> Counts:
        counts, closed = dict(counts), set()
        while len(closed) < len(self.rooms):
            relief = [
                (self._change(i, counts, +1), i) for i in range(len(self.rooms)) if i not in closed
            ]
            _, i = min(relief)
            more = {**counts, self.rooms[i].site.name: self._step(i, counts, +1)}
            if more != counts and fits(more):
                counts = more
            else:
                closed.add(i)
        return counts

    def _exchange(self, counts: Counts, fits: Callable[[Counts], bool]) -> Counts | None:
        up = [(self._change(i, counts, +1), i) for i in range(len(self.rooms))]
        down = [(self._change(i, counts, -1), i) for i in range(len(self.rooms))]
        trials = sorted((u + d, i, j) for u, i in up for d, j in down if i != j and u + d < -1e-12)
        for _, i, j in trials:
            other = {
                **counts,
                self.rooms[i].site.name: self._step(i, counts, +1),
                self.rooms[j].site.name: self._step(j, counts, -1),
            }
            if fits(other):
                return other
        return None

    def _step(self, i: int, counts: Mapping[str, int], by: int) -> int:
        """The next admissible count of site i, up or down; the same at the end."""
        allowed = self._all[i]
        at = int(np.searchsorted(allowed, counts[self.rooms[i].site.name]))
        return int(allowed[min(max(at + by, 0), len(allowed) - 1)])

    def _change(self, i: int, counts: Mapping[str, int], by: int) -> float:
        """What that step does to the harm; infinite downwards at the end."""
        now, then = counts[self.rooms[i].site.name], self._step(i, counts, by)
        if now == then:
            return np.inf if by < 0 else 0.0
        return float(self._curves[i][then] - self._curves[i][now])

    def _terms(
        self, multipliers: Mapping[str, float]
    ) -> tuple[list[np.ndarray], dict[tuple[int, int], np.ndarray]]:
        """The relaxed objective's terms of each site and of each pair, over their counts."""
        removed = [n - k for n, k in zip(self._units, self._some, strict=True)]
        nodes = [c[k].copy() for c, k in zip(self._curves, self._some, strict=True)]
        edges = {}
        for metric, multiplier in multipliers.items():
            price = self.prices[metric]
            for i, r in enumerate(removed):
                nodes[i] += multiplier * (price.pairs[i, i] * r * r / 2 - price.linear[i] * r)
        for i, j in (*self._tree, *self._rest):
            weight = sum(m * self.prices[k].pairs[i, j] for k, m in multipliers.items())
            edges[i, j] = weight * np.outer(removed[i], removed[j])
        return nodes, edges

    def _range(self, metric: str) -> tuple[float, float]:
        """Multipliers so small that nothing is cut, and so large that everything is."""
        saved = max(self.prices[metric].whole, 1.0)
        harms = np.concatenate([c[np.isfinite(c)] for c in self._curves])
        top = float(harms.max()) or 1.0
        return 1e-12 * top / saved, 1e6 * top * len(self.rooms) / max(
            float(np.abs(self.prices[metric].linear).min()), 1e-12 * saved
        )

    def _vector(self, counts: Mapping[str, int]) -> np.ndarray:
        return np.array([counts[r.site.name] for r in self.rooms])


def _admissible(room: Room) -> np.ndarray:
    """The counts a site may keep, ascending."""
    return np.array(sorted({room.rounded(k) for k in range(room.least, room.most + 1)}))


def _spread(n: int) -> np.ndarray:
    """At most `LEVELS` indices out of n, the ends among them."""
    return np.unique(np.linspace(0, n - 1, min(n, LEVELS)).round().astype(int))


def _forest(
    n: int, edges: Sequence[tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """A spanning forest, parents before children, and the edges that are left."""
    beside: dict[int, set[int]] = {i: set() for i in range(n)}
    for i, j in edges:
        beside[i].add(j)
        beside[j].add(i)
    tree, seen = [], set()
    for root in range(n):
        if root in seen:
            continue
        seen.add(root)
        front = [root]
        while front:
            i = front.pop()
            for j in sorted(beside[i] - seen):
                seen.add(j)
                tree.append((i, j))
                front.append(j)
    used = {frozenset(e) for e in tree}
    return tree, [e for e in edges if frozenset(e) not in used]


def _forest_minimum(
    nodes: Sequence[np.ndarray], edges: Sequence[tuple[int, int, np.ndarray]]
) -> list[int]:
    """Indices that minimize the sum of node and edge terms; edges (parent, child, term [P, C]) with
    parents before children. Ties: the smaller index."""
    message = [n.copy() for n in nodes]
    choice: dict[tuple[int, int], np.ndarray] = {}
    for i, j, term in reversed(edges):
        table = term + message[j]
        choice[i, j] = table.argmin(1)
        message[i] = message[i] + table.min(1)
    chosen = [int(m.argmin()) for m in message]
    for i, j, _ in edges:
        chosen[j] = int(choice[i, j][chosen[i]])
    return chosen


def _descend(
    chosen: list[int], nodes: Sequence[np.ndarray], edges: Mapping[tuple[int, int], np.ndarray]
) -> list[int]:
    """Coordinate descent over all terms from `chosen`."""
    chosen = list(chosen)
    for _ in range(SWEEPS):
        before = list(chosen)
        for i, node in enumerate(nodes):
            value = node.copy()
            for (a, b), term in edges.items():
                if a == i:
                    value += term[:, chosen[b]]
                elif b == i:
                    value += term[chosen[a]]
            chosen[i] = int(value.argmin())
        if chosen == before:
            break
    return chosen


def _value(
    chosen: Sequence[int],
    nodes: Sequence[np.ndarray],
    edges: Mapping[tuple[int, int], np.ndarray],
) -> float:
    total = sum(float(n[c]) for n, c in zip(nodes, chosen, strict=True))
    return total + sum(float(t[chosen[i], chosen[j]]) for (i, j), t in edges.items())
