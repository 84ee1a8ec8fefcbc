"""The few SVG shapes that the charts need: axes, lines, bars, marks.

Drawn by hand rather than by a plotting library: a chart is then a few kilobytes of text, the same
bytes on every machine, and takes its colours from the page's style sheet, light or dark. Colours
are classes; lengths are in the units of the chart's view box.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from actprune.reporting.numbers import number

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Maps values in [low, high] to positions from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False  # low > 0 then
    percent: bool = False  # how ticks are written
    signed: bool = False

    def at(self, value: float) -> float:
        if self.log:
            share = log10(max(value, self.low) / self.low) / log10(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> tuple[float, ...]:
        """At most about `count` round values inside the axis."""
        if self.log:
            powers = range(ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9) + 1)
            every = max(1, ceil(len(powers) / count))
            return tuple(10.0**p for p in powers[::every])
        raw = (self.high - self.low) / count
        power = 10.0 ** floor(log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return tuple(k * step for k in range(first, last + 1))

    def label(self, value: float) -> str:
        """A tick's text, short."""
        if self.percent:
            return f"{100 * value:g} %"
        if self.log and 0 < value < 1e-3:
            return "10" + str(round(log10(value))).translate(RAISED)
        if abs(value) >= 1000:
            for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
                if abs(value) >= factor:
                    return f"{value / factor:g}{suffix}"
        text = f"{value:.10g}" if value == 0 or abs(value) >= 1e-4 else number(value, 2)
        return f"+{text}" if self.signed and value > 0 else text


def axis(values: Iterable[float], *, start: float, end: float, signed: bool = False) -> Axis:
    """A linear axis that shows all `values` with some room on both sides."""
    shown = list(values)
    low, high = min(shown), max(shown)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(low=low - room, high=high + room, start=start, end=end, signed=signed)


def figure(width: float, height: float, parts: Iterable[str], label: str) -> str:
    """The whole drawing; `label` says in words what it shows, for those who cannot see it."""
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    shown = escape(content.replace("-", "\u2212") if kind.startswith("n") else content)
    return f'<text class="{kind}" x="{_(x)}" y="{_(y)}" text-anchor="{anchor}">{shown}</text>'


def line(points: Sequence[tuple[float, float]], kind: str, *, steps: bool = False) -> str:
    """A polyline through `points`, in order."""
    if not points:
        return ""
    path = [f"M{_(points[0][0])} {_(points[0][1])}"]
    for x, y in points[1:]:
        path.append(f"H{_(x)}V{_(y)}" if steps else f"L{_(x)} {_(y)}")
    return f'<path class="{kind}" d="{"".join(path)}"/>'


def ticks(xs: Iterable[float], top: float, bottom: float, kind: str) -> str:
    """Short vertical strokes at `xs`, each drawn once."""
    path = "".join(f"M{x}V{_(bottom)}" for x in dict.fromkeys(f"{_(x)} {_(top)}" for x in xs))
    return f'<path class="{kind}" d="{path}"/>' if path else ""


def box(x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> str:
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return (
        f'<rect class="{kind}" x="{_(x)}" y="{_(y)}" width="{_(max(0, width))}" '
        f'height="{_(max(0, height))}">{title}</rect>'
    )


def dot(x: float, y: float, radius: float, kind: str, tip: str = "") -> str:
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<circle class="{kind}" cx="{_(x)}" cy="{_(y)}" r="{_(radius)}">{title}</circle>'


def marks(x: Axis, bottom: float, values: Iterable[float]) -> str:
    """Ticks of a horizontal axis with their labels."""
    return "".join(
        line([(x.at(v), bottom), (x.at(v), bottom + 4)], "axis")
        + text(x.at(v), bottom + 16, x.label(v), "n", "middle")
        for v in values
    )


def frame(
    x: Axis, y: Axis, x_label: str, y_label: str, ticks: Iterable[float] | None = None
) -> str:
    """Grid lines, tick labels and axis titles; y.start is the bottom. `ticks`: of x, where they
    are not to be chosen here."""
    parts = []
    for v in y.ticks(4):
        at = y.at(v)
        parts.append(line([(x.start, at), (x.end, at)], "grid"))
        parts.append(text(x.start - 6, at + 3.5, y.label(v), "n", "end"))
    parts.append(marks(x, y.start, x.ticks(5) if ticks is None else ticks))
    parts.append(line([(x.start, y.start), (x.end, y.start)], "axis"))
    parts.append(text((x.start + x.end) / 2, y.start + 32, x_label, "t", "middle"))
    parts.append(text(x.start - 40, y.end - 8, y_label, "t"))
    return "".join(parts)


def _(x: float) -> str:
    """A length to a hundredth."""
    return f"{x:.2f}".rstrip("0").rstrip(".")
