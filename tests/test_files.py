from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from actprune import files
from actprune.errors import ActpruneError
from actprune.files import check_new_folder, new_folder, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_text_and_bytes_are_written_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "übung\n")
    write_atomically(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_bytes() == "übung\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["a", "b"]


def test_a_file_is_replaced_and_readable_as_the_umask_says(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    before = os.umask(0o027)
    try:
        write_atomically(path, "new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027  # asking for the umask does not change it
    finally:
        os.umask(before)
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    (tmp_path / "a").write_text("old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises((ActpruneError, KeyboardInterrupt)) as caught:
        write_atomically(tmp_path / "a", "new")
    if isinstance(error, OSError):
        assert (
            str(caught.value) == f"{tmp_path / 'a'}: cannot be written (No space left on device)."
        )
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_missing_folder_and_a_folder_in_the_way_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ActpruneError, match=r"absent/a: cannot be written \(No such file"):
        write_atomically(tmp_path / "absent" / "a", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ActpruneError, match=r"folder: cannot be written \(Is a directory\)"):
        write_atomically(tmp_path / "folder", "x")
    assert names(tmp_path) == ["folder"]


def test_a_new_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with new_folder(target) as staging:
        (staging / "a").write_text("x")
        assert not target.exists()
        assert staging.parent == target.parent
    assert names(target) == ["a"]
    assert names(tmp_path / "deep") == ["out"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with new_folder(target) as staging:
        (staging / "a").write_text("x")
    assert names(target) == ["a"]


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    def fill() -> None:
        with new_folder(tmp_path / "out") as staging:
            (staging / "a").write_text("x")
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fill()
    assert names(tmp_path) == []


def test_what_is_there_already_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("x")
    with pytest.raises(ActpruneError, match="file: a file; give the name of a new folder"):
        check_new_folder(tmp_path / "file")
    with pytest.raises(ActpruneError, match="full: not empty; choose a new folder"):
        check_new_folder(tmp_path / "full")
    with pytest.raises(ActpruneError, match=r"no permission to write in .*file"):
        check_new_folder(tmp_path / "file" / "below")
    assert (tmp_path / "full" / "a").read_text() == "x"


def test_a_folder_filled_by_another_meanwhile_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def fill() -> None:
        with new_folder(target):
            target.mkdir()
            (target / "theirs").write_text("x")

    with pytest.raises(ActpruneError, match=r"out: cannot be put in place \("):
        fill()
    assert names(tmp_path) == ["out"]
    assert names(target) == ["theirs"]


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ActpruneError, match=r"new: no permission to write in "):
        check_new_folder(tmp_path / "a" / "new")
