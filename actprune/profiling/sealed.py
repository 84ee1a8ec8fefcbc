"""Arrays and a JSON header in one safetensors file, sealed by a digest of both.

Nothing is unpickled, and a file that was cut short or changed is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from actprune.errors import ActpruneError
from actprune.files import write_atomically

T = TypeVar("T")


def write_sealed(
    path: Path, kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a file of this kind, such as 'profile' or 'checkpoint', all of it or nothing.

    Raises:
        ActpruneError: if the file cannot be written.
    """
    whole = {name: np.ascontiguousarray(x) for name, x in arrays.items()}
    text = json.dumps(header, sort_keys=True)
    metadata = {_key(kind): text, "digest": digest_of(text, whole)}
    write_atomically(path, save(whole, metadata=metadata))


def read_sealed(
    path: Path,
    kind: str,
    schema: int,
    build: Callable[[dict[str, Any], dict[str, np.ndarray]], T],
    *,
    remedy: str = "profile again",
) -> T:
    """What `build` makes of the header and the arrays; `remedy` says what to do without the file.

    Raises:
        ActpruneError: if the file is missing, truncated, tampered with, of another kind or schema,
            or if `build` finds something missing or misshapen in it.
    """
    if not path.is_file():
        raise ActpruneError(f"{path}: no such {kind}; make one with `actprune profile`.")
    try:
        with safe_open(str(path), framework="numpy") as f:
            metadata = f.metadata() or {}
            arrays = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as e:
        raise ActpruneError(f"{path}: not a readable {kind}, or cut short ({e}).") from e
    text = metadata.get(_key(kind))
    if text is None:
        raise ActpruneError(f"{path}: a safetensors file, but not an actprune {kind}.")
    if metadata.get("digest") != digest_of(text, arrays):
        raise ActpruneError(f"{path}: damaged or changed since it was written; {remedy}.")
    try:
        header = json.loads(text)
        if header["schema"] != schema:
            raise ActpruneError(
                f"{path}: {kind} schema {header['schema']!r}, this version reads {schema}."
            )
        return build(header, arrays)
    except (KeyError, TypeError, ValueError, ValidationError) as e:
        raise ActpruneError(f"{path}: not a valid {kind} ({type(e).__name__}: {e}).") from e


def _key(kind: str) -> str:
    return f"actprune_{kind.replace(' ', '_')}"


def digest_of(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """32 hex digits of a header's text and every array's name, type, shape and bytes."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        x = np.ascontiguousarray(arrays[name])
        digest.update(f"|{name}|{x.dtype}|{x.shape}|".encode())
        digest.update(x.view(np.uint8).data if x.size else b"")
    return digest.hexdigest()
