"""Whether forecasts agree with their measurements, over plans of one kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot, sqrt
from statistics import NormalDist, median
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]

COUNTED = 0.3  # nats: plans whose measured change is below this are counted
FLOOR, ERRORS = 0.01, 2.0  # nats; standard errors of the measurement
SIZES = (0.01, 0.03, 0.1, COUNTED)  # nats: upper ends of the classes of cuts
LARGE = 5_000  # held-out samples from which on a network counts as well measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """`plans`: with a forecast, out of `asked`; `error`: the median of |forecast - measured| over
    max(|measured|, .01, 2 standard errors); `noise`: what a forecast that knew the population's
    change would be expected to err by that measure; `covered`: share of the plans; `folds`: how
    many networks x seeds x folds, each with its own held-out samples."""

    asked: int
    plans: int
    folds: int
    error: float
    noise: float
    covered: float
    covered_error: float  # standard error, of folds drawn independently


def scale(measured: Row) -> float:
    """What an error is divided by."""
    return max(abs(measured["loss_delta"]), FLOOR, ERRORS * standard_error(measured))


def standard_error(result: Row) -> float:
    """From a two-sided interval, read as normal."""
    z = NormalDist().inv_cdf(0.5 + result["level"] / 2)
    return (result["high"] - result["low"]) / 2 / z


def error(forecast: Row, measured: Row) -> float:
    """|forecast - measured| over `scale`."""
    return abs(forecast["loss_delta"] - measured["loss_delta"]) / scale(measured)


def covers(forecast: Row, measured: Row) -> bool:
    """Whether the forecast's interval, each side widened in quadrature by the measurement's own
    half-width (as the verdict does), holds the measurement."""
    f, m = forecast, measured
    low = f["loss_delta"] - hypot(f["loss_delta"] - f["low"], m["high"] - m["loss_delta"])
    high = f["loss_delta"] + hypot(f["high"] - f["loss_delta"], m["loss_delta"] - m["low"])
    return low <= m["loss_delta"] <= high


def held(found: Sequence[Row], by: str) -> Held | None:
    """Judge the forecasts in column `by`: forecast, local or counts_only; None without any."""
    made = [r for r in found if r[by] is not None]
    if not made:
        return None
    middle = NormalDist().inv_cdf(0.75)  # the median of |z|
    inside = [covers(r[by], r["measured"]) for r in made]
    share = sum(inside) / len(made)
    folds: dict[Any, list[float]] = {}
    for r, held_it in zip(made, inside, strict=True):
        folds.setdefault((r["net"], r["seed"], r["fold"]), []).append(held_it - share)
    return Held(
        asked=len(found),
        plans=len(made),
        folds=len(folds),
        error=median(error(r[by], r["measured"]) for r in made),
        noise=median(middle * standard_error(r["measured"]) / scale(r["measured"]) for r in made),
        covered=share,
        covered_error=sqrt(sum(sum(f) ** 2 for f in folds.values())) / len(made),
    )


def counted(rows: Iterable[Row]) -> list[Row]:
    """The rows below `COUNTED`."""
    return [r for r in rows if r["measured"]["loss_delta"] < COUNTED]


def well_measured(rows: Iterable[Row]) -> list[Row]:
    """The rows with `LARGE` and more held-out samples."""
    return [r for r in rows if r["measured"]["samples"] >= LARGE]


def by_size(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows by measured change, smallest first, those beyond `COUNTED` last."""
    names = [f"below {SIZES[0]:g}"]
    names += [f"{a:g} to {b:g}" for a, b in pairwise(SIZES)]
    names.append(f"{SIZES[-1]:g} and more (not counted)")
    groups: dict[str, list[Row]] = {name: [] for name in names}
    for row in rows:
        groups[names[sum(row["measured"]["loss_delta"] >= s for s in SIZES)]].append(row)
    return {name: found for name, found in groups.items() if found}
