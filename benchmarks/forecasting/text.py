"""The tables of the forecasts, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.forecasting.judge import Row, by_size, counted, held, well_measured
from benchmarks.harness import table

METHODS = {"forecast": "probed", "local": "local", "counts_only": "counts only"}
HEAD = ["plans", "networks x seeds x folds", "forecast", "median error", "of which noise"]
HEAD += ["90 % interval covers"]


def summary(rows: Sequence[Row]) -> str:
    """Every way of forecasting, on the networks with many held-out samples and on all."""
    new = [r for r in rows if not r["chosen_on"]]
    groups = {
        "reported on, 5,000 and more held-out samples": counted(well_measured(new)),
        "reported on, all": counted(new),
        "method chosen on": counted(r for r in rows if r["chosen_on"]),
    }
    return _lines("networks and seeds", groups, METHODS)


def by_network(rows: Sequence[Row]) -> str:
    """The plans reported on, by network."""
    nets = dict.fromkeys(r["net"] for r in rows)
    new = counted(r for r in rows if not r["chosen_on"])
    return _lines("network", {n: [r for r in new if r["net"] == n] for n in nets}, METHODS)


def by_change(rows: Sequence[Row]) -> str:
    """The plans reported on with many held-out samples, by measured change."""
    groups = by_size(well_measured(r for r in rows if not r["chosen_on"]))
    return _lines("measured change (nats)", groups, METHODS)


def _lines(title: str, groups: Mapping[str, Sequence[Row]], methods: Mapping[str, str]) -> str:
    lines = []
    for name, found in groups.items():
        for column, method in methods.items():
            h = held(found, column)
            if h is None:
                continue
            of = "" if h.plans == h.asked else f" of {h.asked}"
            lines.append(
                [
                    name,
                    f"{h.plans}{of}",
                    str(h.folds),
                    method,
                    f"{100 * h.error:.0f} %",
                    f"{100 * h.noise:.0f} %",
                    f"{100 * h.covered:.0f} % ± {100 * h.covered_error:.0f}",
                ]
            )
    return table([title, *HEAD], lines)
