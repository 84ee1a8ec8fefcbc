"""A profile as one safetensors file: arrays, and a JSON header with a schema version.

Nothing is unpickled. The header carries a digest of every array and of itself, so a file that was
cut short or changed is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from actprune.data.split import BLOCKS
from actprune.ops.histogram import BINS
from actprune.profiling.result import (
    FOLDS,
    QUARTERS,
    Identity,
    Profile,
    Shard,
    SiteProfile,
    Stratum,
    in_order,
)
from actprune.profiling.rules import Rule
from actprune.profiling.sealed import read_sealed, write_sealed
from actprune.sites.census import Census
from actprune.sites.find import Refusal
from actprune.sites.site import Site

SCHEMA = 1
_ARRAYS = tuple(f.name for f in fields(SiteProfile) if f.name not in ("site", "rule"))
_FLOATS = ("total", "square", "low", "high", "gram", "gram_drawn")
_OPTIONAL = ("gram", "gram_drawn", "histogram_positions", "histogram_samples")
_SUBTRACT_LOSES = ("low", "high", "first")  # absent together, where unknown


def save_profile(profile: Profile, path: Path | str) -> None:
    """Write `profile` to `path`, all of it or nothing.

    Raises:
        ActpruneError: if the file cannot be written.
    """
    header = {
        "schema": SCHEMA,
        "identity": profile.identity.model_dump(),
        "shards": [s.model_dump() for s in profile.shards],
        "sites": site_headers(profile.sites),
        "refusals": [asdict(r) for r in profile.refusals],
        "census": profile.census.model_dump(),
        "seconds": profile.seconds,
    }
    arrays = site_arrays(profile.sites)
    if profile.strata:
        header["strata"] = [s.name for s in profile.strata]
        arrays |= strata_arrays(profile.strata)
    write_sealed(Path(path), "profile", header, arrays)


def load_profile(path: Path | str) -> Profile:
    """Read a profile.

    Raises:
        ActpruneError: if the file is missing, truncated, tampered with or of another schema.
    """
    return read_sealed(Path(path), "profile", SCHEMA, _build)


def site_headers(sites: Sequence[SiteProfile]) -> list[dict[str, Any]]:
    """What is said of each site in a header."""
    return [{"site": s.site.model_dump(), "rule": s.rule.model_dump()} for s in sites]


def site_arrays(sites: Sequence[SiteProfile]) -> dict[str, np.ndarray]:
    """All known arrays, under the site's number and their name."""
    return {
        f"{i}.{name}": value
        for i, site in enumerate(sites)
        for name in _ARRAYS
        if (value := getattr(site, name)) is not None
    }


def sites_from(
    headers: Sequence[dict[str, Any]], arrays: Mapping[str, np.ndarray]
) -> tuple[SiteProfile, ...]:
    """The sites again; raises ValueError where an array is missing or misshapen."""
    sites = []
    for i, entry in enumerate(headers):
        site, rule = Site.model_validate(entry["site"]), Rule.model_validate(entry["rule"])
        values = {name: arrays.get(f"{i}.{name}") for name in _ARRAYS}
        unknown = all(values[name] is None for name in _SUBTRACT_LOSES)
        may_lack = (*_OPTIONAL, *(_SUBTRACT_LOSES if unknown else ()))
        for name, shape in _shapes(site.units).items():
            value = values[name]
            if value is None and name in may_lack:
                continue
            kind = np.float64 if name in _FLOATS else np.int64
            narrow = name == "gram" and value is not None and value.dtype == np.float32
            if value is None or value.shape != shape or not (narrow or value.dtype == kind):
                raise ValueError(f"array {i}.{name} should be {kind.__name__} of shape {shape}")
        sites.append(SiteProfile(site=site, rule=rule, **values))  # pyright: ignore
    return tuple(sites)


def strata_arrays(strata: Sequence[Stratum]) -> dict[str, np.ndarray]:
    """All known arrays of all strata, one behind the other, by the site's number and their name."""
    each = [site_arrays(s.sites) for s in strata]
    return {f"strata.{name}": np.stack([x[name] for x in each]) for name in (each or [{}])[0]}


def strata_from(
    names: Sequence[str], headers: Sequence[dict[str, Any]], arrays: Mapping[str, np.ndarray]
) -> tuple[Stratum, ...]:
    """The strata again; raises ValueError where an array is missing or misshapen."""
    prefix = "strata."
    own = {k.removeprefix(prefix): x for k, x in arrays.items() if k.startswith(prefix)}
    if len(set(names)) != len(names) or not all(isinstance(n, str) for n in names):
        raise ValueError("strata should have a name each")
    for name, stacked in own.items():
        if stacked.shape[:1] != (len(names),):
            raise ValueError(f"array {prefix}{name} should have {len(names)} strata")
    return in_order(
        Stratum(name=name, sites=sites_from(headers, {k: x[z] for k, x in own.items()}))
        for z, name in enumerate(names)
    )


def _build(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Profile:
    return Profile(
        identity=Identity.model_validate(header["identity"]),
        shards=tuple(Shard.model_validate(s) for s in header["shards"]),
        sites=sites_from(header["sites"], arrays),
        refusals=tuple(Refusal(**r) for r in header["refusals"]),
        census=Census.model_validate(header["census"]),
        seconds=float(header["seconds"]),
        strata=strata_from(header.get("strata", ()), header["sites"], arrays),
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
        "gram_drawn": (len(FOLDS), 2, n),
        **dict.fromkeys(("histogram_positions", "histogram_samples"), (QUARTERS, n, BINS)),
    }
