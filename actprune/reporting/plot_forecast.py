"""Forecast against measurement: intervals of the loss change on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from actprune.reporting import svg
from actprune.reporting.numbers import estimate, unit_of
from actprune.reporting.schema import Report
from actprune.reporting.words import tried

WIDTH, LEFT, RIGHT, ROW = 400.0, 8.0, 392.0, 44.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A loss change with its interval, or the reason why there is none."""

    name: str
    kind: str  # class of its colour
    values: tuple[float, float, float] | None  # low, point, high
    reason: str = ""
    leads: bool = True  # whether it decides the range of the axis


def forecast_figure(report: Report, compare: Report | None = None) -> str:
    """The forecast, what else was forecast, and the measurement as intervals.

    A local or counts-only forecast far from the others is cut at the edge of the axis and says so,
    so that it does not flatten what matters.
    """
    rows = _intervals(report, "")
    if compare is not None:
        rows = [*rows, *(_intervals(compare, "other: "))]
    height = 14 + ROW * len(rows) + 42
    x = _axis(rows)
    bottom = 14 + ROW * len(rows)
    parts = []
    lead = rows[0].values
    if lead is not None:
        left, right = x.at(lead[0]), x.at(lead[2])
        parts.append(svg.box(left, 8, right - left, bottom - 8, "band"))
    parts.append(svg.line([(x.at(0), 8), (x.at(0), bottom)], "zero"))
    for i, row in enumerate(rows):
        parts.append(_draw(row, x, 14 + ROW * i))
    for v in x.ticks(5):
        parts.append(svg.line([(x.at(v), bottom), (x.at(v), bottom + 4)], "axis"))
        parts.append(svg.text(x.at(v), bottom + 16, x.label(v), "n", "middle"))
    parts.append(svg.line([(LEFT, bottom), (RIGHT, bottom)], "axis"))
    unit = unit_of(report.loss_kind)
    title = f"loss change, pruned minus dense{f' ({unit})' if unit else ''}"
    parts.append(svg.text((LEFT + RIGHT) / 2, bottom + 34, title, "t", "middle"))
    return svg.figure(WIDTH, height, parts, "Forecast and measured loss change as intervals")


def _intervals(report: Report, prefix: str) -> list[Interval]:
    p, m = report.predicted, report.measured
    name = f"{prefix}forecast{tried(report)}"
    local = []
    if p.local is not None:
        values = (p.local.low, p.local.loss_delta, p.local.high)
        local.append(_interval(f"{prefix}forecast, local", "local", values, None, leads=False))
    return [
        _interval(name, "forecast", (p.low, p.loss_delta, p.high), p.reason),
        *local,
        _interval(
            f"{prefix}forecast, counts only",
            "counts",
            (p.counts_only.low, p.counts_only.loss_delta, p.counts_only.high),
            p.counts_only.reason,
            leads=False,
        ),
        _interval(f"{prefix}measured", "measured", (m.low, m.loss_delta, m.high), None),
    ]


def _interval(
    name: str,
    kind: str,
    values: tuple[float | None, float | None, float | None],
    reason: str | None,
    leads: bool = True,
) -> Interval:
    low, point, high = values
    if low is None or point is None or high is None:
        why = reason or "no reason was recorded"
        return Interval(name=name, kind=kind, values=None, reason=why, leads=leads)
    if not all(map(isfinite, (low, point, high))):
        why = "its value or interval is not finite"
        return Interval(name=name, kind=kind, values=None, reason=why, leads=leads)
    return Interval(name=name, kind=kind, values=(low, point, high), leads=leads)


def _axis(rows: Sequence[Interval]) -> svg.Axis:
    leading = [0.0, *(v for r in rows if r.values and r.leads for v in r.values)]
    others = [v for r in rows if r.values and not r.leads for v in r.values]
    reach = 2.5 * (max(leading) - min(leading))
    if reach:
        low, high = min(leading) - reach, max(leading) + reach
        others = [min(max(v, low), high) for v in others]
    return svg.axis([*leading, *others], start=LEFT, end=RIGHT, signed=True)


def _draw(row: Interval, x: svg.Axis, top: float) -> str:
    y = top + 26
    if row.values is None:
        return svg.text(LEFT, top + 12, row.name, "name") + svg.text(
            LEFT, y + 2, f"none: {_short(row.reason)}", "why"
        )
    low, point, high = row.values
    said, interval = estimate(point, low, high)
    parts = [
        svg.text(LEFT, top + 12, row.name, "name"),
        svg.text(RIGHT, top + 12, f"{said} {interval}", "n value", "end"),
    ]
    left, right = max(LEFT, x.at(low)), min(RIGHT, x.at(high))
    if left <= right:
        parts.append(svg.box(left, y - 4, max(right - left, 1.5), 8, f"bar {row.kind}"))
    if LEFT <= x.at(point) <= RIGHT:
        parts.append(svg.dot(x.at(point), y, 5.5, f"dot {row.kind}"))
    if x.at(high) > RIGHT:
        parts.append(svg.line([(RIGHT - 7, y - 6), (RIGHT, y), (RIGHT - 7, y + 6)], "arrow"))
    if x.at(low) < LEFT:
        parts.append(svg.line([(LEFT + 7, y - 6), (LEFT, y), (LEFT + 7, y + 6)], "arrow"))
    return "".join(parts)


def _short(reason: str) -> str:
    return reason if len(reason) <= 58 else f"{reason[:55].rstrip()}..."
