"""What an unfinished run has counted so far, as one sealed file that the run can go on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.profiling.counting.ledger import Unfinished
from actprune.profiling.counting.sums import STATS
from actprune.profiling.looking import Looked
from actprune.profiling.result import Profile, SiteProfile, Stratum
from actprune.profiling.rules import Rule
from actprune.profiling.sealed import read_sealed, write_sealed
from actprune.profiling.store import (
    site_arrays,
    site_headers,
    sites_from,
    strata_arrays,
    strata_from,
)
from actprune.sites.site import Site

SCHEMA = 1
# where a field of `asked` has another name than the argument that decides it
_CALLED = {
    "model_hash": "model (its hash)",
    "source": "first sample (its hash)",
    "heldout": "leave_out",
    "like": "thresholds of `like` (their hash)",
    "counted": "kind of sample",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """The state of a run between two batches."""

    asked: Mapping[str, Any]  # all that decides what is counted, in JSON's types
    sites: tuple[SiteProfile, ...]  # the sums so far, with the rules
    strata: tuple[Stratum, ...]  # the same of each stratum met, where they are asked for
    unfinished: Unfinished | None  # the packed document that may go on in the next batch
    batches: int  # read, at least 1
    last_id: int  # of the last sample read
    mark: str  # the fingerprint of the last batch read
    seconds: float  # spent so far
    looked: Looked  # where a rule that may end the run stands
    before: tuple[np.ndarray, ...] | None  # int64 [N] a site, samples active at its last look

    @property
    def rules(self) -> dict[str, Rule]:
        """The rule of each site by the site's name."""
        return {s.site.name: s.rule for s in self.sites}


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to `path`, all of it or nothing.

    Raises:
        ActpruneError: if the file cannot be written.
    """
    header = {
        "schema": SCHEMA,
        "asked": dict(checkpoint.asked),
        "sites": site_headers(checkpoint.sites),
        **{name: getattr(checkpoint, name) for name in ("batches", "last_id", "mark", "seconds")},
        "strata": [s.name for s in checkpoint.strata],
        "unfinished": None,
        "looked": checkpoint.looked.model_dump(),
    }
    arrays = site_arrays(checkpoint.sites) | strata_arrays(checkpoint.strata)
    if checkpoint.unfinished is not None:
        held = {f.name: getattr(checkpoint.unfinished, f.name) for f in fields(Unfinished)}
        arrays |= {
            f"unfinished.{k}": v.cpu().numpy() for k, v in held.items() if isinstance(v, Tensor)
        }
        header["unfinished"] = {k: v for k, v in held.items() if not isinstance(v, Tensor)}
    if checkpoint.before is not None:
        arrays |= {f"before.{i}": x for i, x in enumerate(checkpoint.before)}
    write_sealed(path, "checkpoint", header, arrays)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ActpruneError: if the file is missing, truncated, tampered with or of another schema.
    """
    return read_sealed(path, "checkpoint", SCHEMA, _build)


def check_same_run(
    checkpoint: Checkpoint, asked: Mapping[str, Any], sites: Sequence[Site], path: Path
) -> None:
    """Raises ActpruneError if the run that goes on would count anything else, or otherwise."""
    for name in (*asked, *(n for n in checkpoint.asked if n not in asked)):
        was, now = checkpoint.asked.get(name), asked.get(name)
        if was != now:
            raise ActpruneError(
                f"{path}: begun with another {_CALLED.get(name, name)}: {was!r}, got {now!r}; "
                f"resume with the same, or remove the file and profile from the start."
            )
    if [s.site for s in checkpoint.sites] != list(sites):
        raise ActpruneError(
            f"{path}: begun on a model with other sites; resume with the same model and version, "
            f"or remove the file and profile from the start."
        )


def rules_hash(profile: Profile) -> str:
    """16 hex digits of a profile's rules, which may be given instead of being fixed anew."""
    text = json.dumps({s.site.name: s.rule.model_dump() for s in profile.sites}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _build(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Checkpoint:
    sites = sites_from(header["sites"], arrays)
    if any(s.first is None for s in sites):
        raise ValueError("low, high or first is missing")
    unfinished = None
    if header["unfinished"] is not None:
        prefix = "unfinished."
        tensors: dict[str, Any] = {
            name.removeprefix(prefix): torch.from_numpy(x)
            for name, x in arrays.items()
            if name.startswith(prefix)
        }
        unfinished = Unfinished(**header["unfinished"], **tensors)
        page = (STATS, 1, sum(s.units for s in sites))
        if unfinished.page.shape != page or unfinished.positions.shape != (1, len(sites)):
            raise ValueError(f"the unfinished document should have a page of shape {page}")
    looked = Looked.model_validate(header.get("looked", {}))
    before = None
    if looked.looks:
        before = tuple(arrays[f"before.{i}"] for i in range(len(sites)))
        if any(x.shape != (s.units,) for x, s in zip(before, sites, strict=True)):
            raise ValueError("the counts of the last look are misshapen")
    return Checkpoint(
        asked=dict(header["asked"]),
        sites=sites,
        strata=strata_from(header["strata"], header["sites"], arrays),
        unfinished=unfinished,
        batches=int(header["batches"]),
        last_id=int(header["last_id"]),
        mark=str(header["mark"]),
        seconds=float(header["seconds"]),
        looked=looked,
        before=before,
    )
