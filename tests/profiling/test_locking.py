from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actprune.errors import ActpruneError
from actprune.profiling.safety import locking
from actprune.profiling.safety.locking import locked

HOLD = """
import sys, time
from pathlib import Path
from actprune.profiling.safety.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "p"


def test_a_lock_leaves_nothing_behind(place: Path) -> None:
    with locked(place):
        assert (place.parent / ".p.lock").read_text().startswith(f"process {os.getpid()} on ")
    assert list(place.parent.iterdir()) == []
    with locked(place):
        pass


def test_one_process_cannot_lock_twice(place: Path) -> None:
    with (
        locked(place),
        pytest.raises(ActpruneError, match=f"/p: process {os.getpid()}, this one, is writing it"),
        locked(place),
    ):
        pass
    with locked(place):
        pass


def test_another_process_is_named_and_its_death_frees_the_lock(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ActpruneError) as e, locked(place):
            pass
        holder.kill()
    assert str(e.value).startswith(f"{place}: process {holder.pid} on {os.uname().nodename} is ")
    assert holder.returncode == -signal.SIGKILL
    assert (place.parent / ".p.lock").exists()  # stale
    with locked(place):
        assert (place.parent / ".p.lock").read_text().startswith(f"process {os.getpid()} on ")
    assert list(place.parent.iterdir()) == []


def test_a_lock_file_that_its_holder_removes_meanwhile_is_made_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, real = place.parent / ".p.lock", locking._lock
    calls: list[int] = []

    def slow(fd: int, path: Path) -> None:
        if not calls:
            lock.unlink()
        calls.append(fd)
        real(fd, path)

    monkeypatch.setattr(locking, "_lock", slow)
    with locked(place):
        assert lock.exists()
    assert len(calls) == 2


def test_a_folder_that_is_missing_or_read_only_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(ActpruneError, match=r"absent/p: cannot be written \(No such file"),
        locked(place.parent / "absent" / "p"),
    ):
        pass

    def read_only(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(locking.os, "open", read_only)
    with (
        pytest.raises(ActpruneError, match=r"p: cannot be written \(Read-only file system\)"),
        locked(place),
    ):
        pass


def test_a_file_system_without_locks_does_not_stop_a_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", without)
    with locked(place):
        pass
    assert list(place.parent.iterdir()) == []
