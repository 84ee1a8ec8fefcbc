"""The figures of docs/theory.md, drawn from the rows alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from actprune.reporting import svg
from benchmarks.real_networks.judge import ESTIMATORS, Row, chosen_rule, outcome
from benchmarks.real_networks.names import CHOSEN_ON, NETS, REPORTED_ON, TIMES

STYLE = """
svg { background: #fff; font: 11px system-ui, sans-serif; fill: none; }
text { fill: #333; } .t { fill: #666; } .head { font-weight: 600; } .n { fill: #666; }
.grid { stroke: #e6e6e6; } .axis { stroke: #999; } .mark { stroke: #b00; stroke-dasharray: 4 3; }
.even { stroke: #999; stroke-dasharray: 3 3; }
path.seen { stroke: #111; stroke-width: 2; }
.urn { stroke: #0072b2; } .predictive { stroke: #56b4e9; } .chao2 { stroke: #d55e00; }
.good-toulmin { stroke: #009e73; } .published { stroke: #cc79a7; stroke-dasharray: 5 3; }
path.urn, path.predictive, path.chao2, path.good-toulmin, path.published { stroke-width: 1.5; }
path.span { fill: #56b4e9; fill-opacity: .18; stroke: none; }
circle.small { fill: #888; fill-opacity: .6; } circle.chose { fill: #e69f00; fill-opacity: .8; }
circle.all { fill: #0072b2; } circle.f0 { fill: #999; } circle.f1 { fill: #cc79a7; }
circle.f2 { fill: #0072b2; } circle.f3 { fill: #009e73; } circle { fill-opacity: .7; }
"""
LEGEND = {
    "seen": "K, as it came",
    "urn": "exact urn",
    "predictive": "predictive (shaded: 95 %)",
    "chao2": "Chao2",
    "good-toulmin": "Good-Toulmin",
    "published": "published urn",
}
FAMILIES = ("binomial", "urn", "beta-binomial", "inflated")


def figures(rows: Sequence[Row]) -> dict[str, str]:
    """File name without ending -> SVG; a figure without data is left out."""
    made: dict[str, Callable[[Sequence[Row]], str]] = {
        "k-growth": growth, "k-errors": errors, "alpha-beside-b": alphas,
    }  # fmt: skip
    found = {name: draw(rows) for name, draw in made.items()}
    return {name: content for name, content in found.items() if content}


def growth(rows: Sequence[Row]) -> str:
    """K(D) at one site of each network, and the forecasts from a tenth of the samples."""
    curves = {r["net"]: r for r in rows if r["kind"] == "curve"}
    found = [curves[n] for n in NETS if n in curves]
    if not found:
        return ""
    across, wide, tall = 3, 320.0, 250.0
    parts = []
    for i, row in enumerate(found):
        left, top = wide * (i % across), 34 + tall * (i // across)
        parts.append(_moved(_curve(row), left, top))
    x = 20.0
    for kind, words in LEGEND.items():
        parts.append(svg.line([(x, 18), (x + 22, 18)], f"curve {kind}"))
        parts.append(svg.text(x + 27, 22, words, "t"))
        x += 44 + 6.2 * len(words)
    height = 34 + tall * -(-len(found) // across)
    label = "Working units against samples seen, and forecasts, for one site of each network"
    return _alone(wide * across, height, parts, label)


def _curve(row: Row) -> str:
    D, units = row["D"], row["units"]
    last = max(max(k[0] for k in row["ahead"][m]) for m in row["ahead"])
    most = min(float(units), 1.08 * max(last, row["K"][-1]))
    x = svg.Axis(low=1, high=float(10 * D), start=46, end=304, log=True)
    y = svg.Axis(low=0, high=most, start=198, end=34)

    def at(d: Iterable[float], k: Iterable[float]) -> list[tuple[float, float]]:
        return [(x.at(a), min(198.0, max(30.0, y.at(b)))) for a, b in zip(d, k, strict=True)]

    after = row["after"]
    low = at(after, [k[1] for k in row["ahead"]["predictive"]])
    high = at(after, [k[2] for k in row["ahead"]["predictive"]])
    area = "".join(f"{'L' if j else 'M'}{a:.1f} {b:.1f}" for j, (a, b) in
                   enumerate([*low, *reversed(high)]))  # fmt: skip
    rule = "its own rule" if row["under"] == "own" else f"above {row['under']}"
    site = row["of"].replace("model.layers.", "layer ").replace("encoder.layer.", "layer ")
    title = f"{row['net']}, {site.split('.')[0] if 'layer ' in site else site}"
    parts = [
        svg.text(14, 12, title, "head"),
        svg.text(14, 25, f"{units} units, {rule}; forecast from D = {D}", "t"),
        svg.frame(x, y, "samples", ""),
        f'<path class="span" d="{area}Z"/>',
        svg.line([(x.at(D), 34), (x.at(D), 198)], "mark"),
    ]
    for method, said in row["ahead"].items():
        parts.append(svg.line(at(after, [k[0] for k in said]), f"curve {method}"))
    parts.append(svg.line(at(after, row["published"]), "curve published"))
    parts.append(svg.line(at(row["d"], row["K"]), "curve seen"))
    return "".join(parts)


def errors(rows: Sequence[Row]) -> str:
    """Median error of every estimator by that of "no change", network by network."""
    if not any(r["kind"] == "site" and r["cases"] for r in rows):
        return ""
    rule = chosen_rule(rows)
    shown = [*(e for e in ESTIMATORS if e != "no change"), "backtest, same ratio"]
    wide, tall, most = 270.0, 26.0 * len(shown) + 76, 2.0
    parts = [
        svg.text(14, 18, 'Median error by that of "no change", D from 10 samples on', "head"),
        svg.dot(400, 14, 4, "chose"), svg.text(408, 18, "network the rule was chosen on", "t"),
        svg.dot(600, 14, 4, "small"), svg.text(608, 18, "another network", "t"),
        svg.dot(722, 14, 5, "all"), svg.text(730, 18, "all others together", "t"),
        svg.text(14, 34, f"chosen rule: {rule}; at most one half was asked for (red)", "t"),
    ]  # fmt: skip
    for j, t in enumerate(TIMES):
        left = 140 + wide * j
        x = svg.Axis(low=0, high=most, start=left, end=left + wide - 30)
        bottom = 60 + 26.0 * len(shown)
        for v in (0.0, 0.5, 1.0, 1.5, 2.0):
            kind = "mark" if v == 0.5 else "grid"
            parts.append(svg.line([(x.at(v), 60), (x.at(v), bottom)], kind))
            tick = f"{v:g}" if v < most else f"{v:g}+"
            parts.append(svg.text(x.at(v), bottom + 14, tick, "n", "middle"))
        parts.append(svg.text(left, 52, f"K at {t} D", "head"))
        for i, who in enumerate(shown):
            y = 60 + 26 * i + 13.0
            if j == 0:
                parts.append(svg.text(130, y + 4, who, "head" if who == rule else "", "end"))
            for net in NETS:
                o = outcome(rows, who, nets=(net,), times=(t,))
                if o is not None and o.growth:
                    kind = "chose" if net in CHOSEN_ON else "small"
                    tip = f"{net}: {o.error:.3f} of {o.growth:.3f}, {o.cases} forecasts"
                    parts.append(svg.dot(x.at(min(most, o.ratio)), y, 4, kind, tip))
            o = outcome(rows, who, nets=REPORTED_ON, times=(t,))
            if o is not None and o.growth:
                parts.append(svg.dot(x.at(min(most, o.ratio)), y, 5.5, "all", f"{o.ratio:.2f}"))
    label = "Errors of the forecasts of K by estimator and horizon"
    return _alone(140 + wide * len(TIMES), tall + 10, parts, label)


def alphas(rows: Sequence[Row]) -> str:
    """The tail's exponent against 1 - b, a point a site and rule."""
    low, high = -1.5, 1.5
    found = [
        (r, r["tail"]) for r in rows
        if r["kind"] == "site" and r["tail"]
        and r["tail"]["alpha"] is not None and r["tail"]["one_minus_b"] is not None
    ]  # fmt: skip
    if not found:
        return ""
    inside = [
        (r, t) for r, t in found
        if low <= t["alpha"] <= high and low <= t["one_minus_b"] <= high
    ]  # fmt: skip
    x = svg.Axis(low=low, high=high, start=60, end=420)
    y = svg.Axis(low=low, high=high, start=400, end=50)
    parts = [
        svg.frame(x, y, "1 - b of the law that held-out samples choose", "alpha"),
        svg.line([(x.at(low), y.at(low)), (x.at(high), y.at(high))], "even"),
    ]
    for r, t in inside:
        tip = f"{r['net']} {r['site']}, {r['rule']}: alpha {t['alpha']}, 1 - b {t['one_minus_b']}"
        kind = f"f{FAMILIES.index(t['family'])}"
        parts.append(svg.dot(x.at(t["one_minus_b"]), y.at(t["alpha"]), 3.5, kind, tip))
    at = 60.0
    parts.append(svg.text(14, 18, "Exponent of the truncated power law beside 1 - b", "head"))
    for i, family in enumerate(FAMILIES):
        if any(t["family"] == family for _, t in inside):
            parts.append(svg.dot(at, 30, 4, f"f{i}"))
            parts.append(svg.text(at + 8, 34, family, "t"))
            at += 24 + 7 * len(family)
    beyond = f"{len(found) - len(inside)} of {len(found)} points lie outside"
    parts.append(svg.text(414, 392, beyond, "t", "end"))
    return _alone(440, 446, parts, "Scatter of the tail exponent against 1 - b")


def _moved(content: str, x: float, y: float) -> str:
    return f'<g transform="translate({x:g} {y:g})">{content}</g>'


def _alone(width: float, height: float, parts: Iterable[str], label: str) -> str:
    """A drawing that stands by itself: with its style, and a size of its own."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" aria-label="{escape(label)}">'
        f"<style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )
