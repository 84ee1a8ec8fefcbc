"""The same activations give the same profile, however they are cut up and reduced.

The ledger is fed with stored tensors, so that no forward pass can differ with the batch.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
import torch
from profile_checks import ADDITIVE, assert_same_counts
from torch import Tensor

from actprune.data.batch import Batch
from actprune.ops.backend import Backend
from actprune.profiling.counting import ledger as ledgers
from actprune.profiling.counting.ledger import Ledger
from actprune.profiling.counting.sums import Sums
from actprune.profiling.merge import merge
from actprune.profiling.result import Identity, Profile, Shard
from actprune.profiling.rules import Rule
from actprune.sites.census import Census
from actprune.sites.site import Site, Slot

SAMPLES = 150
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
COUNTS = ("samples", "positions", "samples_active", "positions_active")
EXACT = (*COUNTS, "low", "high", "first", "histogram_positions", "histogram_samples")


def site(name: str, units: int) -> Site:
    slots = (Slot(module=name, role="producer"), Slot(module=f"{name}2", role="consumer"))
    return Site(name=name, kind="linear", units=units, slots=slots)


SITES = (site("first", 6), site("last", 5), site("tokens", 7), site("flat", 4))
RULES = {
    "first": Rule(kind="positive", threshold=0.0),
    "last": Rule(kind="magnitude", threshold=0.25),
    "tokens": Rule(kind="magnitude", threshold=0.1),  # no float32
    "flat": Rule(kind="positive", threshold=0.0),
}


def stored(dtype: torch.dtype, whole: bool = False) -> dict[str, Tensor]:
    """[S, U, P] of each site: channels first, channels last, tokens, one position; small whole
    numbers, whose sums are exact in any order, or any numbers."""
    gen = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        if whole:
            return torch.randint(-3, 4, shape, generator=gen).to(dtype)
        x = torch.randn(shape, generator=gen)
        return x.masked_fill_(torch.rand(shape, generator=gen) < 0.3, 0.0).to(dtype)

    images = draw(SAMPLES, 5, 3, 4).contiguous(memory_format=torch.channels_last)
    return {
        "first": draw(SAMPLES, 6, 3, 3).flatten(2),
        "last": images.flatten(2),
        "tokens": draw(SAMPLES, 9, 7).transpose(1, 2),
        "flat": draw(SAMPLES, 4)[:, :, None],
    }


def label(batch: Batch) -> list[int]:
    return [int(i) % 3 for i in batch.ids]


def profiled(
    x: dict[str, Tensor], batch: int, backend: Backend = "auto", start: int = 0, stop: int = SAMPLES
) -> Profile:
    ledger = Ledger(
        SITES, RULES, with_gram=True, with_histogram=True, strata=label,
        device=torch.device("cpu"), backend=backend,
    )  # fmt: skip
    for index, at in enumerate(range(start, stop, batch)):
        rows = slice(at, min(at + batch, stop))
        ids = torch.arange(SAMPLES)[rows]
        ledger.open(Batch(args=(), kwargs={}, labels=None, ids=ids))
        for name, a_SUP in x.items():
            ledger.see(name, a_SUP[rows])
        ledger.close(index)
    return Profile(
        identity=Identity(
            model="m", model_hash="0", data="x", seed=0, heldout=False, statistics=("all",)
        ),
        shards=(Shard(source="x", start=start, stop=stop, samples=stop - start),),
        sites=ledger.freeze(),
        refusals=(),
        census=Census(params=1, macs=1.0, bytes=4, layers={}),
        seconds=1.0,
        strata=ledger.freeze_strata(),
    )


def assert_counted_alike(a: Profile, b: Profile) -> None:
    """All that is no sum of floats, of the whole and of each stratum."""
    assert [s.name for s in a.strata] == [s.name for s in b.strata]
    groups = [
        (a.sites, b.sites),
        *((x.sites, y.sites) for x, y in zip(a.strata, b.strata, strict=True)),
    ]
    for p, q in groups:
        for x, y in zip(p, q, strict=True):
            for name in EXACT:
                got, expected = getattr(x, name), getattr(y, name)
                if expected is None:
                    assert got is None
                else:
                    assert got.dtype == expected.dtype
                    np.testing.assert_array_equal(got, expected, err_msg=f"{x.site.name}.{name}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_counts_do_not_depend_on_the_batch(dtype: torch.dtype) -> None:
    x = stored(dtype)
    whole = profiled(x, SAMPLES)
    for a_SUP, s in zip(x.values(), whole.sites, strict=True):  # and are those of the definition
        size = a_SUP.double().abs() if s.rule.kind == "magnitude" else a_SUP.double()
        fires = size > s.rule.threshold
        assert s.positions_active.sum(0).tolist() == fires.sum((0, 2)).tolist()
        assert s.samples_active.sum(0).tolist() == fires.any(2).sum(0).tolist()
    for batch in (1, 7, 64):
        assert_counted_alike(profiled(x, batch), whole)


@pytest.mark.parametrize("backend", ["naive", "eager", "native", "triton"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_counts_do_not_depend_on_the_backend(
    dtype: torch.dtype, backend: Backend, request: pytest.FixtureRequest
) -> None:
    if backend == "native":
        request.getfixturevalue("native_kernels")
        if dtype == torch.float16:
            pytest.skip("the compiled loops take no float16")
    if backend == "triton":
        pytest.importorskip("triton", reason="Triton is not installed")
        if torch.cuda.is_available():
            pytest.skip("stored on the CPU, where the interpreter is off")
    x = stored(dtype)
    for batch in (7, 64):
        assert_counted_alike(profiled(x, batch, backend), profiled(x, SAMPLES, "naive"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cuts", [[0, 150], [0, 40, 150], [0, 40, 41, 100, 150]], ids=len)
def test_counts_do_not_depend_on_shards_or_their_order(dtype: torch.dtype, cuts: list[int]) -> None:
    x = stored(dtype)
    whole = profiled(x, SAMPLES)
    shards = [profiled(x, 64, start=a, stop=b) for a, b in itertools.pairwise(cuts)]
    for order in itertools.permutations(shards):
        assert_counted_alike(reduce(merge, order), whole)


def test_sums_of_whole_numbers_are_the_same_bits_in_any_way() -> None:
    x = stored(torch.float32, whole=True)
    whole = profiled(x, SAMPLES)
    for other in (
        profiled(x, 7),
        profiled(x, 7, "naive"),
        merge(profiled(x, 64, start=41), profiled(x, 1, stop=41)),
    ):
        assert_same_counts(other, whole)


def test_the_whole_is_the_sum_of_its_strata() -> None:
    whole = profiled(stored(torch.float32, whole=True), 64)
    assert [s.name for s in whole.strata] == ["0", "1", "2"]
    for i, s in enumerate(whole.sites):
        for name in ADDITIVE:
            parts = sum(getattr(t.sites[i], name) for t in whole.strata)
            np.testing.assert_array_equal(parts, getattr(s, name))


def test_the_ledger_goes_over_to_compiled_loops_where_they_repay(
    native_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Backend] = []
    reduce_into = ledgers.unit_stats_into

    def spied(*args: object, backend: Backend, **options: object) -> None:
        used.append(backend)
        reduce_into(*args, backend=backend, **options)  # pyright: ignore

    x = stored(torch.float32)
    plain = profiled(x, 7)
    a_batch = sum(a[:7].numel() for a in x.values())
    monkeypatch.setattr(ledgers, "unit_stats_into", spied)
    monkeypatch.setattr(ledgers, "REPAYS_COMPILING", 2 * a_batch)
    assert_counted_alike(profiled(x, 7), plain)
    assert used[: 2 * len(SITES)] == ["auto"] * 2 * len(SITES)
    assert set(used[2 * len(SITES) :]) == {"native"}


def test_counters_go_on_beyond_31_and_32_bits() -> None:
    """Restored sums, as of a run that is resumed, and merged ones."""
    x = stored(torch.float32)
    small = profiled(x, 64)
    for huge in (2**31 - 1, 2**32 - 1, 2**53 + 1):
        large = profiled(x, 64)
        for s in large.sites:
            for name in (*COUNTS, "histogram_positions", "histogram_samples"):
                getattr(s, name)[...] += huge
        sums = Sums(SITES, RULES, with_gram=True, with_histogram=True, device=torch.device("cpu"))
        sums.restore(large.sites)
        page = torch.ones(5, 3, 22, dtype=torch.float64)
        sums.add(torch.arange(3), torch.tensor([2, 2, 9]), page, torch.full((3, 4), 2**31))
        for got, was in zip(sums.freeze(), large.sites, strict=True):
            assert (got.samples - was.samples)[[2, 9]].tolist() == [2, 1]
            assert (got.positions - was.positions)[[2, 9]].tolist() == [2**32, 2**31]
            for name in ("samples_active", "positions_active"):
                more = getattr(got, name) - getattr(was, name)
                assert more[2].tolist() == [2] * got.units
                assert more.sum() == 3 * got.units
            assert got.histogram_samples is not None
            assert was.histogram_samples is not None
            assert (got.histogram_samples - was.histogram_samples).sum() == 3 * got.units
        merged = merge(
            large,
            replace(small, shards=()),
        )
        for got, a, b in zip(merged.sites, large.sites, small.sites, strict=True):
            for name in (*COUNTS, "histogram_positions", "histogram_samples"):
                expected = getattr(a, name).astype(object) + getattr(b, name).astype(object)
                assert (getattr(got, name) == expected).all()
