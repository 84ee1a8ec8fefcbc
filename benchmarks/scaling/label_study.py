"""Question 6: do counts tell nets that generalize from nets that memorize?

All nets of this arm have the same images and the same number of steps; a share of their labels is
replaced by random ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.harness import table
from benchmarks.scaling.views import Array, View, column, grouped, views

# what is compared: name to (part of the net's counts, path)
STATISTICS: dict[str, tuple[str, ...]] = {
    "mean firing rate": ("spikes", "mean_rate"),
    "variance of rates": ("spikes", "rate_variance"),
    "mean Fano factor": ("spikes", "mean_fano"),
    "variance of Fano factors": ("spikes", "fano_variance"),
    "FF/(1 - rate)": ("spikes", "relative"),
    "FF/(1 - rate), by class": ("spikes_by_class", "relative"),
    "order share": ("order_share",),
    "share of order-preserving units": ("preserving",),
}

# and which paper speaks of it
SOURCES: dict[str, str] = {
    "mean firing rate": "[LS]",
    "mean Fano factor": "[LS]",
    "variance of rates": "[LS]",
    "variance of Fano factors": "[LS]",
    "FF/(1 - rate), by class": "(ours)",
    "order share": "[LZ]",
    "share of order-preserving units": "[LZ]",
}


def means(found: Sequence[View], part: str, path: tuple[str, ...]) -> tuple[float, float]:
    """Mean over seeds and its standard error; NaN where a part does not have it."""
    try:
        values = column(found, part, *path)
    except KeyError:
        return np.nan, np.nan
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def by_net(rows: Sequence[Any]) -> dict[tuple[int, int], dict[float, list[View]]]:
    """(hidden layers, layer) to the share of random labels to the views of all seeds."""
    found = grouped(views(rows, "labels"), lambda v: (v["layers"], v["layer"]))
    return {k: dict(sorted(grouped(g, lambda v: v["noise"]).items())) for k, g in found.items()}


def directions(rows: Sequence[Any], part: str) -> dict[str, dict[tuple[int, int], list[float]]]:
    """Statistic to layer to differences, random minus true labels, seed by seed."""
    result: dict[str, dict[tuple[int, int], list[float]]] = {}
    for name, path in STATISTICS.items():
        for key, levels in by_net(rows).items():
            if {0.0, 1.0} - set(levels):
                continue
            try:
                true, random = _by_seed(levels[0.0], part, path), _by_seed(levels[1.0], part, path)
            except KeyError:
                continue
            both = [seed for seed in true if seed in random]
            result.setdefault(name, {})[key] = [float(random[s] - true[s]) for s in both]
    return result


def agreeing(differences: dict[tuple[int, int], list[float]]) -> tuple[int, int, int]:
    """Differences above 0, below 0, and layers in which all seeds agree."""
    values = np.array([d for layer in differences.values() for d in layer])
    same = sum(all(d > 0 for d in v) or all(d < 0 for d in v) for v in differences.values())
    return int((values > 0).sum()), int((values < 0).sum()), same


def _by_seed(found: Sequence[View], part: str, path: tuple[str, ...]) -> dict[int, float]:
    values: Array = column(found, part, *path)
    return {v["seed"]: float(x) for v, x in zip(found, values, strict=True)}


def label_table(rows: Sequence[Any]) -> str:
    """One line a layer and share of random labels, counted on images never trained on."""
    lines = []
    for (layers, layer), levels in by_net(rows).items():
        if not levels:
            continue
        some = next(iter(levels.values()))
        for name, part, group in (
            ("untrained", "untrained", some),
            *((f"{100 * noise:.0f} % random", "test", g) for noise, g in levels.items()),
        ):
            loss = np.mean([v["looks"][-1]["test_accuracy"] for v in group])
            fitted = np.mean([v["train_loss"] for v in group])
            trained = part == "test"
            lines.append(
                [
                    f"{layers} × {group[0]['width']}, layer {layer}",
                    name,
                    f"{fitted:.3f}" if trained else "-",
                    f"{100 * loss:.1f}" if trained else "-",
                    *(_shown(*means(group, part, path)) for path in STATISTICS.values()),
                ]
            )
    head = ["hidden layers", "labels", "training loss", "test accuracy, %"]
    return table([*head, *STATISTICS], lines)


def _shown(mean: float, error: float) -> str:
    if not np.isfinite(mean):
        return "-"
    return f"{mean:.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "")
