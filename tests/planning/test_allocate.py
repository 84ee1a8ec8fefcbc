"""Ladders of allocations, and walking along them."""

from __future__ import annotations

import numpy as np
import pytest

from actprune.errors import BudgetError
from actprune.planning.allocate import (
    Counts,
    Room,
    first_that_fits,
    give_back,
    kept_units,
    ladder_uniform,
    room,
    uniform,
)
from actprune.planning.criteria import by
from actprune.sites.site import Site, Slot


def site(name: str, units: int) -> Site:
    return Site(name=name, kind="linear", units=units, slots=(Slot(module=name, role="producer"),))


def simple(name: str, harm: list[float], step: int = 1, **named: list[int]) -> Room:
    ranking = by(np.array(harm))
    return room(site(name, len(harm)), ranking, named.get("keep", []), named.get("drop", []), step)


def test_what_must_go_goes_first_and_what_must_stay_is_out_of_reach() -> None:
    r = simple("a", [4.0, 1.0, 3.0, 2.0], keep=[1], drop=[0])
    assert r.order == (0, 3, 2)
    assert r.harm == pytest.approx((0.4, 0.2, 0.3))
    assert (r.forced, r.least, r.most) == (1, 1, 3)


@pytest.mark.parametrize(
    ("units", "step", "keep", "drop", "least", "most"),
    [
        (20, 8, 0, 0, 8, 20),  # whole, or groups
        (20, 8, 9, 0, 16, 20),
        (20, 8, 17, 0, 20, 20),
        (20, 8, 0, 1, 8, 16),
        (20, 8, 17, 1, 19, 19),  # no whole group holds what must stay
        (6, 8, 0, 0, 6, 6),
        (6, 8, 0, 2, 4, 4),
    ],
)
def test_groups(units: int, step: int, keep: int, drop: int, least: int, most: int) -> None:
    named = {"keep": list(range(keep)), "drop": list(range(units - drop, units))}
    r = simple("a", [1.0] * units, step, **named)
    assert (r.least, r.most) == (least, most)
    for n in range(units):
        assert least <= r.rounded(n) <= most
        assert r.rounded(n) % step == 0 or r.rounded(n) == most
        if n >= least:
            assert r.rounded(n) <= n


def test_uniform_rounds_down_and_keeps_at_least_one() -> None:
    rooms = [simple("a", [1.0] * 10), simple("b", [1.0] * 3)]
    assert uniform(rooms, 0.5) == {"a": 5, "b": 1}
    assert uniform(rooms, 0.1) == {"a": 1, "b": 1}
    assert uniform(rooms, 1.0) == {"a": 10, "b": 3}
    # 0.7 * 10 is 7.000000000000001 or 6.999999999999999: neither loses a unit
    assert uniform(rooms, 0.1 * 7) == {"a": 7, "b": 2}


def test_the_uniform_ladder_has_every_allocation_once() -> None:
    rooms = [simple("a", [1.0] * 4), simple("b", [1.0] * 2)]
    assert ladder_uniform(rooms) == [
        {"a": 4, "b": 2},
        {"a": 3, "b": 1},
        {"a": 2, "b": 1},
        {"a": 1, "b": 1},
    ]


def test_bisection_finds_the_largest_that_fits() -> None:
    steps: list[Counts] = [{"a": n} for n in range(9, 0, -1)]
    for bound in range(1, 10):
        assert first_that_fits(steps, lambda c, b=bound: c["a"] <= b, "macs=1%") == {"a": bound}
    with pytest.raises(BudgetError, match=r"^Target macs=1% cannot be reached: too much of"):
        first_that_fits(steps, lambda c: False, "macs=1%")


def test_groups_are_returned_while_the_budget_allows() -> None:
    rooms = [simple("a", [1.0] * 10, 3), simple("b", [1.0] * 6)]
    back = give_back({"a": 3, "b": 1}, rooms, lambda c: c["a"] + 2 * c["b"] <= 17)
    # b, the emptier one, is served first: 3 + 4, then a and b in turn until 9 + 8 or 6 + 10
    assert back["a"] + 2 * back["b"] <= 17
    assert min(back["a"] + 3, 10) + 2 * back["b"] > 17
    assert back["a"] + 2 * (back["b"] + 1) > 17
    assert give_back({"a": 3, "b": 1}, rooms, lambda c: True) == {"a": 10, "b": 6}
    assert give_back({"a": 3, "b": 1}, rooms, lambda c: False) == {"a": 3, "b": 1}


def test_the_head_of_the_order_goes() -> None:
    r = simple("a", [4.0, 1.0, 3.0, 2.0])
    assert kept_units([r], {"a": 4}) == {"a": (0, 1, 2, 3)}
    assert kept_units([r], {"a": 2}) == {"a": (0, 2)}
