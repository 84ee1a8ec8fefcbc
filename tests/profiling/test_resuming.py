from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from breaking_source import Broken, breaking
from profile_checks import assert_same_counts
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Loader
from actprune.data.text import Text
from actprune.errors import ActpruneError
from actprune.profiling.collect import profile
from actprune.profiling.counting import ledger
from actprune.profiling.gram.settings import GramSettings
from actprune.profiling.result import Profile
from actprune.profiling.safety import keeping
from actprune.profiling.safety.checkpoint import load_checkpoint


def random_net() -> nn.Module:
    """No sum of its activations is exact: the order of additions shows in the last bits."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(7, 19), nn.ReLU(), nn.Linear(19, 11), nn.GELU(), nn.Linear(11, 3)
    ).eval()


def readers() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Embedding(50, 8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 8), nn.Linear(8, 50)
    ).eval()


@pytest.fixture
def numbers() -> list[Tensor]:
    gen = torch.Generator().manual_seed(5)
    return list(torch.randn(230, 7, generator=gen).split(23))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "p.partial"


def by_sign(batch: Batch) -> list[str]:
    return ["up" if x > 0 else "down" for x in batch.args[0][:, 0]]


def assert_same_bits(a: Profile, b: Profile) -> None:
    """All arrays of all sites and strata."""
    assert [s.name for s in a.strata] == [s.name for s in b.strata]
    sites = [(p.sites, *(s.sites for s in p.strata)) for p in (a, b)]
    for xs, ys in zip(*sites, strict=True):
        for x, y in zip(xs, ys, strict=True):
            for f in fields(x):
                p, q = getattr(x, f.name), getattr(y, f.name)
                same = p.tobytes() == q.tobytes() if isinstance(p, np.ndarray) else p == q
                assert same, (x.site.name, f.name)


def stopped_after(batches: int, net: nn.Module, data: list[Any], place: Path, **how: Any) -> None:
    with pytest.raises(Broken):
        profile(net, Loader(iterable=breaking(data, batches)), checkpoint=place, every=1, **how)
    assert load_checkpoint(place).batches == batches


@pytest.mark.parametrize(
    "how",
    [
        {"gram": True},
        {"leave_out": True, "seed": 2, "rule": "magnitude:0.5"},
        {"samples": 200, "gram": True, "leave_out": True},
        {"histogram": True, "strata": by_sign},
        {"gram": GramSettings(storage="float32", positions=1), "strata": by_sign},
    ],
)
@pytest.mark.parametrize("after", [6, 7, 8])
def test_a_run_that_goes_on_ends_in_the_same_bits(
    numbers: list[Tensor], place: Path, how: dict[str, Any], after: int
) -> None:
    net = random_net()
    whole = profile(net, Loader(iterable=numbers), **how)
    stopped_after(after, net, numbers, place, **how)

    p = profile(net, Loader(iterable=numbers), checkpoint=place, resume=True, **how)

    assert_same_bits(p, whole)
    assert p.shards == whole.shards
    assert p.identity == whole.identity
    assert (p.refusals, p.census) == (whole.refusals, whole.census)


def documents() -> list[np.ndarray]:
    rng = np.random.default_rng(6)
    return [rng.integers(0, 50, n) for n in rng.integers(1, 90, 40)]


@pytest.mark.parametrize("after", range(1, 13))
def test_a_packed_document_goes_on_after_a_stop(place: Path, after: int) -> None:
    net, text = readers(), Text(documents=[d.tolist() for d in documents()], length=32)
    whole = profile(net, text, batch_size=4, gram=True)
    read = [0]

    def count(_: int) -> None:
        read[0] += 1
        if read[0] == after:
            raise Broken

    with pytest.raises(Broken):
        profile(net, text, batch_size=4, gram=True, checkpoint=place, every=1, progress=count)
    if after > 1:  # the batch at hand was not yet kept
        assert load_checkpoint(place).batches == after - 1
        assert load_checkpoint(place).unfinished is not None
    p = profile(net, text, batch_size=4, gram=True, checkpoint=place, resume=True)

    assert_same_counts(p, whole)


def test_work_done_decides_on_the_backend_after_a_stop_too(
    numbers: list[Tensor], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    class Noting(ledger.Ledger):
        def close(self, index: int) -> None:
            super().close(index)
            seen.append(self._reduced)

    monkeypatch.setattr("actprune.profiling.collect.Ledger", Noting)
    net = random_net()
    profile(net, Loader(iterable=numbers))
    whole = seen.copy()
    stopped_after(6, net, numbers, place)
    seen.clear()
    profile(net, Loader(iterable=numbers), checkpoint=place, resume=True)
    assert seen == whole[6:]


def test_the_model_does_not_run_on_what_was_read(numbers: list[Tensor], place: Path) -> None:
    net = random_net()
    stopped_after(6, net, numbers, place)
    sizes: list[int] = []
    heard: list[int] = []
    with net.register_forward_pre_hook(lambda m, args: sizes.append(len(args[0]))):
        profile(
            net,
            Loader(iterable=numbers),
            checkpoint=place,
            resume=True,
            progress=heard.append,
        )
    assert [n for n in sizes if n > 2] == [23] * 4  # finding the sites takes two samples
    assert heard == [23] * 10  # the bar begins where the earlier run was stopped


def test_a_run_that_was_complete_can_be_resumed(numbers: list[Tensor], place: Path) -> None:
    net = random_net()
    whole = profile(net, Loader(iterable=numbers), checkpoint=place, every=5)
    assert_same_counts(profile(net, Loader(iterable=numbers), checkpoint=place, resume=True), whole)


def test_without_a_checkpoint_to_resume_a_run_starts(numbers: list[Tensor], place: Path) -> None:
    net = random_net()
    p = profile(net, Loader(iterable=numbers), checkpoint=str(place), resume=True)
    assert_same_counts(p, profile(net, Loader(iterable=numbers)))
    assert list(place.parent.iterdir()) == []  # shorter than half a minute; nor is a lock left


def test_an_earlier_run_is_not_written_over(numbers: list[Tensor], place: Path) -> None:
    net = random_net()
    stopped_after(6, net, numbers, place)
    before = place.read_bytes()
    with pytest.raises(ActpruneError, match=r"p.partial: an earlier run .* with resume, or remove"):
        profile(net, Loader(iterable=numbers), checkpoint=place)
    assert place.read_bytes() == before


def other_net() -> nn.Module:
    net = random_net()
    next(net.parameters()).data[0, 0] += 1
    return net


@pytest.fixture
def like(numbers: list[Tensor]) -> Profile:
    return profile(random_net(), Loader(iterable=numbers), rule="magnitude:0.7")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"net": other_net}, "another model (its hash): "),
        ({"data": lambda x: [x[1], *x[1:]]}, "another first sample (its hash): "),
        ({"spec": "elsewhere"}, "another data: 'loader', got 'elsewhere'"),
        ({"seed": 1}, "another seed: 0, got 1"),
        ({"samples": 100}, "another samples: None, got 100"),
        ({"batch_size": 10}, "another batch_size: None, got 10"),
        ({"leave_out": True}, "another leave_out: False, got True"),
        ({"gram": True}, "another statistics: "),
        ({"rule": "positive"}, "another rule: 'auto', got 'positive'"),
        ({"like": True}, "another thresholds of `like` (their hash): None, got "),
        ({"data": lambda x: [*x[:5], x[4], *x[6:]]}, "batch 5 is not the one that was read last"),
        ({"data": lambda x: x[:4]}, "6 batches were read, but the data have only 4 now"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_another_run_is_refused(
    numbers: list[Tensor], place: Path, like: Profile, change: dict[str, Any], said: str
) -> None:
    stopped_after(6, random_net(), numbers, place)
    before = place.read_bytes()
    net = change.pop("net", random_net)()
    data = change.pop("data", list)(numbers)
    source = Loader(iterable=data, spec=change.pop("spec", "loader"))
    if "like" in change:
        change["like"] = like
    with pytest.raises(ActpruneError) as e:
        profile(net, source, checkpoint=place, resume=True, **change)
    assert str(e.value).startswith(f"{place}: ")
    assert said in str(e.value)
    assert "resume with the same" in str(e.value)
    assert "\n" not in str(e.value)
    assert place.read_bytes() == before


def test_a_damaged_checkpoint_is_refused(numbers: list[Tensor], place: Path) -> None:
    stopped_after(6, random_net(), numbers, place)
    content = bytearray(place.read_bytes())
    content[-9] ^= 1
    place.write_bytes(content)
    with pytest.raises(ActpruneError, match="damaged or changed since it was written"):
        profile(random_net(), Loader(iterable=numbers), checkpoint=place, resume=True)


@pytest.mark.parametrize("how", [{"every": 2}, {"resume": True}, {"every": 0, "checkpoint": "x"}])
def test_options_that_make_no_sense_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(ActpruneError, match=r"checkpoint; give its path|at least 1, got 0"):
        profile(random_net(), torch.zeros(3, 7), **how)


@pytest.mark.parametrize(
    ("seconds", "rate", "written"), [(0.0, 1e15, 10), (1e3, 1e15, 0), (0.0, 1.0, 0)]
)
def test_checkpoints_are_far_apart_and_a_small_share_of_the_time(
    numbers: list[Tensor],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    rate: float,
    written: int,
) -> None:
    writes: list[Path] = []

    def save(_: object, path: Path) -> None:
        writes.append(path)

    monkeypatch.setattr(keeping, "save_checkpoint", save)
    monkeypatch.setattr(keeping, "SECONDS", seconds)
    monkeypatch.setattr(keeping, "BYTES_A_SECOND", rate)
    monkeypatch.setattr(keeping, "SHARE", 1.0 if rate > 1 else 0.02)
    profile(random_net(), Loader(iterable=numbers), checkpoint=place)
    assert len(writes) == written
