"""A profile as one safetensors file: arrays, and a JSON header with a schema version.

Nothing is unpickled. The header carries a digest of every array and of itself, so a file that was
cut short or changed is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from actprune.data.split import BLOCKS
from actprune.errors import ActpruneError
from actprune.files import write_atomically
from actprune.profiling.result import FOLDS, Identity, Profile, Shard, SiteProfile
from actprune.profiling.rules import Rule
from actprune.sites.census import Census
from actprune.sites.find import Refusal
from actprune.sites.site import Site

SCHEMA = 1
_ARRAYS = tuple(f.name for f in fields(SiteProfile) if f.name not in ("site", "rule"))
_FLOATS = ("total", "square", "low", "high", "gram")
_SUBTRACT_LOSES = ("low", "high", "first")  # absent together, where unknown


def save_profile(profile: Profile, path: Path | str) -> None:
    """Write `profile` to `path`, all of it or nothing.

    Raises:
        ActpruneError: if the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for i, site in enumerate(profile.sites):
        for name in _ARRAYS:
            value = getattr(site, name)
            if value is not None:
                arrays[f"{i}.{name}"] = np.ascontiguousarray(value)
    header = {
        "schema": SCHEMA,
        "identity": profile.identity.model_dump(),
        "shards": [s.model_dump() for s in profile.shards],
        "sites": [
            {"site": s.site.model_dump(), "rule": s.rule.model_dump()} for s in profile.sites
        ],
        "refusals": [asdict(r) for r in profile.refusals],
        "census": profile.census.model_dump(),
        "seconds": profile.seconds,
    }
    text = json.dumps(header, sort_keys=True)
    metadata = {"actprune_profile": text, "digest": _digest(text, arrays)}
    write_atomically(Path(path), save(arrays, metadata=metadata))


def load_profile(path: Path | str) -> Profile:
    """Read a profile.

    Raises:
        ActpruneError: if the file is missing, truncated, tampered with or of another schema.
    """
    path = Path(path)
    if not path.is_file():
        raise ActpruneError(f"{path}: no such profile; make one with `actprune profile`.")
    try:
        with safe_open(str(path), framework="numpy") as f:
            metadata = f.metadata() or {}
            arrays = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as e:
        raise ActpruneError(f"{path}: not a readable profile, or cut short ({e}).") from e
    text = metadata.get("actprune_profile")
    if text is None:
        raise ActpruneError(f"{path}: a safetensors file, but not an actprune profile.")
    if metadata.get("digest") != _digest(text, arrays):
        raise ActpruneError(f"{path}: damaged or changed since it was written; profile again.")
    try:
        header = json.loads(text)
        if header["schema"] != SCHEMA:
            raise ActpruneError(
                f"{path}: profile schema {header['schema']!r}, this version reads {SCHEMA}."
            )
        return _build(header, arrays)
    except (KeyError, TypeError, ValueError, ValidationError) as e:
        raise ActpruneError(f"{path}: not a valid profile ({type(e).__name__}: {e}).") from e


def _build(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Profile:
    sites = []
    for i, entry in enumerate(header["sites"]):
        site, rule = Site.model_validate(entry["site"]), Rule.model_validate(entry["rule"])
        values = {name: arrays.get(f"{i}.{name}") for name in _ARRAYS}
        unknown = all(values[name] is None for name in _SUBTRACT_LOSES)
        may_lack = ("gram", *(_SUBTRACT_LOSES if unknown else ()))
        for name, shape in _shapes(site.units).items():
            value = values[name]
            if value is None and name in may_lack:
                continue
            kind = np.float64 if name in _FLOATS else np.int64
            if value is None or value.shape != shape or value.dtype != kind:
                raise ValueError(f"array {i}.{name} should be {kind.__name__} of shape {shape}")
        sites.append(SiteProfile(site=site, rule=rule, **values))  # pyright: ignore
    return Profile(
        identity=Identity.model_validate(header["identity"]),
        shards=tuple(Shard.model_validate(s) for s in header["shards"]),
        sites=tuple(sites),
        refusals=tuple(Refusal(**r) for r in header["refusals"]),
        census=Census.model_validate(header["census"]),
        seconds=float(header["seconds"]),
    )


def _shapes(n: int) -> dict[str, tuple[int, ...]]:
    per_block = dict.fromkeys(
        ("samples_active", "positions_active", "total", "square"), (BLOCKS, n)
    )
    per_unit = dict.fromkeys(("low", "high", "first"), (n,))
    return {
        "samples": (BLOCKS,),
        "positions": (BLOCKS,),
        **per_block,
        **per_unit,
        "gram": (len(FOLDS), n, n),
    }


def _digest(text: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        x = np.ascontiguousarray(arrays[name])
        digest.update(f"|{name}|{x.dtype}|{x.shape}|".encode())
        digest.update(x.view(np.uint8).data if x.size else b"")
    return digest.hexdigest()
