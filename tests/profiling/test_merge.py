from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_checks import assert_same_counts
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.data.split import BLOCKS
from actprune.errors import ActpruneError
from actprune.ops.histogram import BINS
from actprune.profiling.collect import profile
from actprune.profiling.merge import merge
from actprune.profiling.result import (
    FOLDS,
    NEVER,
    QUARTERS,
    Identity,
    Profile,
    Shard,
    SiteProfile,
    Stratum,
)
from actprune.profiling.rules import Rule
from actprune.sites.census import Census
from actprune.sites.site import Site, Slot

RULE = Rule(kind="positive", threshold=0.0)
SLOTS = (Slot(module="a", role="producer"), Slot(module="b", role="consumer"))


def made(name: str, events: list[tuple[int, int, list[int]]], units: int = 3) -> Profile:
    """A profile of one site, summed from (id, block, whole-numbered activations) by hand; its
    strata are the ids' remainders."""
    site = summed(events, units)
    strata = [
        Stratum(
            name=str(k),
            sites=(
                replace(
                    summed([e for e in events if e[0] % 3 == k], units),
                    gram=None, gram_drawn=None, histogram_positions=None, histogram_samples=None,
                ),
            ),
        )
        for k in range(3)
        if any(e[0] % 3 == k for e in events)
    ]  # fmt: skip
    return Profile(
        identity=Identity(
            model="m", model_hash="0", data=name, seed=0, heldout=False, statistics=("counts",)
        ),
        shards=(Shard(source=name, start=0, stop=max(1, len(events)), samples=len(events)),),
        sites=(site,),
        refusals=(),
        census=Census(params=1, macs=1.0, bytes=4, layers={}),
        seconds=1.0,
        strata=tuple(strata),
    )


def summed(events: list[tuple[int, int, list[int]]], units: int) -> SiteProfile:
    per_unit = np.zeros((4, BLOCKS, units))
    samples = np.zeros(BLOCKS, dtype=np.int64)
    low, high = np.full(units, np.inf), np.full(units, -np.inf)
    first, gram = np.full(units, NEVER), np.zeros((len(FOLDS), units, units))
    drawn = np.zeros((len(FOLDS), 2, units))
    histogram = np.zeros((QUARTERS, units, BINS), dtype=np.int64)
    for id_, block, values in events:
        a = np.array(values, dtype=np.float64)
        samples[block] += 1
        per_unit[:, block] += [a > 0, a > 0, a, a**2]
        low, high = np.minimum(low, a), np.maximum(high, a)
        first = np.where((a > 0) & ((first == NEVER) | (id_ < first)), id_, first)
        fold = next(f for f, p in enumerate(FOLDS) if block in p.value)
        gram[fold] += np.outer(a, a)
        drawn[fold] += [a, a**4]
        histogram[block // (BLOCKS // QUARTERS), np.arange(units), np.abs(a).astype(int)] += 1
    return SiteProfile(
        site=Site(name="a", kind="linear", units=units, slots=SLOTS), rule=RULE,
        samples=samples, positions=samples.copy(),
        samples_active=per_unit[0].astype(np.int64), positions_active=per_unit[1].astype(np.int64),
        total=per_unit[2], square=per_unit[3], low=low, high=high, first=first, gram=gram,
        gram_drawn=drawn, histogram_positions=histogram, histogram_samples=histogram.copy(),
    )  # fmt: skip


ACTIVATIONS = st.lists(st.integers(-3, 3), min_size=3, max_size=3)
EVENTS = st.lists(
    st.tuples(st.integers(0, 10**15), st.integers(0, BLOCKS - 1), ACTIVATIONS), max_size=8
)


@given(EVENTS, EVENTS, EVENTS)
@settings(max_examples=60)
def test_merging_any_split_gives_the_whole_in_any_order_and_grouping(
    a: list[tuple[int, int, list[int]]],
    b: list[tuple[int, int, list[int]]],
    c: list[tuple[int, int, list[int]]],
) -> None:
    x, y, z = made("x", a), made("y", b), made("z", c)
    left = merge(merge(x, y), z)

    assert_same_counts(left, made("all", a + b + c))
    for p, q, r in itertools.permutations((x, y, z)):
        assert_same_counts(merge(p, merge(q, r)), left)
        assert merge(p, merge(q, r)).shards == left.shards
        assert merge(p, merge(q, r)).identity == left.identity
    assert left.samples == len(a) + len(b) + len(c)


@given(EVENTS, EVENTS)
@settings(max_examples=60)
def test_a_profile_of_nothing_changes_nothing(
    a: list[tuple[int, int, list[int]]], b: list[tuple[int, int, list[int]]]
) -> None:
    x, nothing = made("x", a), replace(made("y", []), shards=())
    for both in (merge(x, nothing), merge(nothing, x)):
        assert_same_counts(both, x)
        assert both.shards == x.shards
        assert both.samples == x.samples
    y = made("z", b)
    assert_same_counts(merge(x, y), merge(y, x))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_shards_merged_in_any_order_give_the_whole(
    profiled: Callable[..., Profile], order: tuple[int, ...]
) -> None:
    cuts = [0, 10, 64, 101, 150]
    shards = [profiled(*pair, gram=True) for pair in itertools.pairwise(cuts)]

    whole = profiled(0, 150, gram=True)
    merged = reduce(merge, [shards[i] for i in order])

    assert_same_counts(merged, whole, first=False)
    assert merged.samples == 150
    assert merged.seconds == pytest.approx(sum(s.seconds for s in shards))
    for x, y in zip(merged.sites, whole.sites, strict=True):
        assert ((x.first == NEVER) == (y.first == NEVER)).all()


def test_merged_profiles_keep_rates_and_moments(profiled: Callable[..., Profile]) -> None:
    merged, whole = merge(profiled(0, 70), profiled(70, 150)), profiled(0, 150)
    for x, y in zip(merged.sites, whole.sites, strict=True):
        for name in ("rate", "mean", "variance", "constant"):
            assert getattr(x, name).tolist() == getattr(y, name).tolist()


def test_the_data_are_named_once_each(profiled: Callable[..., Profile]) -> None:
    a, b = profiled(0, 70), profiled(70, 150)
    assert merge(a, b).identity.data == "tensors"
    named = replace(b, identity=b.identity.model_copy(update={"data": "more"}))
    assert merge(a, named).identity.data == merge(named, a).identity.data == "more + tensors"


def test_another_model_is_refused(profiled: Callable[..., Profile], mlp: nn.Module) -> None:
    a = profiled(0, 70)
    mlp[0].weight.data[0, 0] += 1.0  # pyright: ignore
    with pytest.raises(ActpruneError, match=r"must agree in model_hash, got '\w+' and '\w+';"):
        merge(a, profiled(70, 150))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "must agree in seed, got 0 and 1; profile the second one again"),
        ({"leave_out": True}, "must agree in heldout, got False and True"),
        ({"gram": True}, "must agree in statistics"),
        ({"rule": "magnitude:0.5"}, r"share their firing rules; site '0' has a > 0 and \|a\| > .*"),
    ],
)
def test_profiles_made_in_another_way_are_refused(
    profiled: Callable[..., Profile], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ActpruneError, match=message):
        merge(profiled(0, 70), profiled(70, 150, **options))


