"""The charts of a report: pure functions from the report to inline SVG, or to the reason why not.

The same report gives the same bytes. Colours and text sizes come from the page's style sheet.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from actprune.reporting import theory_view
from actprune.reporting.numbers import percent
from actprune.reporting.plot_forecast import forecast_figure as forecast_figure
from actprune.reporting.plot_rates import lorenz_figure, rates_figure
from actprune.reporting.plot_working import working_figure
from actprune.reporting.schema import ReportSite


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart with the names of its curves and what it says; or the reason why it is missing."""

    title: str
    svg: str | None
    keys: tuple[tuple[str, str, str], ...] = ()  # name, colour of the style sheet, stroke
    caption: str = ""
    reason: str = ""


def site_panels(site: ReportSite) -> tuple[Panel, ...]:
    """Growth of the working units, rates, and Lorenz curve of one site."""
    return (_growth(site), _rates(site), _lorenz(site))


_CURVES = {
    "seen": ("seen (rarefaction)", "ink", "line"),
    "fitted": ("fitted", "orange", "dash"),
    "published": ("published law", "blue", "dots"),
}


def _growth(site: ReportSite) -> Panel:
    title = "Working units K(d)"
    found = theory_view.growth(site.theory)
    if isinstance(found, theory_view.Missing):
        return Panel(title=title, svg=None, reason=found.reason)
    caption = (
        "Units that have fired at least once after d samples. Where the seen curve is flat at the "
        "right, more samples would show little that is new."
    )
    if "published" in found.curves:
        caption += " Published law: Zhang & Sui, arXiv 2412.18073."
    keys = tuple(
        (f"{name}: {site.family}" if kind == "fitted" and site.family else name, colour, stroke)
        for kind, (name, colour, stroke) in _CURVES.items()
        if kind in found.curves
    )
    chart = working_figure(found.d, found.curves, site.units)
    return Panel(title=title, svg=chart, keys=keys, caption=caption)


def _rates(site: ReportSite) -> Panel:
    title = "How often units fire"
    if not site.rates:
        return Panel(title=title, svg=None, reason=theory_view.UNRECORDED)
    silent = sum(r == 0 for r in site.rates)
    caption = f"Units by the share of calibration samples that fire them; {silent} never fired."
    if any(r == 1 for r in site.rates):
        caption += f" {sum(r == 1 for r in site.rates)} fired on every sample."
    keys = (("kept", "teal", "block"), ("removed", "red", "block"))
    return Panel(title=title, svg=rates_figure(site), keys=keys, caption=caption)


def _lorenz(site: ReportSite) -> Panel:
    title = "Lorenz curve of activity"
    found = theory_view.lorenz(site.theory)
    if isinstance(found, theory_view.Missing):
        return Panel(title=title, svg=None, reason=found.reason)
    share = len(site.removed) / site.units if site.units else 0.0
    carried = _interpolate(share, found)
    caption = "Share of all activity carried by the rarest units; dotted: all alike."
    keys = [("activity", "ink", "line")]
    if site.removed:
        keys.append(("share removed", "red", "dash"))
        caption += (
            f" {percent(share)} of the units were removed; the rarest {percent(share)} carry "
            f"{percent(carried)} of the activity on these samples."
        )
    chart = lorenz_figure(
        found.units, found.activity, removed=(share, carried) if site.removed else None
    )
    return Panel(title=title, svg=chart, keys=tuple(keys), caption=caption)


def _interpolate(share: float, curve: theory_view.Lorenz) -> float:
    points = list(zip(curve.units, curve.activity, strict=True))
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= share <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (share - x0) / (x1 - x0)
    return points[-1][1]
