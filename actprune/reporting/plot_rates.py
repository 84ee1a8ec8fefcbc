"""How often units fire: the histogram of their rates, and the Lorenz curve."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from actprune.reporting import svg
from actprune.reporting.schema import ReportSite

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360.0, 240.0, 46.0, 350.0, 26.0, 198.0
BINS = 25


def rates_figure(site: ReportSite) -> str:
    """Histogram of the units' rates (share of samples), kept and removed units apart."""
    removed = set(site.removed)
    kept, gone = [0] * BINS, [0] * BINS
    for unit, rate in enumerate(site.rates):
        (gone if unit in removed else kept)[_bin(rate)] += 1
    most = max(1, *(k + g for k, g in zip(kept, gone, strict=True)))
    x = svg.Axis(low=0, high=1, start=LEFT, end=RIGHT, percent=True)
    y = svg.Axis(low=0, high=most * 1.04, start=BOTTOM, end=TOP)
    parts = [svg.frame(x, y, "samples that fire the unit", "units")]
    for i in range(BINS):
        left, right = x.at(i / BINS) + 0.6, x.at((i + 1) / BINS) - 0.6
        base = BOTTOM
        tip = f"{100 * i / BINS:g} to {100 * (i + 1) / BINS:g} %: {gone[i]} removed, {kept[i]} kept"
        for n, kind in ((gone[i], "removed"), (kept[i], "kept")):
            if n:
                tall = max(1.5, BOTTOM - y.at(n))
                parts.append(svg.box(left, base - tall, right - left, tall, f"fill {kind}", tip))
                base -= tall
    rug = (x.at(site.rates[u]) for u in sorted(removed) if u < len(site.rates))
    parts.append(svg.ticks(rug, BOTTOM - 6, BOTTOM, "rug"))
    return svg.figure(WIDTH, HEIGHT, parts, "Histogram of the units' activation rates")


def lorenz_figure(
    units: Sequence[float],
    activity: Sequence[float],
    removed: tuple[float, float] | None = None,
) -> str:
    """Share of all activity carried by the rarest units.

    Args:
        units, activity: points of the measured curve, shares of 0 to 1.
        removed: share of units removed, and what as many of the rarest units carry.
    """
    x = svg.Axis(low=0, high=1, start=LEFT, end=RIGHT, percent=True)
    y = svg.Axis(low=0, high=1, start=BOTTOM, end=TOP, percent=True)
    parts = [
        svg.frame(x, y, "units, rarest first", "activity"),
        svg.line([(x.at(0), y.at(0)), (x.at(1), y.at(1))], "even"),
    ]
    parts.append(svg.line(_points(x, y, units, activity), "curve seen"))
    if removed is not None:
        across, up = x.at(removed[0]), y.at(removed[1])
        parts.append(svg.line([(across, BOTTOM), (across, up), (LEFT, up)], "lead"))
        parts.append(svg.dot(across, up, 4.5, "dot removed"))
    return svg.figure(WIDTH, HEIGHT, parts, "Lorenz curve of the units' activity")


def _points(
    x: svg.Axis, y: svg.Axis, xs: Sequence[float], ys: Sequence[float]
) -> list[tuple[float, float]]:
    return [(x.at(a), y.at(b)) for a, b in zip(xs, ys, strict=True)]


def _bin(rate: float) -> int:
    return min(BINS - 1, max(0, int(rate * BINS))) if isfinite(rate) else 0
