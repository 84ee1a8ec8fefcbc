"""K(d): how many units have fired after d samples, as seen and as two laws have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actprune.reporting import svg

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360.0, 240.0, 46.0, 350.0, 26.0, 198.0


def working_figure(d: Sequence[float], curves: Mapping[str, Sequence[float]], units: int) -> str:
    """Units that have fired at least once against samples seen, on a logarithmic axis.

    Args:
        d: numbers of samples, increasing.
        curves: class ("published", "fitted" or "seen") to expected units on `d`, drawn in order.
        units: of the site, the most there can be.
    """
    shown = [i for i, v in enumerate(d) if v >= 1]
    last = max(2.0, float(d[shown[-1]])) if shown else 2.0
    x = svg.Axis(low=1, high=last, start=LEFT, end=RIGHT, log=True)
    values = [k[i] for k in curves.values() for i in shown]
    y = svg.Axis(low=_floor(values, units), high=units, start=BOTTOM, end=TOP)
    parts = [svg.frame(x, y, "samples seen", "working units")]
    for kind, k in curves.items():
        points = [(x.at(d[i]), min(BOTTOM, max(TOP, y.at(k[i])))) for i in shown]
        parts.append(svg.line(points, f"curve {kind}"))
    return svg.figure(WIDTH, HEIGHT, parts, "Working units against samples seen")


def _floor(values: Sequence[float], units: int) -> float:
    """0, or where every unit fires early, a start that keeps the curves apart."""
    low = min(values, default=0.0)
    return 0.0 if low < 0.6 * units else max(0.0, units - 2.0 * (units - low) - 0.02 * units)
