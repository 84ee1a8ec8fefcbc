"""SVG files: panels beside each other, the legend below, each file in need of nothing else."""

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
KEY_ROW = 20.0  # from one row of the legend to the next


def across(panel: int, at: float) -> float:
    """The horizontal position `at` of a panel, in the drawing."""
    return panel * PANEL + at


def title(panel: int, content: str) -> str:
    """What stands above a panel."""
    return svg.text(across(panel, LEFT - 40), 20, content, "h")


def page(
    panels: int, parts: Sequence[str], label: str, keys: Sequence[tuple[str, str]] = ()
) -> str:
    """The whole file.

    Args:
        label: what it shows in words, for those who cannot see it.
        keys: strokes and their names, for a legend in as many rows as it needs.
    """
    width = panels * PANEL + 10
    below, rows = _legend(keys, width - 10)
    height = HEIGHT - 2 + KEY_ROW * max(rows, 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(label)}"><style>{STYLE}</style>'
        f"{svg.box(0, 0, width, height, 'page')}{''.join([*parts, *below])}</svg>"
    )


def _legend(keys: Sequence[tuple[str, str]], right: float) -> tuple[list[str], int]:
    """The legend, none of it beyond `right`, and the number of its rows."""
    parts, start, row = [], LEFT - 40, 0
    at = start
    for kind, name in keys:
        end = at + 23 + 6.2 * len(name)  # about what its letters take
        if end > right and at > start:
            at, end, row = start, end - at + start, row + 1
        y = HEIGHT + KEY_ROW * row
        parts.append(svg.line([(at, y), (at + 18, y)], kind))
        parts.append(svg.text(at + 23, y + 4, name, "t"))
        at = end + 17
    return parts, row + 1
