"""The frontier's drawing and page: every point, whole, and nothing of the model's name runs."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from actprune.planning.sweep import Frontier, FrontierRow
from actprune.reporting import svg_file
from actprune.reporting.frontier_page import render
from actprune.reporting.plot_frontier import frontier_file, length

SVG = "{http://www.w3.org/2000/svg}"


def row(share: float, harm: float, sites: int = 2) -> FrontierRow:
    kept = {f"s{i}": round(100 * share) for i in range(sites)}
    return FrontierRow(
        kept=kept, units=share, params=share**2, macs=share**2, bytes=share, harm=harm
    )


def frontier(harms: dict[float, float], uniform: float | None = 2.0, sites: int = 2) -> Frontier:
    """`uniform`: how many times the harm of the same size."""
    rows = tuple(row(s, h, sites) for s, h in harms.items())
    return Frontier(
        model="net.py:<b>&net</b>", criterion="residual", allocate="global", unit="nats <i>",
        measured=True, rows=rows,
        uniform=() if uniform is None else tuple(
            row(s, uniform * h, sites) for s, h in harms.items()
        ),
    )  # fmt: skip


def dots(found: Frontier) -> list[tuple[float, float, str, str]]:
    """x, y, class and tip of every dot of the file."""
    root = ElementTree.fromstring(frontier_file(found))
    return [
        (float(c.attrib["cx"]), float(c.attrib["cy"]), c.attrib["class"],
         c.findtext(f"{SVG}title") or "")
        for c in root.iter(f"{SVG}circle")
    ]  # fmt: skip


HARMS = {1.0: 0.0, 0.8: 1e-12, 0.6: 0.01, 0.4: 0.1, 0.2: 1.0}


def test_decades_are_as_far_apart_as_each_other_and_nothing_has_no_place() -> None:
    at = [d for d in dots(frontier(HARMS, uniform=None)) if d[0] < svg_file.PANEL]
    none, tiny, *rest = [y for _, y, _, _ in at]
    assert none == tiny == svg_file.BOTTOM  # 0, and what is below six decades, lie on the axis
    steps = [a - b for a, b in pairwise(rest)]
    assert steps[0] == pytest.approx(steps[1], abs=0.02)  # lengths are written to a hundredth
    assert steps[0] > 0
    assert min(rest) > svg_file.TOP
    xs = [x for x, _, _, _ in at]
    assert xs == sorted(xs, reverse=True)


def test_both_allocations_are_drawn_in_both_panels_with_their_units() -> None:
    found = dots(frontier(HARMS))
    assert [kind for _, _, kind, _ in found].count("d0") == 2 * len(HARMS)
    assert [kind for _, _, kind, _ in found].count("d2") == 2 * len(HARMS)
    tip = next(t for _, _, kind, t in found if kind == "d0" and "harm 0.100" in t)
    assert tip == (
        "global: harm 0.100\nMACs 16 %, parameters 16 %, bytes 40 %, units 40 %\n"
        "units kept: s0 40, s1 40"
    )
    many = dots(frontier(HARMS, sites=11))
    assert all(t.endswith("s7 100 and 3 sites more") for x, _, _, t in many if "units 100 %" in t)


def test_a_frontier_that_does_no_harm_is_drawn() -> None:
    found = frontier({1.0: 0.0, 0.5: 0.0})
    assert {y for _, y, _, _ in dots(found)} == {svg_file.BOTTOM}
    assert [length(found, r) for r in found.rows] == [0.0, 0.0]
    assert render(found)


def test_a_model_of_one_size_is_drawn() -> None:
    assert len(dots(frontier({1.0: 0.0}))) == 4


@pytest.mark.parametrize("sites", [2, 30])
def test_the_page_escapes_names_and_tells_all_it_draws(sites: int) -> None:
    page = render(frontier(HARMS, sites=sites))
    assert "<b>" not in page
    assert "<i>" not in page.replace("<i ", "")
    assert page.count('role="img" aria-label="') == 2
    assert page.count("<tr><td>") == 2 * len(HARMS)
    assert "s1&nbsp;40" in page
    assert "http" not in re.sub(r"http://www.w3.org/2000/svg", "", page)
    assert page == render(frontier(HARMS, sites=sites))


def test_a_legend_takes_the_rows_it_needs() -> None:
    few = ElementTree.fromstring(svg_file.page(1, [], "few", [("c0", "one"), ("c1", "two")]))
    names = [f"a name of some length {i}" for i in range(6)]
    many = ElementTree.fromstring(svg_file.page(2, [], "many", [("c0", n) for n in names]))

    def places(root: ElementTree.Element) -> list[tuple[float, float]]:
        return [(float(t.attrib["x"]), float(t.attrib["y"])) for t in root.iter(f"{SVG}text")]

    assert len({y for _, y in places(few)}) == 1
    rows = {y for _, y in places(many)}
    assert len(rows) > 1
    _, _, width, height = map(float, many.attrib["viewBox"].split())
    assert max(rows) < height
    # 6 units: more than a letter of 11 px takes on average
    assert all(x + 6 * len(names[0]) <= width for x, _ in places(many))
    assert len(places(many)) == len(set(places(many))) == len(names)
