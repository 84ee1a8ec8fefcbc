"""Rows as the questions read them: one view a hidden layer of a net."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, Any]
View = Mapping[str, Any]  # a row's own fields, one layer's results, and `layer`, from 1 on
Array = NDArray[np.float64]

T = TypeVar("T", bound=Mapping[str, Any])
K = TypeVar("K", bound=Hashable)

SETTLED = 100  # training images from which on a net is asked about more than K and its loss
SCALING = ("plain", "two", "sparse", "sparser")  # the arms that vary the data


def views(rows: Iterable[Row], *arms: str) -> list[View]:
    """One view for each hidden layer of the rows of `arms`."""
    return [
        {**{k: v for k, v in row.items() if k != "layer_results"}, **results, "layer": i}
        for row in rows
        if row["arm"] in arms
        for i, results in enumerate(row["layer_results"], 1)
    ]


def grouped(found: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """What shares a key, in the order of the rows."""
    groups: dict[K, list[T]] = {}
    for v in found:
        groups.setdefault(key(v), []).append(v)
    return groups


def settled(rows: Iterable[Row], *arms: str) -> list[View]:
    """The views of nets with at least `SETTLED` training images."""
    return [v for v in views(rows, *arms) if v["samples"] >= SETTLED]


def sites(found: Iterable[View], least: int = 4) -> dict[tuple[str, int, int], list[View]]:
    """(arm, width, layer) to its views over data sizes and seeds, at least so many sizes."""
    groups = grouped(found, lambda v: (v["arm"], v["width"], v["layer"]))
    return {k: g for k, g in groups.items() if len({v["samples"] for v in g}) >= least}


def column(found: Iterable[View], *path: str) -> Array:
    """The numbers at a path of keys; NaN where there is None."""
    values = []
    for v in found:
        at: Any = v
        for key in path:
            at = at[key]
        values.append(np.nan if at is None else at)
    return np.array(values, dtype=np.float64)


def ends(D: Array, values: Array) -> tuple[float, float]:
    """Means of `values` at the smallest and at the largest D."""
    return float(values[D.min() == D].mean()), float(values[D.max() == D].mean())


def slope(x: Array, y: Array) -> tuple[float, float, float]:
    """Least squares of y on x: slope, its standard error, R2; NaN with fewer than three points."""
    x, y = x[np.isfinite(x) & np.isfinite(y)], y[np.isfinite(x) & np.isfinite(y)]
    if len(x) < 3 or np.ptp(x) == 0:
        return np.nan, np.nan, np.nan
    away = x - x.mean()
    rise = float(away @ y / (away @ away))
    rest = y - y.mean() - rise * away
    error = float(np.sqrt(rest @ rest / (len(x) - 2) / (away @ away)))
    total = float((y - y.mean()) @ (y - y.mean()))
    return rise, error, 1 - float(rest @ rest) / total if total else np.nan


def rank_correlation(x: Array, y: Array) -> float:
    """Spearman's; NaN where one side is constant or there are fewer than three pairs."""
    from scipy.stats import rankdata

    here = np.isfinite(x) & np.isfinite(y)
    x, y = x[here], y[here]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def named(site: tuple[str, int, int]) -> str:
    """A site as tables call it."""
    arm, width, layer = site
    return f"{arm} {width}" + (f", layer {layer}" if arm == "two" else "")
