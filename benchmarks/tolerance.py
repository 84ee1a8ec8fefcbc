"""Whether a forecast agrees with its measurement, given the noise of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import hypot
from statistics import NormalDist, median
from typing import Any

SMALL = 0.1  # nats: plans whose measured change is below this are counted
RELATIVE, ABSOLUTE, ERRORS = 0.25, 0.005, 2.0  # of the change; nats; standard errors of the gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Plans of one kind: how many forecasts agree, and how large the gaps are."""

    plans: int
    within: int  # gap <= max(25 % of the change, .005 nats, 2 standard errors of the gap)
    covered: int  # gap within its 90 % interval, both errors combined
    median_gap: float  # nats
    median_error: float  # standard error of the gap, nats


def standard_error(result: Mapping[str, float]) -> float:
    """From a two-sided interval, read as normal."""
    z = NormalDist().inv_cdf(0.5 + result["level"] / 2)
    return (result["high"] - result["low"]) / 2 / z


def held(found: Iterable[Mapping[str, Any]]) -> Held:
    """Count one group of rows, each with `forecast` and `measured`."""
    gaps, errors, within, covered = [], [], 0, 0
    for row in found:
        f, m = row["forecast"], row["measured"]
        gap = abs(f["loss_delta"] - m["loss_delta"])
        error = hypot(standard_error(f), standard_error(m))
        allowed = max(RELATIVE * abs(m["loss_delta"]), ABSOLUTE, ERRORS * error)
        within += gap <= allowed
        covered += gap <= NormalDist().inv_cdf(0.95) * error
        gaps.append(gap)
        errors.append(error)
    return Held(
        plans=len(gaps),
        within=within,
        covered=covered,
        median_gap=median(gaps),
        median_error=median(errors),
    )


def held_by_group(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Held]:
    """By network and way of cutting; only measured changes below `SMALL`."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["measured"]["loss_delta"] < SMALL:
            way = f"{row['criterion']}, {row['compensate']}"
            groups.setdefault((row["net"], way), []).append(row)
    return {key: held(found) for key, found in groups.items()}
