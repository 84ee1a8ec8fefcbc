"""The charts of the theory page: K beyond the data, the tail, the rates beside their law."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from actprune.reporting import svg
from actprune.reporting.numbers import number, percent
from actprune.theory.curves import Ahead, AheadCurve, RateHistogram, TailCurve
from actprune.theory.extrapolation import Method
from actprune.theory.site_theory import GrowthCurve
from actprune.theory.tail_fit import TailFamily

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360.0, 240.0, 46.0, 350.0, 26.0, 198.0
SMALL = (120.0, 34.0)  # a chart in a row of the list

# class of the stroke of each method and family; colours in the style sheet
AHEAD: dict[Method, str] = {
    "predictive": "fitted",
    "urn": "urn",
    "chao2": "chao",
    "good-toulmin": "toulmin",
}
BANDS: tuple[Method, ...] = ("predictive", "chao2")
TAILS: dict[TailFamily, str] = {
    "power law": "power",
    "truncated power law": "fitted",
    "geometric": "toulmin",
    "lognormal": "chao",
    "beta-binomial": "urn",
}


def growth_figure(growth: GrowthCurve, ahead: Ahead | None, units: int, counted: str) -> str:
    """K(d) as seen and fitted, and beyond D by every method, two of them with their bands."""
    D = float(growth.d[-1])
    last = float(ahead.d[-1]) if ahead is not None else D
    x = svg.Axis(low=1, high=max(2.0, last), start=LEFT, end=RIGHT, log=True)
    curves = [] if ahead is None else [c for m, c in ahead.methods.items() if m in AHEAD]
    shown = np.concatenate([growth.observed, growth.fitted, *(c.working for c in curves)])
    y = svg.Axis(low=_floor(shown, units), high=units, start=BOTTOM, end=TOP)
    parts = [svg.frame(x, y, f"{counted} seen", "working units")]

    def points(d: NDArray[np.int64], k: NDArray[np.float64]) -> list[tuple[float, float]]:
        return [(x.at(float(a)), _inside(y.at(float(b)))) for a, b in zip(d, k, strict=True)]

    if ahead is not None:
        for method in BANDS:
            curve = ahead.methods[method]
            if curve.low is not None and curve.high is not None:
                parts.append(_band(points(ahead.d, curve.high), points(ahead.d, curve.low),
                                   f"reach {AHEAD[method]}"))  # fmt: skip
    parts.append(svg.line(points(growth.d, growth.published), "curve published"))
    parts.append(svg.line(points(growth.d, growth.fitted), "curve fitted"))
    parts.append(svg.line([(x.at(D), TOP), (x.at(D), BOTTOM)], "zero"))
    parts.append(svg.text(x.at(D) - 4, TOP + 9, "D", "n", "end"))
    if ahead is not None:
        for method, kind in AHEAD.items():
            parts.append(svg.line(points(ahead.d, ahead.methods[method].working), f"curve {kind}"))
    parts.append(svg.line(points(growth.d, growth.observed), "curve seen"))
    return svg.figure(WIDTH, HEIGHT, parts, f"Working units against {counted}, with forecasts")


def small_growth_figure(
    growth: GrowthCurve, ahead: AheadCurve | None, d: Sequence[int], counted: str
) -> str:
    """The same without axes, for a list of sites: share of the most that is ever drawn."""
    width, height = SMALL
    last = float(d[-1]) if len(d) else float(growth.d[-1])
    x = svg.Axis(low=1, high=max(2.0, last), start=2, end=width - 2, log=True)
    top = float(max(chain(growth.observed, ahead.working if ahead is not None else ())))
    y = svg.Axis(low=0, high=top or 1.0, start=height - 2, end=3)
    seen = [(x.at(float(a)), y.at(float(b)))
            for a, b in zip(growth.d[::2], growth.observed[::2], strict=True)]  # fmt: skip
    seen.append((x.at(float(growth.d[-1])), y.at(float(growth.observed[-1]))))
    parts = [svg.line(seen, "curve seen")]
    if ahead is not None:
        later = [(x.at(float(a)), y.at(float(b))) for a, b in zip(d, ahead.working, strict=True)]
        parts.append(svg.line(later, "curve fitted"))
    return svg.figure(width, height, parts, f"Working units against {counted}")


def tail_figure(curve: TailCurve, counted: str) -> str:
    """Share of the working units with at least k firings, both axes logarithmic."""
    seen = curve.seen > 0
    least = float(curve.seen[seen].min())
    low = 10.0 ** np.floor(np.log10(least * 0.999))
    x = svg.Axis(low=1, high=max(2.0, float(curve.k[-1])), start=LEFT, end=RIGHT, log=True)
    y = svg.Axis(low=float(low), high=1, start=BOTTOM, end=TOP, log=True)
    parts = [
        svg.frame(x, y, f"{counted} that fire the unit, k", "share of working units, k or more")
    ]
    for family, law in curve.fitted.items():
        there = law >= low
        points = [(x.at(float(k)), y.at(float(p)))
                  for k, p in zip(curve.k[there], law[there], strict=True)]  # fmt: skip
        parts.append(svg.line(points, f"curve {TAILS[family]}"))
    for k, p in zip(curve.k[seen], curve.seen[seen], strict=True):
        parts.append(svg.dot(x.at(float(k)), y.at(float(p)), 2.2, "dot seen"))
    return svg.figure(WIDTH, HEIGHT, parts, "Complementary distribution of the counts")


def density_figure(rates: RateHistogram, counted: str) -> str:
    """Units by the share of samples that fire them, beside the law; never and always apart.

    The two spikes may be far taller than the rest: they are cut at the top and say their number.
    """
    units, law = rates.units, rates.expected
    most = float(max(1.0, units.max(initial=0), law.max(initial=0.0)))
    spikes = (rates.never, rates.always)
    most = max(most, min(1.6 * most, max(float(n) for n, _ in spikes)))
    y = svg.Axis(low=0, high=most * 1.12, start=BOTTOM, end=TOP)
    x = svg.Axis(low=0, high=1, start=LEFT + 34, end=RIGHT - 34, percent=True)
    whole = svg.Axis(low=0, high=1, start=LEFT, end=RIGHT)
    parts = [svg.frame(whole, y, f"{counted} that fire the unit", "units", ticks=())]
    parts.append(svg.marks(x, BOTTOM, (0.25, 0.5, 0.75)))
    steps: list[tuple[float, float]] = []
    for i, (n, expected) in enumerate(zip(units, law, strict=True)):
        left, right = x.at(float(rates.edges[i])), x.at(float(rates.edges[i + 1]))
        tip = (f"{percent(float(rates.edges[i]))} to {percent(float(rates.edges[i + 1]))}: "
               f"{n} units, {number(float(expected))} by the law")  # fmt: skip
        if n:
            tall = max(1.5, BOTTOM - y.at(float(n)))
            parts.append(svg.box(left + 0.4, BOTTOM - tall, right - left - 0.8, tall,
                                 "fill kept", tip))  # fmt: skip
        steps += [(left, y.at(float(expected))), (right, y.at(float(expected)))]
    parts.append(svg.line(steps, "curve fitted"))
    for (n, expected), at, name in zip(
        spikes, (LEFT + 15, RIGHT - 15), ("never", "always"), strict=True
    ):
        parts += _spike(n, expected, at, name, y)
    return svg.figure(WIDTH, HEIGHT, parts, "Histogram of the units' rates beside the fitted law")


def lorenz_figure(
    fractions: Sequence[float],
    shares: Sequence[float],
    law: tuple[Sequence[float], Sequence[float]] | None,
) -> str:
    """The measured Lorenz curve, and that of the fitted law's true rates."""
    x = svg.Axis(low=0, high=1, start=LEFT, end=RIGHT, percent=True)
    y = svg.Axis(low=0, high=1, start=BOTTOM, end=TOP, percent=True)
    parts = [
        svg.frame(x, y, "units, rarest first", "activity"),
        svg.line([(x.at(0), y.at(0)), (x.at(1), y.at(1))], "even"),
    ]
    if law is not None:
        parts.append(svg.line(_points(x, y, *law), "curve fitted"))
    parts.append(svg.line(_points(x, y, fractions, shares), "curve seen"))
    return svg.figure(WIDTH, HEIGHT, parts, "Lorenz curve of the units' activity")


