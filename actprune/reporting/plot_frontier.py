"""The frontier drawn: harm, on a logarithmic axis, against the share of a cost that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

from actprune.planning.sweep import Frontier, FrontierRow
from actprune.reporting import svg, svg_file
from actprune.reporting.numbers import number, percent
from actprune.reporting.svg_file import BOTTOM, LEFT, PANEL, RIGHT, TOP, across

COSTS = {"macs": "MACs", "params": "parameters"}  # a panel each
STROKES = {"uniform": "o2", "global": "c0"}  # the last one lies on top
RADIUS = {"uniform": 2.2, "global": 3.0}
DECADES = 6  # of harm that are drawn; what is below lies on the axis
NAMED = 8  # sites whose units a tip tells


def frontier_file(found: Frontier) -> str:
    """An SVG file with a panel for MACs and one for parameters."""
    parts = [p for i, cost in enumerate(COSTS) for p in panel(found, cost, i)]
    keys = [(STROKES[name], f"{name} allocation") for name in reversed(curves(found))]
    parts.append(svg.text(LEFT - 40, 20, f"{found.model}: harm of every size", "h"))
    return svg_file.page(len(COSTS), parts, label(found, " and ".join(COSTS.values())), keys) + "\n"


def frontier_figure(found: Frontier, cost: str) -> str:
    """One panel for a page, with that page's colours."""
    return svg.figure(PANEL, BOTTOM + 38, panel(found, cost), label(found, COSTS[cost]))


def curves(found: Frontier) -> dict[str, Sequence[FrontierRow]]:
    """What is drawn, by allocation."""
    shown = {"uniform": found.uniform, found.allocate: found.rows}
    return {name: rows for name, rows in shown.items() if rows}


def length(found: Frontier, row: FrontierRow) -> float:
    """How high a row's point lies over the axis, 0 to 1: a bar's length where there are none."""
    y = _harm_axis([r.harm for r in found.rows])
    return (y.at(row.harm) - BOTTOM) / (y.at(max(r.harm for r in found.rows)) - BOTTOM or 1.0)


def label(found: Frontier, costs: str) -> str:
    """The drawing in words."""
    ends = found.rows[0], found.rows[-1]
    said = (f"{percent(r.macs)} of MACs does {number(r.harm)}" for r in ends)
    return f"Harm against the share of {costs} kept, {found.model}: {' and '.join(said)}"


def panel(found: Frontier, cost: str, place: int = 0) -> list[str]:
    """Both curves over one cost, as panel number `place` of a drawing."""
    shown = curves(found)
    rows = [r for c in shown.values() for r in c]
    least = min(getattr(r, cost) for r in rows)
    x = svg.Axis(low=min(floor(10 * least + 1e-9) / 10, 0.9), high=1.0,
                 start=across(place, LEFT), end=across(place, RIGHT), percent=True)  # fmt: skip
    y = _harm_axis([r.harm for r in rows])
    parts = [svg.frame(x, y, f"{COSTS[cost]} kept", "harm")]
    none = "0" if all(r.harm == 0 or r.harm > y.low for r in rows) else "less"
    parts.append(svg.text(x.start - 6, y.start + 3.5, none, "n", "end"))
    for name, points in shown.items():
        kind, radius = STROKES[name], RADIUS[name]
        at = [(x.at(getattr(r, cost)), y.at(r.harm)) for r in points]
        tips = [_tip(r, name) for r in points]
        parts.append(svg.line(at, kind))
        parts += [svg.dot(*p, radius, f"d{kind[1]}", t) for p, t in zip(at, tips, strict=True)]
    return parts


def _harm_axis(harms: Sequence[float]) -> svg.Axis:
    """From the largest down to a whole decade, and below it room for what has no logarithm."""
    above = [h for h in harms if h > 0]
    if not above:
        return svg.Axis(low=0, high=1, start=BOTTOM, end=TOP)
    top = max(above)
    decade = floor(log10(min(h for h in above if h >= top * 10.0**-DECADES)))
    low = 10.0 ** (decade - 0.1 * (log10(top) - decade))
    return svg.Axis(low=low, high=top * 1.2, start=BOTTOM, end=TOP, log=True)


def _tip(row: FrontierRow, allocation: str) -> str:
    kept = ", ".join(f"{name} {units}" for name, units in list(row.kept.items())[:NAMED])
    more = len(row.kept) - NAMED
    return (
        f"{allocation}: harm {number(row.harm)}\n"
        f"MACs {percent(row.macs)}, parameters {percent(row.params)}, "
        f"bytes {percent(row.bytes)}, units {percent(row.units)}\n"
        f"units kept: {kept}{f' and {more} sites more' if more > 0 else ''}"
    )
