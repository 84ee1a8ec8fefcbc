"""Profiles add up: over shards, machines and days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from actprune.errors import ActpruneError
from actprune.profiling.result import NEVER, Profile, Shard, SiteProfile


def merge(a: Profile, b: Profile) -> Profile:
    """The profile of both profiles' samples together.

    Exact for counts, extremes and first firing ids, whatever the order; sums of activations and
    Gram matrices are float64 additions.

    Raises:
        ActpruneError: if model, firing rules, seed or statistics differ, or samples overlap.
    """
    for field in ("model_hash", "seed", "heldout", "statistics"):
        x, y = getattr(a.identity, field), getattr(b.identity, field)
        if x != y:
            raise ActpruneError(
                f"Profiles to merge must agree in {field}, got {x!r} and {y!r}; "
                f"profile the second one again like the first."
            )
    if [s.site for s in a.sites] != [s.site for s in b.sites]:
        raise ActpruneError("Profiles to merge must have the same sites, in the same order.")
    for x, y in zip(a.sites, b.sites, strict=True):
        if x.rule != y.rule:
            raise ActpruneError(
                f"Profiles to merge must share their firing rules; site {x.site.name!r} has "
                f"{x.rule} and {y.rule}; profile the second one with --like the first."
            )
    shards = _joined(a.shards, b.shards)
    data = {name for p in (a, b) for name in p.identity.data.split(" + ")}  # merged ones before
    return replace(
        a,
        identity=a.identity.model_copy(update={"data": " + ".join(sorted(data))}),
        shards=shards,
        sites=tuple(_add(x, y) for x, y in zip(a.sites, b.sites, strict=True)),
        seconds=a.seconds + b.seconds,
    )


def _joined(a: tuple[Shard, ...], b: tuple[Shard, ...]) -> tuple[Shard, ...]:
    for x in a:
        for y in b:
            if x.source == y.source and x.start < y.stop and y.start < x.stop:
                raise ActpruneError(
                    f"Both profiles count samples {max(x.start, y.start)} to "
                    f"{min(x.stop, y.stop) - 1} of the same data; merge each sample only once."
                )
    return tuple(sorted((*a, *b), key=lambda s: (s.source, s.start)))


def _add(a: SiteProfile, b: SiteProfile) -> SiteProfile:
    unsigned = np.minimum(a.first.astype(np.uint64), b.first.astype(np.uint64))  # NEVER is largest
    return replace(
        a,
        samples=a.samples + b.samples,
        positions=a.positions + b.positions,
        samples_active=a.samples_active + b.samples_active,
        positions_active=a.positions_active + b.positions_active,
        total=a.total + b.total,
        square=a.square + b.square,
        low=np.minimum(a.low, b.low),
        high=np.maximum(a.high, b.high),
        first=unsigned.astype(np.int64),
        gram=None if a.gram is None or b.gram is None else a.gram + b.gram,
    )


assert NEVER == -1  # the cast to uint64 above relies on it
