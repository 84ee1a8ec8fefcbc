"""Four figures for the documentation, each one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from actprune.reporting import svg
from actprune.reporting.svg_file import BOTTOM, LEFT, RIGHT, TOP, across, page, title
from benchmarks.scaling import label_study, loss_growth, order_study
from benchmarks.scaling.growth import SiteGrowth, grouped_by_site, growths
from benchmarks.scaling.laws import laws
from benchmarks.scaling.views import Row, named


def drawn(rows: Sequence[Row]) -> dict[str, str]:
    """File name to SVG, for what the rows allow."""
    makers: dict[str, Callable[[Sequence[Row]], str]] = {
        "scaling_working.svg": working,
        "scaling_loss.svg": loss,
        "scaling_orders.svg": orders,
        "scaling_labels.svg": labels,
    }
    return {name: make(rows) for name, make in makers.items()}


def write(rows: Sequence[Row], folder: Path) -> None:
    """All figures as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in drawn(rows).items():
        (folder / name).write_text(content + "\n")


def working(rows: Sequence[Row]) -> str:
    """K against the training size with the urn's law, by what is counted."""
    by_site = grouped_by_site(growths(rows))
    width = max((w for arm, w, _ in by_site if arm == "sparse"), default=0)
    shown = [s for s in ((a, 512, 1) for a in ("plain", "sparse", "sparser")) if s in by_site]
    shown = shown or [s for s in by_site if s[1] == width]
    parts = []
    for i, site in enumerate(shown):
        meanings = by_site[site]
        parts += _working_panel(i, site, meanings)
    counted = ["its D training images", "all test images", "100 test images"]
    keys = [(f"c{j}", k) for j, k in enumerate(counted)] + [("o0", "published, c measured")]
    return page(
        len(shown), parts, "Working units against training images, by what is counted", keys
    )


def _working_panel(
    i: int, site: tuple[str, int, int], meanings: dict[str, SiteGrowth]
) -> list[str]:
    names = ("one of its D training images", "one of all test images", "one of 100 test images")
    curves = [meanings[name] for name in names]
    D, N = curves[0].D, curves[0].units
    x = svg.Axis(low=D.min(), high=D.max(), start=across(i, LEFT), end=across(i, RIGHT), log=True)
    y = svg.Axis(low=0, high=N, start=BOTTOM, end=TOP)
    parts = [title(i, named(site)), svg.frame(x, y, "training images D", "working units")]
    for j, g in enumerate(curves):
        sizes = np.unique(g.D)
        parts.append(svg.line([(x.at(d), y.at(g.K[d == g.D].mean())) for d in sizes], f"c{j}"))
        parts += [svg.dot(x.at(d), y.at(k), 2.5, f"d{j}") for d, k in zip(g.D, g.K, strict=True)]
    fit = curves[0].fits["published, c measured"]
    grid = np.geomspace(D.min(), D.max(), 40)
    curve = laws(N, curves[0].active)["published, c measured"].curve(grid, fit.parameters["b"])
    points = [(x.at(d), y.at(k)) for d, k in zip(grid, curve, strict=True)]
    return [*parts, svg.line(points, "o0")]


def loss(rows: Sequence[Row]) -> str:
    """Test loss against the training size on logarithmic axes, a panel an arm."""
    nets = loss_growth.losses(rows)
    arms = list(dict.fromkeys(n.arm for n in nets))
    widths = sorted({n.width for n in nets})
    D = np.concatenate([n.D for n in nets])
    values = np.concatenate([n.loss for n in nets])
    parts = []
    for i, arm in enumerate(arms):
        x = svg.Axis(low=1, high=D.max(), start=across(i, LEFT), end=across(i, RIGHT), log=True)
        low, high = values.min() * 0.8, values.max() * 1.1
        y = svg.Axis(low=low, high=high, start=BOTTOM, end=TOP, log=True)
        parts += [title(i, arm), svg.frame(x, y, "training images D", "test loss, nats")]
        for n in (n for n in nets if n.arm == arm):
            tone = widths.index(n.width)
            sizes = np.unique(n.D)
            points = [(x.at(d), y.at(n.loss[d == n.D].mean())) for d in sizes]
            parts.append(svg.line(points, f"c{tone}"))
            parts += [svg.dot(*p, 2.2, f"d{tone}", f"width {n.width}") for p in points]
            at = x.at(n.M["beta-binomial"])
            parts.append(svg.line([(at, TOP), (at, BOTTOM)], f"o{tone}"))
    keys = [(f"c{j}", f"width {w:,}") for j, w in enumerate(widths)]
    keys.append(("o5", "bN/c"))
    label = "Test loss against training images; dashed: where bN/c lies"
    return page(len(arms), parts, label, keys)


