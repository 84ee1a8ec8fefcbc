"""One process at a time writes a file: a lock beside it that dies with its holder.

The lock is the kernel's (POSIX `fcntl`), not the lock file's existence, so a file left by a killed
process is simply taken over. Unlike `flock`, it is not inherited by the workers of a loader, which
may outlive a killed process for some seconds.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actprune.errors import ActpruneError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None

_HELD: set[Path] = set()  # by this process, which the kernel would let in again
_TAKEN = (errno.EACCES, errno.EAGAIN)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on writing `path` for the block.

    Raises:
        ActpruneError: if another process holds it, or this one does already, or the folder is
            missing or cannot be written.
    """
    if fcntl is None:
        yield
        return
    lock = path.absolute().with_name(f".{path.name}.lock")
    if lock in _HELD:
        raise ActpruneError(_in_use(path, f"process {os.getpid()}, this one,"))
    fd = _take(lock, path)
    _HELD.add(lock)
    try:
        yield
    finally:
        _HELD.discard(lock)
        lock.unlink(missing_ok=True)  # while it is still held: whoever waits for it looks again
        os.close(fd)


def _take(lock: Path, path: Path) -> int:
    while True:
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as e:
            raise ActpruneError(f"{path}: cannot be written ({e.strerror}).") from e
        try:
            _lock(fd, path)
            if _same(fd, lock):  # not one that its holder has just removed
                os.truncate(fd, 0)
                os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
                return fd
        except BaseException as e:
            os.close(fd)
            if isinstance(e, OSError):
                raise ActpruneError(f"{path}: cannot be written ({e.strerror}).") from e
            raise
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    assert fcntl is not None
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        if e.errno in _TAKEN:
            holder = os.pread(fd, 400, 0).decode(errors="replace") or "another process"
            raise ActpruneError(_in_use(path, holder)) from None
        # a file system without locks: the files themselves still appear whole or not at all


def _same(fd: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(lock))
    except FileNotFoundError:
        return False


def _in_use(path: Path, holder: str) -> str:
    return f"{path}: {holder} is writing it; wait for that run, stop it, or choose another name."
