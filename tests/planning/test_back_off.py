"""Backing off along a ladder."""

from __future__ import annotations

from math import log2

import pytest

from actprune.planning.back_off import back_off


@pytest.mark.parametrize("start", [0, 1, 2, 7, 40, 1000])
@pytest.mark.parametrize("limit", [0, 1, 2, 6, 7, 39, 500, 2000])
def test_it_finds_the_largest_rung_that_holds(start: int, limit: int) -> None:
    found = back_off(start, lambda rung: rung, lambda rung: rung <= limit)
    assert found.rung == min(start, limit)
    assert found.steps == start - min(start, limit)
    rungs = [rung for rung, _ in found.tried]
    assert rungs[0] == start
    assert len(set(rungs)) == len(rungs)  # each costs a refit
    assert len(rungs) <= 3 + 2 * log2(1 + found.steps)
    assert all(rung == value for rung, value in found.tried)


@pytest.mark.parametrize("start", [0, 5])
def test_where_nothing_holds_it_says_so(start: int) -> None:
    found = back_off(start, str, lambda _: False)
    assert found.rung is None
    assert found.steps == start + 1
    assert found.tried[-1] == (0, "0")


def test_it_gallops_then_bisects() -> None:
    found = back_off(9, lambda rung: rung, lambda rung: rung <= 2)
    assert [rung for rung, _ in found.tried] == [9, 8, 7, 5, 1, 3, 2]
    assert (found.rung, found.steps) == (2, 7)