def orders(rows: Sequence[Row]) -> str:
    """Rank correlations of unit rates, a dot a curves of nets."""
    parts = []
    for i, arm in enumerate(order_study.ARMS):
        found = order_study.agreements(rows, arm)
        x = svg.Axis(low=-0.2, high=1, start=across(i, LEFT + 90), end=across(i, RIGHT))
        y = svg.Axis(low=0, high=len(order_study.KINDS), start=BOTTOM, end=TOP)
        parts.append(title(i, "sparse" if "sparse" in arm else "plain"))
        for v in x.ticks(5):
            parts.append(svg.line([(x.at(v), TOP), (x.at(v), BOTTOM)], "grid"))
            parts.append(svg.text(x.at(v), BOTTOM + 16, x.label(round(v, 6)), "n", "middle"))
        middle = (x.start + x.end) / 2
        parts.append(svg.text(middle, BOTTOM + 32, "rank correlation of rates", "t", "middle"))
        for j, kind in enumerate(order_study.KINDS):
            at = y.at(len(order_study.KINDS) - j - 0.5)
            parts.append(svg.text(x.start - 8, at + 4, kind, "t", "end"))
            values = found[kind].values if kind in found else ()
            parts += [svg.dot(x.at(max(-0.2, v)), at, 3, f"d{j}") for v in values]
            if not values:
                parts.append(svg.text(x.at(0), at + 4, "not run"))
    return page(len(order_study.ARMS), parts, "Do two nets agree on which units fire often?")


def labels(rows: Sequence[Row]) -> str:
    """Three statistics by depth, for true, half random and random labels."""
    nets = {k: v for k, v in label_study.by_net(rows).items() if k[0] > 1}
    shown = ("mean firing rate", "share of order-preserving units", "FF/(1 - rate), by class")
    depth = sorted(layer for _, layer in nets)
    parts, keys = [], []
    for i, name in enumerate(shown):
        path = label_study.STATISTICS[name]
        curves: dict[str, list[float]] = {}
        for layer in depth:
            levels = next(v for k, v in nets.items() if k[1] == layer)
            some = next(iter(levels.values()))
            curves.setdefault("untrained", []).append(label_study.means(some, "untrained", path)[0])
            for noise, group in levels.items():
                key = f"{100 * noise:.0f} % of labels random"
                curves.setdefault(key, []).append(label_study.means(group, "test", path)[0])
        top = max(v for c in curves.values() for v in c)
        x = svg.Axis(low=0.7, high=max(depth) + 0.3, start=across(i, LEFT), end=across(i, RIGHT))
        y = svg.Axis(low=0, high=1.08 * top, start=BOTTOM, end=TOP)
        parts += [title(i, name), *_depth_frame(x, y, depth)]
        for j, curve in enumerate(curves.values()):
            tone = (5, 0, 2, 3)[j % 4]
            points = [(x.at(d), y.at(v)) for d, v in zip(depth, curve, strict=True)]
            parts += [svg.line(points, f"c{tone}"), *(svg.dot(*p, 3, f"d{tone}") for p in points)]
        keys = keys or [(f"c{(5, 0, 2, 3)[j % 4]}", k) for j, k in enumerate(curves)]
    return page(len(shown), parts, "Counts by depth, of nets that generalize or memorize", keys)


def _depth_frame(x: svg.Axis, y: svg.Axis, depth: Sequence[int]) -> list[str]:
    parts = []
    for v in y.ticks(4):
        parts.append(svg.line([(x.start, y.at(v)), (x.end, y.at(v))], "grid"))
        parts.append(svg.text(x.start - 6, y.at(v) + 3.5, y.label(v), "n", "end"))
    for d in depth:
        parts.append(svg.text(x.at(d), y.start + 16, str(d), "n", "middle"))
    parts.append(svg.line([(x.start, y.start), (x.end, y.start)], "axis"))
    parts.append(svg.text((x.start + x.end) / 2, y.start + 32, "hidden layer", "t", "middle"))
    return parts
