"""Files that a user names."""

from __future__ import annotations

import difflib
from pathlib import Path

from actprune.errors import ActpruneError


def existing_file(path: Path, what: str) -> Path:
    """`path` with `~` expanded, if a file is there.

    Raises:
        ActpruneError: if there is none; a close name in the same folder is suggested.
    """
    try:
        path = path.expanduser()
        if path.is_file():
            return path
        if path.is_dir():
            raise ActpruneError(f"{path}: expected a file, got a folder; name a file in it.")
        folder = path.parent
        if not folder.is_dir():
            raise ActpruneError(f"{path}: no such {what}; the folder {folder} does not exist.")
        names = [p.name for p in folder.iterdir() if p.is_file()]
    except (OSError, RuntimeError, ValueError) as e:  # no permission, no home folder, a NUL byte
        raise ActpruneError(f"{path}: {what} cannot be read ({e}).") from e
    close = difflib.get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {folder / close[0]}?" if close else f" (looked in {folder.resolve()})."
    raise ActpruneError(f"{path}: no such {what}{hint}")


def one_line(e: BaseException, longest: int = 200) -> str:
    """`TypeName: message`, the message on one line and cut to `longest` characters."""
    message = " ".join(str(e).split())
    if len(message) > longest:
        message = message[: longest - 3] + "..."
    return f"{type(e).__name__}: {message}" if message else type(e).__name__
