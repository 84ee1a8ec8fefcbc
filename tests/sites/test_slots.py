from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actprune.errors import ActpruneError
from actprune.sites.coupling import RefusedError, _slot
from actprune.sites.cut import Cut
from actprune.sites.site import Site, Slot


def site(name: str, units: int) -> Site:
    slots = (Slot(module=name, role="producer"), Slot(module="out", role="consumer", offset=3))
    return Site(name=name, kind="linear", units=units, slots=slots)


def test_a_unit_owns_consecutive_entries_from_the_offset_on() -> None:
    slot = Slot(module="m", role="consumer", offset=5, repeat=3)
    assert slot.index([0, 2]).tolist() == [5, 6, 7, 11, 12, 13]
    assert Slot(module="m", role="norm").index([4, 1]).tolist() == [4, 1]
    assert slot.index([]).tolist() == []


@given(st.integers(0, 50), st.integers(1, 9), st.integers(2, 20))
def test_the_units_of_a_slot_partition_its_entries(offset: int, repeat: int, units: int) -> None:
    slot = Slot(module="m", role="consumer", offset=offset, repeat=repeat)
    parts = [slot.index([u]).tolist() for u in range(units)]
    assert [i for part in parts for i in part] == list(range(offset, offset + units * repeat))
    assert slot.index(range(units)).tolist() == [i for part in parts for i in part]


@given(st.integers(0, 50), st.integers(1, 9), st.integers(2, 20), st.randoms())
def test_a_layout_is_read_back_from_index_lists_in_any_order(
    offset: int, repeat: int, units: int, random: object
) -> None:
    pairs = [(offset + k, k // repeat) for k in range(units * repeat)]
    random.shuffle(pairs)  # pyright: ignore[reportAttributeAccessIssue]
    got = _slot("m", "consumer", [i for i, _ in pairs], [u for _, u in pairs], units)
    assert got == Slot(module="m", role="consumer", offset=offset, repeat=repeat)


@pytest.mark.parametrize(
    ("index", "root"),
    [
        ([0, 1, 2, 3], [0, 1, 0, 1]),  # interleaved
        ([0, 2], [0, 1]),  # a gap
        ([0, 1], [1, 0]),  # reversed
        ([0, 1, 2], [0, 0, 1]),  # unequal
        ([0], [0]),  # one unit is missing
        ([], []),
    ],
)
def test_an_irregular_layout_is_refused(index: list[int], root: list[int]) -> None:
    with pytest.raises(RefusedError, match="not laid out one after another in layer"):
        _slot("layer", "consumer", index, root, 2)


def test_a_cut_keeps_what_is_not_removed() -> None:
    a, b = site("a", 4), site("b", 3)
    cut = Cut.removing([a, b], {"a": [2, 0, 2], "b": []})

    assert cut.kept == {"a": (1, 3)}
    assert cut.keeps(a) == (1, 3)
    assert cut.removes(a) == (0, 2)
    assert cut.keeps(b) == (0, 1, 2)
    assert cut.removes(b) == ()


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ({"c": [0]}, "No site is called 'c'; the sites are a, b"),
        ({"a": [4]}, r"Site 'a' has units 0 to 3, got \[4\] to remove"),
        ({"a": [-1, 0]}, r"Site 'a' has units 0 to 3, got \[-1, 0\] to remove"),
        ({"b": [0, 1, 2]}, "Site 'b' must keep at least one of its 3 units"),
    ],
)
def test_an_impossible_cut_is_refused(removed: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ActpruneError, match=message):
        Cut.removing([site("a", 4), site("b", 3)], removed)
