"""Profiles that stop by themselves: where, why, and the same after an interruption."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from breaking_source import Broken, breaking
from torch import Tensor, nn

import actprune
from actprune.data.source import Loader
from actprune.data.text import Text
from actprune.errors import ActpruneError
from actprune.profiling import collect
from actprune.profiling.looking import Seen
from actprune.profiling.merge import merge
from actprune.profiling.result import Profile
from actprune.profiling.safety.checkpoint import load_checkpoint
from actprune.profiling.store import load_profile, save_profile
from actprune.theory.stop_rules import Answer, Certified, Stable


@dataclass(frozen=True)
class AtLook:
    """Stops at a given look, and says how much it was shown."""

    number: int
    start: int = 40
    name: str = "at look"

    def first(self, sites: int) -> int:
        return self.start

    def __call__(
        self, sites: Sequence[Seen], number: int, before: Sequence[np.ndarray] | None
    ) -> Answer:
        now = sum(int(s.active.sum()) for s in sites)
        then = None if before is None else sum(int(b.sum()) for b in before)
        said = f"look {number}: {int(sites[0].samples.sum())} samples, {now} firings, {then} before"
        return Answer(enough=number == self.number, said=said)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(7, 19), nn.ReLU(), nn.Linear(19, 11), nn.ReLU(), nn.Linear(11, 3)
    ).eval()


@pytest.fixture
def numbers() -> list[Tensor]:
    gen = torch.Generator().manual_seed(5)
    return list(torch.randn(300, 7, generator=gen).split(10))


def assert_same(a: Profile, b: Profile) -> None:
    assert a.shards == b.shards
    for x, y in zip(a.sites, b.sites, strict=True):
        for f in fields(x):
            p, q = getattr(x, f.name), getattr(y, f.name)
            assert p.tobytes() == q.tobytes() if isinstance(p, np.ndarray) else p == q, f.name


def test_it_looks_at_doubling_sizes_and_stops_where_the_rule_says(
    net: nn.Module, numbers: list[Tensor]
) -> None:
    read: list[int] = []
    p = actprune.profile(net, numbers, until=AtLook(3), progress=read.append)
    (shard,) = p.shards
    assert (shard.start, shard.stop, shard.samples) == (0, 160, 160)  # 40, 80, 160
    assert sum(read) == 160
    until = shard.until
    assert until is not None
    assert (until.rule, until.met, until.looks, until.samples) == ("at look", True, 3, 160)
    # what it was shown is what a profile of the same samples counts
    first = actprune.profile(net, numbers[:8])
    now, then = (sum(int(s.samples_active.sum()) for s in q.sites) for q in (p, first))
    assert until.said == f"look 3: 160 samples, {now} firings, {then} before"


def test_the_counts_are_those_of_the_same_samples(net: nn.Module, numbers: list[Tensor]) -> None:
    stopped = actprune.profile(net, numbers, until=AtLook(2), gram=True)
    plain = actprune.profile(net, numbers, samples=80, gram=True)
    assert plain.shards[0].until is None
    assert_same(replace(stopped, shards=plain.shards), replace(plain, shards=plain.shards))


def test_data_that_end_first_are_said_to(net: nn.Module, numbers: list[Tensor]) -> None:
    until = actprune.profile(net, numbers, until=AtLook(9)).shards[0].until
    assert until is not None
    assert not until.met
    assert (until.looks, until.samples) == (3, 160)
    assert until.said.startswith("the data ended; at 160 samples: look 3")
    early = actprune.profile(net, numbers[:3], until=AtLook(9)).shards[0].until
    assert early is not None
    assert early.said == "the data ended before the first look, at 40 samples"


def test_a_batch_that_passes_several_sizes_is_looked_at_once(
    net: nn.Module, numbers: list[Tensor]
) -> None:
    large = list(torch.cat(numbers).split(100))  # 40 and 80 passed at 100, 160 at 200
    until = actprune.profile(net, large, until=AtLook(2)).shards[0].until
    assert until is not None
    assert (until.looks, until.samples) == (2, 200)


@pytest.mark.parametrize("after", [7, 8, 9, 15])
def test_a_run_that_goes_on_stops_at_the_same_place(
    net: nn.Module, numbers: list[Tensor], tmp_path: Path, after: int
) -> None:
    place, rule = tmp_path / "p.partial", AtLook(3)
    whole = actprune.profile(net, numbers, until=rule)
    with pytest.raises(Broken):
        actprune.profile(
            net, Loader(iterable=breaking(numbers, after)), checkpoint=place, every=1, until=rule
        )
    assert load_checkpoint(place).batches == after
    p = actprune.profile(
        net, Loader(iterable=numbers), checkpoint=place, resume=True, every=1, until=rule
    )
    assert_same(p, whole)
    assert load_checkpoint(place).batches == 16
    # and once it has stopped, resuming reads nothing more
    again = actprune.profile(
        net, Loader(iterable=numbers), checkpoint=place, resume=True, until=rule
    )
    assert_same(again, whole)


def test_a_run_goes_on_with_the_same_rule_only(
    net: nn.Module, numbers: list[Tensor], tmp_path: Path
) -> None:
    place = tmp_path / "p.partial"
    with pytest.raises(Broken):
        actprune.profile(
            net, Loader(iterable=breaking(numbers, 8)), checkpoint=place, every=1, until="stable"
        )
    with pytest.raises(ActpruneError, match=r"begun with another until: 'stable', got None"):
        actprune.profile(net, Loader(iterable=numbers), checkpoint=place, resume=True)


def test_the_rules_work_by_name_and_as_objects(net: nn.Module, numbers: list[Tensor]) -> None:
    many = numbers * 40
    named = actprune.profile(net, many, until="certified=0.05")
    assert_same(named, actprune.profile(net, many, until=Certified(q=0.05)))
    until = named.shards[0].until
    assert until is not None
    assert until.met
    assert named.samples < 12_000
    stable = actprune.profile(net, many, until="stable=0.9").shards[0].until
    assert stable is not None
    assert stable.rule == Stable(ranks=0.9).name
    with pytest.raises(ActpruneError, match="until: known are"):
        actprune.profile(net, many, until="soon")
    with pytest.raises(ActpruneError, match="takes rules, not names"):
        collect.profile(net, many, until="stable")


def test_it_is_kept_in_the_file_and_in_a_merged_profile(
    net: nn.Module, numbers: list[Tensor], tmp_path: Path
) -> None:
    a = actprune.profile(net, numbers, until=AtLook(1), spec="net")
    save_profile(a, tmp_path / "a.safetensors")
    back = load_profile(tmp_path / "a.safetensors")
    assert back.shards == a.shards
    b = actprune.profile(net, [2 * x for x in numbers], like=a, spec="net")
    both = merge(a, b)
    assert [s.until for s in both.shards if s.until] == [a.shards[0].until]


def test_several_processes_are_refused_in_one_line(
    net: nn.Module, numbers: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    from actprune.profiling.ranks.team import Team

    @contextmanager
    def two(_: str) -> Iterator[Team]:
        yield Team(None, 0, 2)

    monkeypatch.setattr(collect, "joined", two)
    with pytest.raises(ActpruneError, match="until stable: 2 processes cannot stop together"):
        actprune.profile(net, numbers, until="stable")


def test_of_a_text_documents_are_counted() -> None:
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Embedding(50, 8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 8), nn.Linear(8, 50)
    ).eval()
    rng = np.random.default_rng(6)
    text = Text(documents=[rng.integers(0, 50, n).tolist() for n in rng.integers(5, 60, 200)],
                length=32)  # fmt: skip
    p = actprune.profile(net, text, batch_size=2, until=AtLook(2, start=20))
    until = p.shards[0].until
    assert p.identity.counted == "documents"
    assert until is not None
    assert until.met
    # the document at hand counts as far as it was read
    assert 40 <= until.samples <= p.samples <= until.samples + 1
    assert p.samples == p.shards[0].stop
    assert int(p.sites[0].samples.sum()) == p.samples


def test_samples_are_called_samples_and_do_not_merge_with_documents(
    net: nn.Module, numbers: list[Tensor]
) -> None:
    a = actprune.profile(net, numbers)
    assert a.identity.counted == "samples"
    other = replace(a, identity=a.identity.model_copy(update={"counted": "documents"}))
    with pytest.raises(ActpruneError, match="agree in counted"):
        merge(a, other)
    assert json.loads(a.identity.model_dump_json())["counted"] == "samples"
