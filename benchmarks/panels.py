"""Figures of the documentation: panels beside each other, each file in need of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from actprune.reporting import svg

TONES = ("#1f6feb", "#0b7a75", "#b45309", "#c6384f", "#7c4dbd", "#5a6370")
STYLE = (
    "text{font:11px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#5a6370}"
    ".t{fill:#16191d}.h{font-weight:600;fill:#16191d}"
    "path{fill:none}.grid{stroke:#e1e5ea}.axis{stroke:#7b8694}.rule{stroke:#7b8694;"
    "stroke-dasharray:2 3}.page{fill:#fff}"
    + "".join(
        f".d{i}{{fill:{c}}}.c{i}{{stroke:{c};stroke-width:1.6}}"
        f".o{i}{{stroke:{c};stroke-width:1.6;stroke-dasharray:5 3}}"
        for i, c in enumerate(TONES)
    )
)
PANEL, HEIGHT = 300.0, 250.0  # of one panel, in the units of the drawing
LEFT, RIGHT, TOP, BOTTOM = 52.0, 286.0, 52.0, 200.0


def across(panel: int, at: float) -> float:
    """The horizontal position `at` of a panel, in the drawing."""
    return panel * PANEL + at


def title(panel: int, content: str) -> str:
    """What stands above a panel."""
    return svg.text(across(panel, LEFT - 40), 20, content, "h")


def legend(keys: Sequence[tuple[str, str]]) -> list[str]:
    """Strokes and their names, in a row below the panels."""
    parts, at = [], LEFT - 40
    for kind, name in keys:
        parts.append(svg.line([(at, HEIGHT), (at + 18, HEIGHT)], kind))
        parts.append(svg.text(at + 23, HEIGHT + 4, name, "t"))
        at += 40 + 6.2 * len(name)
    return parts


def page(panels: int, parts: Sequence[str], label: str) -> str:
    """The whole file."""
    width, height = panels * PANEL + 10, HEIGHT + 18
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(label)}"><style>{STYLE}</style>'
        f"{svg.box(0, 0, width, height, 'page')}{''.join(parts)}</svg>"
    )