def test_other_thresholds_are_refused_until_they_are_shared(
    profiled: Callable[..., Profile],
) -> None:
    a = profiled(0, 70, rule="magnitude:0.5")
    with pytest.raises(ActpruneError, match="profile the second one with --like the first"):
        merge(a, profiled(70, 150, rule="magnitude:0.5"))
    assert merge(a, profiled(70, 150, like=a)).samples == 150


def test_other_sites_are_refused(profiled: Callable[..., Profile]) -> None:
    a, b = profiled(0, 70), profiled(70, 150)
    with pytest.raises(ActpruneError, match="must have the same sites, in the same order"):
        merge(a, replace(b, sites=b.sites[::-1]))


def test_the_same_samples_are_not_counted_twice(
    mlp: nn.Module, vectors: Tensor, profiled: Callable[..., Profile]
) -> None:
    whole = profiled(0, 150)
    with pytest.raises(ActpruneError, match="Both profiles count samples 0 to 149 of the same da"):
        merge(whole, profiled(0, 150))
    with pytest.raises(ActpruneError, match="samples 0 to 39 of the same data; merge each sample"):
        merge(merge(profiled(100, 150), profile(mlp, vectors, samples=40, rule="positive")), whole)


def test_neighbouring_ranges_of_one_data_set_do_not_overlap() -> None:
    def ranged(start: int, stop: int) -> Profile:
        p = made("x", [(1, 2, [1, 1, 1])])
        return replace(p, shards=(Shard(source="x", start=start, stop=stop, samples=1),))

    assert [s.start for s in merge(ranged(5, 9), ranged(0, 5)).shards] == [0, 5]
    with pytest.raises(ActpruneError, match="samples 5 to 5 of the same data"):
        merge(ranged(5, 9), ranged(0, 6))


def test_counts_beyond_32_bits_stay_exact() -> None:
    a, b = made("x", [(1, 2, [1, 1, 1])]), made("y", [(2, 2, [1, 1, 1])])
    huge = 2**40 + 1
    a.sites[0].positions_active[2] = huge
    b.sites[0].positions_active[2] = huge
    assert merge(a, b).sites[0].positions_active.sum(0).tolist() == [2 * huge] * 3


def test_gram_matrices_add_up_to_rounding(mlp: nn.Module, vectors: Tensor) -> None:
    x = vectors / 3  # no longer exact
    whole = profile(mlp, x, gram=True, rule="positive")
    parts = [Arrays.of(x).where(lambda ids, k=k: ids % 2 == k) for k in (0, 1)]
    merged = merge(*[profile(mlp, p, gram=True, rule="positive") for p in parts])
    for s, t in zip(merged.sites, whole.sites, strict=True):
        assert s.gram is not None
        assert t.gram is not None
        size = math.sqrt(float(np.max(t.gram)) ** 2)
        # 150 float64 products in another order, of activations whose float32 rounding may differ
        # with the batch: at most 4 inputs, products, a bias, twice, relative to the largest
        limit = size * 150 * (2.0**-52 + 16 * 2.0**-23)
        np.testing.assert_allclose(s.gram, t.gram, rtol=0, atol=limit)
