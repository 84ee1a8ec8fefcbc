"""Files appear whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from actprune.errors import ActpruneError

UNDONE = ".tmp"  # what the names of files end in that are still being written


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write beside `path`, flush to disk and rename; a failure leaves what was there before.

    Raises:
        ActpruneError: if the folder is missing or cannot be written, or the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = ""
    try:
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNDONE)
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as e:
        raise ActpruneError(f"{path}: cannot be written ({e.strerror}).") from e
    finally:
        if temporary and os.path.exists(temporary):  # not renamed: failed or interrupted
            os.unlink(temporary)


def remove_undone(path: Path) -> None:
    """Remove what writers of `path` left behind when they were killed; nobody may be writing it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????{UNDONE}"):
        left.unlink(missing_ok=True)


def check_new_folder(path: Path) -> None:
    """Make sure, before any work, that results can be put at `path`, which is new or empty.

    Raises:
        ActpruneError: if it is a file, is not empty, or cannot be made.
    """
    if path.exists() and not path.is_dir():
        raise ActpruneError(f"-o {path}: a file; give the name of a new folder.")
    if path.is_dir() and any(path.iterdir()):
        raise ActpruneError(f"-o {path}: not empty; choose a new folder.")
    above = path if path.exists() else path.absolute().parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ActpruneError(f"-o {path}: no permission to write in {above}.")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that appears at `path`, complete, when the block ends without an error."""
    check_new_folder(path)
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=path.absolute().parent, prefix=f".{path.name}."))
    except OSError as e:
        raise ActpruneError(f"-o {path}: cannot be made ({e.strerror}).") from e
    try:
        yield staging
        os.chmod(staging, 0o777 & ~_umask())
        try:
            os.replace(staging, path)
        except OSError as e:
            raise ActpruneError(f"-o {path}: cannot be put in place ({e.strerror}).") from e
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    """Let the new name outlive a loss of power, where the file system can promise that."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
