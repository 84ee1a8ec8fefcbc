"""What `actprune profile` says and leaves behind when it is stopped, and how it goes on."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actprune import files
from actprune.profiling.safety.locking import locked
from benchmarks.crash_safety import same_arrays

USER = """
import signal
from pathlib import Path

import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 17), nn.ReLU(), nn.Linear(17, 9), nn.ReLU(), nn.Linear(9, 2))


def data():
    gen = torch.Generator().manual_seed(1)
    for number in range(8):
        if number == 5 and Path("signal").exists():
            signal.raise_signal(int(Path("signal").read_text()))
        yield torch.randn(64, 6, generator=gen)
"""
ARGS = ("profile", "user.py:make", "--data", "user.py:data", "-o", "P 1.safetensors")
OUT, PARTIAL = "P 1.safetensors", "P 1.partial.safetensors"
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
from actprune_cli.main import main
main()
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("user.py").write_text(USER)


@pytest.fixture
def stopped(actprune: Callable) -> bytes:
    """The content of what a run has left that was interrupted after five batches."""
    Path("signal").write_text("2")
    assert actprune(*ARGS).code == 130
    Path("signal").unlink()
    return Path(PARTIAL).read_bytes()


def names() -> list[str]:
    return sorted(p.name for p in Path().iterdir() if p.suffix != ".py" and p.is_file())


def as_undisturbed(actprune: Callable) -> bool:
    assert actprune(*ARGS[:-1], "whole.safetensors").code == 0
    same = same_arrays(Path(OUT), Path("whole.safetensors"))
    Path("whole.safetensors").unlink()
    return same


@pytest.mark.parametrize(
    ("number", "code", "said"), [(2, 130, "interrupted."), (15, 143, "terminated.")]
)
def test_a_stopped_run_says_how_to_go_on(
    actprune: Callable, number: int, code: int, said: str
) -> None:
    Path("signal").write_text(str(number))
    result = actprune(*ARGS)
    Path("signal").unlink()

    assert (result.code, result.out) == (code, "")
    note, command, last = result.err.splitlines()
    assert note == f"actprune: {PARTIAL} keeps what has been counted; go on with:"
    assert command == f"actprune {shlex.join(ARGS)} --resume"
    assert last == f"actprune: {said}"
    assert names() == [PARTIAL]

    result = actprune(*shlex.split(command)[1:])
    assert result.code == 0
    assert result.out.startswith(f"{OUT}: ")
    assert names() == [OUT]
    assert as_undisturbed(actprune)


def test_a_run_stopped_before_its_first_batch_has_nothing_to_keep(
    actprune: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("actprune.loading.model.load_model", interrupted)
    result = actprune(*ARGS)
    assert (result.code, result.out, result.err) == (130, "", "actprune: interrupted.\n")
    assert names() == []


def test_unfinished_work_is_never_silently_thrown_away(actprune: Callable, stopped: bytes) -> None:
    result = actprune(*ARGS)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"actprune: {PARTIAL}: an earlier run has left its work here; go on from it with --resume, "
        f"or start again with --force.\n"
    )
    assert Path(PARTIAL).read_bytes() == stopped

    assert actprune(*ARGS, "--force").code == 0
    assert names() == [OUT]


def test_another_run_is_not_gone_on_with(actprune: Callable, stopped: bytes) -> None:
    result = actprune(*ARGS, "--resume", "--batch-size", 32)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"actprune: {PARTIAL}: begun with another batch_size: None, got 32; resume with the same, "
        f"or remove the file and profile from the start.\n"
    )
    assert Path(PARTIAL).read_bytes() == stopped


def test_with_nothing_to_resume_a_run_starts_and_says_so(actprune: Callable) -> None:
    result = actprune(*ARGS, "--resume")
    assert result.code == 0
    said = result.err.splitlines()[0]
    assert said == (f"actprune: {PARTIAL}: no unfinished run to resume; profiling from the start.")
    result = actprune(*ARGS, "--resume")
    assert (result.code, result.out) == (2, "")
    assert result.err == (f"actprune: -o {OUT}: exists already; add --force to profile again.\n")


def test_a_run_killed_when_all_was_written_is_seen_to_have_finished(
    actprune: Callable, stopped: bytes
) -> None:
    assert actprune(*ARGS, "--resume").code == 0
    whole = Path(OUT).read_bytes()
    Path(PARTIAL).write_bytes(stopped)
    os.utime(PARTIAL, ns=(0, 0))  # the profile is younger

    result = actprune(*ARGS, "--resume")

    assert result.code == 0
    assert result.err.splitlines()[0] == f"actprune: {OUT}: the earlier run had finished."
    assert (names(), Path(OUT).read_bytes()) == ([OUT], whole)


def test_work_begun_after_the_profile_in_its_place_is_not_thrown_away(
    actprune: Callable, stopped: bytes
) -> None:
    assert actprune(*ARGS, "--resume").code == 0
    Path(PARTIAL).write_bytes(stopped)
    os.utime(OUT, ns=(0, 0))

    result = actprune(*ARGS, "--resume")
    assert result.code == 2
    assert result.err == (
        f"actprune: -o {OUT}: exists already; add --force to resume {PARTIAL} and write over it.\n"
    )
    assert Path(PARTIAL).read_bytes() == stopped
    assert actprune(*ARGS, "--resume", "--force").code == 0
    assert names() == [OUT]
    assert as_undisturbed(actprune)


def test_two_runs_do_not_write_one_profile(actprune: Callable) -> None:
    with locked(Path(OUT)):
        result = actprune(*ARGS)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"actprune: {OUT}: process {os.getpid()}, this one, is writing it; wait for that run, stop "
        f"it, or choose another name.\n"
    )
    assert names() == []


@pytest.mark.parametrize("late", [False, True], ids=["checkpoint", "profile"])
def test_a_full_disk_is_told_with_the_way_to_go_on(
    actprune: Callable, stopped: bytes, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(files.os, "fsync", full)
        result = actprune(*ARGS, "--resume", *(() if late else ("--every", 1)))
    assert (result.code, result.out) == (2, "")
    what = (
        f"{OUT}: cannot be written (No space left on device)."
        if late
        else f"{PARTIAL}: cannot be written (No space left on device); "
        f"the first 5 batches are kept there."
    )
    how = shlex.join(["actprune", *ARGS, "--resume", *(() if late else ("--every", "1"))])
    assert result.err == f"actprune: {what} When that is mended, go on with: {how}\n"
    assert (names(), Path(PARTIAL).read_bytes()) == ([PARTIAL], stopped)


def test_a_file_that_may_not_grow_so_long_is_told(actprune: Callable, stopped: bytes) -> None:
    assert len(stopped) > 3000
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *ARGS, "--resume", "--every", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"actprune: {PARTIAL}: cannot be written (File too large); the first 5 batches are kept"
    )
    assert len(done.stderr.splitlines()) == 1
    assert (names(), Path(PARTIAL).read_bytes()) == ([PARTIAL], stopped)


def test_checkpoints_at_no_distance_are_refused(actprune: Callable) -> None:
    result = actprune(*ARGS, "--every", 0)
    assert (result.code, result.err) == (2, "actprune: --every: must be at least 1, got 0.\n")
