"""Files appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from actprune.errors import ActpruneError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write beside `path`, flush to disk and rename; a failure leaves what was there before.

    Raises:
        ActpruneError: if the folder is missing or cannot be written, or the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = ""
    try:
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as e:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise ActpruneError(f"{path}: cannot be written ({e.strerror}).") from e


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
