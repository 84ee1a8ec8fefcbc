"""Checks of paths that come before any work, so that no result is lost for want of a place."""

from __future__ import annotations

import os
from pathlib import Path

from actprune.errors import ActpruneError


def check_new_file(path: Path, *, force: bool = False) -> None:
    """Make sure that a result can be written to `path`.

    Raises:
        ActpruneError: if it is a folder, exists (unless `force`), or cannot be written.
    """
    if path.is_dir():
        raise ActpruneError(f"-o {path}: a folder; give the name of a file.")
    if path.exists() and not force:
        raise ActpruneError(f"-o {path}: exists already; choose another name or add --force.")
    if not path.parent.is_dir():
        raise ActpruneError(f"-o {path}: there is no folder {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ActpruneError(f"-o {path}: the folder {path.parent} cannot be written to.")


def read_text(path: Path, what: str) -> str:
    """The text of the file at `path`; raises ActpruneError where it is missing or no text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ActpruneError(f"{path}: no such {what}.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise ActpruneError(f"{path}: not a readable {what} ({e}).") from None
