"""Two processes on one stream, started once for all tests; rank_worker.py holds what they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rank_worker
from profile_checks import assert_same_counts
from torch import Tensor, nn
from two_ranks import RANKS, needs_gloo, run

from actprune.errors import ActpruneError
from actprune.profiling.collect import profile
from actprune.profiling.merge import merge
from actprune.profiling.ranks.sharing import own_path
from actprune.profiling.result import Profile, Stratum
from actprune.profiling.store import load_profile

pytestmark = needs_gloo


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the two processes have left."""
    folder = tmp_path_factory.mktemp("ranks")
    run(rank_worker, folder)
    return folder


def of(folder: Path, case: str) -> list[Profile]:
    """What each rank has returned."""
    return [load_profile(folder / f"{case}.{rank}.safetensors") for rank in range(RANKS)]


def raised(folder: Path, case: str) -> list[str]:
    """What each rank has raised."""
    return [(folder / f"{case}.{rank}.txt").read_text() for rank in range(RANKS)]


def assert_same(a: Profile, b: Profile) -> None:
    assert_same_counts(a, b)
    assert (a.identity, a.shards, a.census) == (b.identity, b.shards, b.census)
    for x, y in zip(a.sites, b.sites, strict=True):
        for name in ("histogram_positions", "histogram_samples"):
            np.testing.assert_equal(getattr(x, name), getattr(y, name))


@pytest.mark.parametrize("case", rank_worker.EQUAL)
def test_every_rank_returns_what_one_process_does(folder: Path, case: str) -> None:
    """Bit by bit, sums too: the weights and the data are whole numbers."""
    alone = rank_worker.EQUAL[case]()
    for profiled in of(folder, case):
        assert_same(profiled, alone)


def test_strata_that_only_one_rank_has_met_are_added_up_too(folder: Path) -> None:
    alone = rank_worker.EQUAL["strata"]()
    assert [s.name for s in alone.strata] == ["0", "1", "2", "3"]

    def as_profile(stratum: Stratum) -> Profile:
        return Profile(
            identity=alone.identity, shards=alone.shards, sites=stratum.sites, refusals=(),
            census=alone.census, seconds=0.0,
        )  # fmt: skip

    for profiled in of(folder, "strata"):
        assert [s.name for s in profiled.strata] == ["0", "1", "2", "3"]
        for x, y in zip(profiled.strata, alone.strata, strict=True):
            assert_same_counts(as_profile(x), as_profile(y))


def test_a_run_that_was_stopped_goes_on_on_every_rank(
    folder: Path, mlp: nn.Module, vectors: Tensor
) -> None:
    whole = profile(mlp, vectors, batch_size=10)
    for profiled in of(folder, "resumed"):
        assert_same(profiled, whole)
    assert sorted(p.name for p in folder.glob("half*")) == ["half.0of2", "half.1of2"]
    assert own_path("half", 0, 1) == Path("half")


def test_a_model_in_distributed_data_parallel_is_taken_out_of_it(
    folder: Path, mlp: nn.Module, vectors: Tensor
) -> None:
    for profiled in of(folder, "wrapped"):
        assert_same(profiled, profile(mlp, vectors))


def test_ranks_with_samples_of_their_own_profile_alone_and_merge(
    folder: Path, mlp: nn.Module, vectors: Tensor
) -> None:
    a, b = of(folder, "alone")
    assert (a.samples, b.samples) == (75, 75)
    whole = profile(mlp, vectors, rule="positive")
    for x, y in zip(merge(a, b).sites, whole.sites, strict=True):
        # blocks and first firing ids are those of each half's own numbers
        np.testing.assert_array_equal(x.positions_active.sum(0), y.positions_active.sum(0))
        np.testing.assert_array_equal(x.square.sum(0), y.square.sum(0))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("an error on one rank", "Rank 1: Site '0' produced activations that are not finite in ba"),
        ("other data", "Rank 1 does not profile the same data as rank 0; give every rank the same"),
        ("other weights", "Rank 1 does not profile the same model as rank 0; load the same weigh"),
        (
            "other arguments",
            "Rank 1 does not profile the same arguments as rank 0; call profile wi",
        ),
        (
            "a shorter stream",
            "Rank 1 does not profile the same stream as rank 0; give every rank t",
        ),
        ("a sampler", "The loader gives each rank other samples; give every rank the same data"),
    ],
)
def test_a_mistake_on_one_rank_ends_all_with_the_same_message(
    folder: Path, case: str, message: str
) -> None:
    first, second = raised(folder, case)
    assert first == second
    assert first.startswith(f"TeamError: {message}")


def test_a_crash_on_one_rank_is_named_on_the_others(folder: Path) -> None:
    assert raised(folder, "a crash on one rank") == [
        "TeamError: Rank 1: OSError: the disk is gone",
        "OSError: the disk is gone",
    ]


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("fsdp 1", "sharded by FullyShardedDataParallel"),
        ("fsdp 2", "spread over processes (0.weight is a DTensor"),
    ],
)
def test_weights_that_are_spread_over_ranks_are_refused(
    folder: Path, case: str, reason: str
) -> None:
    for said in raised(folder, case):
        assert reason in said
        assert "get_model_state_dict with full_state_dict=True" in said


def test_a_rank_that_nobody_joins_says_so(folder: Path, mlp: nn.Module, vectors: Tensor) -> None:
    case = "a rank that does not come"
    said = (folder / f"{case}.0.txt").read_text()
    assert "A rank was lost, or did not come within 0:00:01" in said
    assert "ranks='alone'" in said
    assert_same(load_profile(folder / f"{case}.1.safetensors"), profile(mlp, vectors))


def test_an_unknown_way_to_share_is_refused(mlp: nn.Module, vectors: Tensor) -> None:
    with pytest.raises(ActpruneError, match="'together' or 'alone', got 'sharded'"):
        profile(mlp, vectors, ranks="sharded")  # pyright: ignore[reportArgumentType]
