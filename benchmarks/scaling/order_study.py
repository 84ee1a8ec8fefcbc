"""Question 5: does the order of the data decide which units come to fire often?

An urn's units settle at rates of their own each time it is run: rates under two orders of the same
images would be independent. Rates that the initialization and the data fix would be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.harness import table
from benchmarks.scaling.views import Array, View, rank_correlation, views

ARMS = ("orders", "orders sparse")
KINDS = ("another order", "other images", "another initialization", "the same net untrained")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Spearman's correlation of unit rates over pairs of nets of one kind."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.values))

    @property
    def least(self) -> float:
        return float(np.nanmin(self.values))

    @property
    def most(self) -> float:
        return float(np.nanmax(self.values))

    @property
    def pairs(self) -> int:
        return len(self.values)


def agreements(rows: Sequence[Any], arm: str, counts: str = "counts_test") -> dict[str, Agreement]:
    """Pairs that share their initialization and images, their initialization, or neither.

    Args:
        rows: of the study.
        arm: one of `ARMS`.
        counts: "counts_test" of the trained nets, or "counts_live" over the training itself.
    """
    found = views(rows, arm)

    def same_init(a: View, b: View) -> bool:
        return a["seed"] == b["seed"]

    def same_data(a: View, b: View) -> bool:
        return same_init(a, b) and a["subset"] is None and b["subset"] is None

    kinds: dict[str, Callable[[View, View], bool]] = {
        "another order": same_data,
        "other images": lambda a, b: same_init(a, b) and not same_data(a, b),
        "another initialization": lambda a, b: not same_init(a, b),
    }
    result = {}
    for kind, belongs in kinds.items():
        values = [
            rank_correlation(np.array(a[counts], float), np.array(b[counts], float))
            for a, b in combinations(found, 2)
            if belongs(a, b)
        ]
        if values:
            result[kind] = Agreement(values=tuple(values))
    own = [
        rank_correlation(np.array(v["counts_untrained"], float), np.array(v[counts], float))
        for v in found
    ]
    if own:
        result["the same net untrained"] = Agreement(values=tuple(own))
    return result


def shared_variance(rows: Sequence[Any], arm: str) -> float:
    """Share of the variance of units' rates that the orders of one initialization share.

    Between-unit variance of the mean over orders, less what independent orders would leave in it,
    over the whole: 1 if the order does not matter, 0 if it decides everything.
    """
    shares = []
    for seed in sorted({v["seed"] for v in views(rows, arm)}):
        group = [v for v in views(rows, arm) if v["seed"] == seed and v["subset"] is None]
        if len(group) < 2:
            continue
        rates: Array = np.array([np.array(v["counts_test"]) / v["test"]["n"] for v in group])
        within = rates.var(0, ddof=1).mean()
        between = rates.mean(0).var(ddof=1) - within / len(group)
        shares.append(between / (between + within))
    return float(np.mean(shares)) if shares else np.nan


def free_overlap(rows: Sequence[Any], arm: str) -> tuple[float, float, float]:
    """Units free under two orders over those free under either; by chance; mean free share."""
    seen, chance, free = [], [], []
    for a, b in combinations(views(rows, arm), 2):
        if a["seed"] != b["seed"] or a["subset"] is not None or b["subset"] is not None:
            continue
        x, y = np.array(a["counts_test"]) == 0, np.array(b["counts_test"]) == 0
        if not (x | y).any():
            continue
        seen.append((x & y).sum() / (x | y).sum())
        both = x.mean() * y.mean()
        chance.append(both / (x.mean() + y.mean() - both))
        free += [x.mean(), y.mean()]
    if not seen:
        return np.nan, np.nan, np.nan
    return float(np.mean(seen)), float(np.mean(chance)), float(np.mean(free))


def order_table(rows: Sequence[Any]) -> str:
    """Rank correlations of unit rates by what two nets share."""
    lines = []
    for arm in ARMS:
        for kind, a in agreements(rows, arm).items():
            shown = f"{a.mean:+.3f} [{a.least:+.3f}, {a.most:+.3f}]"
            lines.append(["sparse" if "sparse" in arm else "plain", kind, str(a.pairs), shown])
    head = ["nets", "the other net differs by", "pairs", "rank correlation of unit rates"]
    return table([*head[:3], f"{head[3]} [least, most]"], lines)
