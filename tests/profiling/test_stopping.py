"""A run that is asked to stop counts the batch at hand, keeps its work and then does stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
import torch
from profile_checks import assert_same_counts
from torch import Tensor, nn

from actprune import files
from actprune.errors import ActpruneError
from actprune.profiling.collect import profile
from actprune.profiling.safety.checkpoint import load_checkpoint

AT = 5  # the batch in which something happens


class Net(nn.Module):
    """Two layers, in whose middle something may happen on full batches."""

    def __init__(self, happens: Callable[[int], None] = lambda batch: None) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.one, self.two, self.three = nn.Linear(6, 17), nn.Linear(17, 9), nn.Linear(9, 2)
        self.happens, self.batch = happens, 0

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(torch.relu(self.one(x)))
        if len(x) == 70:  # neither finding the sites nor fixing the rules
            self.batch += 1
            self.happens(self.batch)
        return self.three(torch.relu(x))


def data(happens: Callable[[int], None] = lambda batch: None) -> Iterator[Tensor]:
    gen = torch.Generator().manual_seed(9)
    for number, x in enumerate(torch.randn(700, 6, generator=gen).split(70), 1):
        happens(number)
        yield x


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "p.partial"


def asks(number: int, times: int = 1) -> Callable[[int], None]:
    """Send this process a signal in batch number `AT`."""

    def happens(batch: int) -> None:
        if batch == AT:
            for _ in range(times):
                signal.raise_signal(number)

    return happens


def assert_goes_on(place: Path) -> None:
    p = profile(Net(), data(), gram=True, checkpoint=place, resume=True)
    assert_same_counts(p, profile(Net(), data(), gram=True))


def test_an_interruption_in_a_batch_waits_until_it_is_counted(place: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    net = Net(asks(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        profile(net, data(), gram=True, checkpoint=place)
    assert load_checkpoint(place).batches == AT
    assert signal.getsignal(signal.SIGINT) is before
    assert not net.two._forward_hooks
    assert not net.three._forward_pre_hooks
    assert [f.name for f in place.parent.iterdir()] == [place.name]
    assert_goes_on(place)


def test_an_interruption_between_batches_does_not_wait_for_the_next(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(Net(), data(asks(signal.SIGINT)), gram=True, checkpoint=place)
    assert load_checkpoint(place).batches == AT - 1
    assert_goes_on(place)


def test_a_second_interruption_stops_at_once_and_leaves_the_last_checkpoint(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(Net(asks(signal.SIGINT, 2)), data(), gram=True, checkpoint=place, every=3)
    assert load_checkpoint(place).batches == 3
    assert_goes_on(place)


def test_termination_goes_to_whoever_handled_it(place: Path) -> None:
    heard: list[int] = []

    def hear(number: int, _: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, hear)
    try:
        with pytest.raises(KeyboardInterrupt):  # the handler took note only
            profile(Net(asks(signal.SIGTERM)), data(), gram=True, checkpoint=place)
        assert signal.getsignal(signal.SIGTERM) is hear
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert load_checkpoint(place).batches == AT
    assert_goes_on(place)


def test_a_signal_that_was_ignored_still_is(place: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        p = profile(Net(asks(signal.SIGINT)), data(), gram=True, checkpoint=place)
    finally:
        signal.signal(signal.SIGINT, before)
    assert p.samples == 700


def test_a_checkpoint_can_be_kept_outside_the_main_thread(place: Path) -> None:
    found: list[int] = []

    def work() -> None:
        found.append(profile(Net(), data(), checkpoint=place, every=4).samples)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [700]
    assert load_checkpoint(place).batches == 8


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), OSError(122, "Disk quota exceeded")]
)
def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(
    place: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    flush = os.fsync
    calls: list[int] = []

    def full(fd: int) -> None:
        calls.append(fd)
        if len(calls) > 4:  # two checkpoints: each file, and its folder
            raise error
        flush(fd)

    with monkeypatch.context() as m:
        m.setattr(files.os, "fsync", full)
        with pytest.raises(ActpruneError) as e:
            profile(Net(), data(), gram=True, checkpoint=place, every=2)
    assert str(e.value) == (
        f"{place}: cannot be written ({error.strerror}); the first 4 batches are kept there."
    )
    assert load_checkpoint(place).batches == 4
    assert [f.name for f in place.parent.iterdir()] == [place.name]
    assert_goes_on(place)


def test_a_folder_that_vanishes_ends_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def vanish(batch: int) -> None:
        if batch == AT:
            folder.rename(tmp_path / "elsewhere")

    with pytest.raises(ActpruneError) as e:
        profile(Net(), data(vanish), checkpoint=folder / "p", every=2)
    assert str(e.value) == (
        f"{folder / 'p'}: cannot be written (No such file or directory); nothing has been kept."
    )
    (tmp_path / "elsewhere").rename(folder)
    assert load_checkpoint(folder / "p").batches == 4


def test_what_a_killed_writer_left_is_removed(place: Path) -> None:
    (place.parent / ".p.partial.abcdefgh.tmp").write_text("half a checkpoint")
    (place.parent / ".p.partial.lock").write_text("process 1 on another machine")
    (place.parent / ".q.partial.abcdefgh.tmp").write_text("somebody else's")
    profile(Net(), data(), checkpoint=place, every=2)
    assert sorted(f.name for f in place.parent.iterdir()) == [".q.partial.abcdefgh.tmp", place.name]
