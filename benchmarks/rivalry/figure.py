"""Accuracy against MACs kept, a panel a network."""

from __future__ import annotations

from collections.abc import Iterable

from actprune.reporting import svg
from actprune.reporting.svg_file import BOTTOM, LEFT, RIGHT, TOP, across, page, title
from benchmarks.rivalry.material import NETS
from benchmarks.rivalry.methods import METHODS
from benchmarks.rivalry.report import TARGETS, Results, Row, results, title_of

DRAWN = {
    "ours-global": "c0",
    "ours-uniform": "o0",
    "tp-magnitude+bn": "c1",
    "flap+bn": "c2",
    "tp-taylor+bn": "c3",
    "kirigami-magnitude+bn": "c4",
    "random": "o5",
}  # the strokes
PLAIN = {"kirigami-magnitude+bn": "kirigami-magnitude", "tp-magnitude+bn": "tp-magnitude",
         "tp-taylor+bn": "tp-taylor", "flap+bn": "flap"}  # fmt: skip  # where there is no BN


def accuracies(rows: Iterable[Row]) -> str:
    """The figure; a method is drawn where it was run, and a dotted line is the dense network."""
    known = results(rows)
    nets = [n for n in NETS if any(key[0] == n for key in known.entries)]
    parts: list[str] = []
    for i, net in enumerate(nets):
        parts += _panel(i, net, known)
    keys = [(kind, METHODS[m].label) for m, kind in DRAWN.items()]
    return page(max(len(nets), 3), parts, "Accuracy against MACs kept", keys)


def _panel(i: int, net: str, known: Results) -> list[str]:
    lines = {
        kind: [(t / 100, e.accuracy) for t in TARGETS if (e := known.entries.get((net, t, method)))]
        for drawn, kind in DRAWN.items()
        for method in [drawn if METHODS[drawn].applies(net, 0) else PLAIN[drawn]]
    }
    dense = known.entries.get((net, 100, "dense"))
    seen = [a for points in lines.values() for _, a in points]
    seen += [dense.accuracy] if dense else []
    x = svg.Axis(low=0.25, high=0.75, start=across(i, LEFT), end=across(i, RIGHT), percent=True)
    y = svg.Axis(low=min([*seen, 0.9]) - 0.02, high=1.0, start=BOTTOM, end=TOP, percent=True)
    parts = [title(i, title_of(net)), svg.frame(x, y, "MACs kept", "accuracy", (0.3, 0.5, 0.7))]
    if dense:
        at = y.at(dense.accuracy)
        parts.append(svg.line([(x.start, at), (x.end, at)], "rule"))
    for kind, points in lines.items():
        places = [(x.at(share), y.at(a)) for share, a in points]
        parts.append(svg.line(places, kind))
        parts += [svg.dot(*p, 2.5, f"d{kind[1]}") for p in places]
    return parts