def _spike(n: int, expected: float, at: float, name: str, y: svg.Axis) -> list[str]:
    tip = f"{n} units {name} fired, {number(expected)} by the law"
    tall = BOTTOM - max(TOP, y.at(min(float(n), y.high)))
    parts = [svg.text(at, BOTTOM + 16, name, "n", "middle")]
    if n:
        tall = max(1.5, tall)
        parts.append(svg.box(at - 8, BOTTOM - tall, 16, tall, "fill spike", tip))
        parts.append(svg.text(at, BOTTOM - tall - 4, f"{n}", "n", "middle"))
    if expected > 0.5:
        level = max(TOP, y.at(min(expected, y.high)))
        parts.append(svg.line([(at - 10, level), (at + 10, level)], "curve fitted"))
    return parts


def _band(upper: list[tuple[float, float]], lower: list[tuple[float, float]], kind: str) -> str:
    return svg.line([*upper, *reversed(lower)], kind).replace('"/>', 'Z"/>')


def _points(
    x: svg.Axis, y: svg.Axis, xs: Sequence[float], ys: Sequence[float]
) -> list[tuple[float, float]]:
    return [(x.at(float(a)), y.at(float(b))) for a, b in zip(xs, ys, strict=True)]


def _inside(at: float) -> float:
    return min(BOTTOM, max(TOP, at))


def _floor(shown: NDArray[np.float64], units: int) -> float:
    """0, or where every unit fires early, a start that keeps the curves apart."""
    low = float(shown.min())
    return 0.0 if low < 0.6 * units else max(0.0, units - 2.0 * (units - low) - 0.02 * units)
