"""Profiles add up: over shards, machines and days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from actprune.errors import ActpruneError
from actprune.profiling.result import NEVER, Profile, Shard, SiteProfile, Stratum, in_order


def merge(a: Profile, b: Profile) -> Profile:
    """The profile of both profiles' samples together.

    Exact for counts, extremes and first firing ids, whatever the order; sums of activations and
    Gram matrices are float64 additions. What is unknown in one profile is unknown in the sum;
    strata add up by their names.

    Raises:
        ActpruneError: if model, firing rules, seed or statistics differ, or samples overlap.
    """
    check_alike(a, b, "merge")
    shards = _joined(a.shards, b.shards)
    data = data_names(a) | data_names(b)
    return replace(
        a,
        identity=a.identity.model_copy(update={"data": joined_names(data)}),
        shards=shards,
        sites=_add_sites(a.sites, b.sites),
        strata=_add_strata(a.strata, b.strata),
        seconds=a.seconds + b.seconds,
    )


def check_alike(a: Profile, b: Profile, verb: str) -> None:
    """Raises ActpruneError, naming `verb`, if the profiles' counts are not of the same things."""
    for field in ("model_hash", "seed", "heldout", "statistics", "counted"):
        x, y = getattr(a.identity, field), getattr(b.identity, field)
        if x != y:
            raise ActpruneError(
                f"Profiles to {verb} must agree in {field}, got {x!r} and {y!r}; "
                f"profile the second one again like the first."
            )
    if [s.site for s in a.sites] != [s.site for s in b.sites]:
        raise ActpruneError(f"Profiles to {verb} must have the same sites, in the same order.")
    for x, y in zip(a.sites, b.sites, strict=True):
        if x.rule != y.rule:
            raise ActpruneError(
                f"Profiles to {verb} must share their firing rules; site {x.site.name!r} has "
                f"{x.rule} and {y.rule}; profile the second one with --like the first."
            )


def data_names(profile: Profile) -> set[str]:
    """What the profile's data are called: one name, or several after a merge."""
    return set(profile.identity.data.split(" + "))


def joined_names(names: set[str]) -> str:
    """The one name of data called `names`; `data_names` takes it apart again."""
    return " + ".join(sorted(names))


def _joined(a: tuple[Shard, ...], b: tuple[Shard, ...]) -> tuple[Shard, ...]:
    for x in a:
        for y in b:
            if x.source == y.source and x.start < y.stop and y.start < x.stop:
                raise ActpruneError(
                    f"Both profiles count samples {max(x.start, y.start)} to "
                    f"{min(x.stop, y.stop) - 1} of the same data; merge each sample only once."
                )
    return tuple(sorted((*a, *b), key=lambda s: (s.source, s.start)))


def _add_strata(a: tuple[Stratum, ...], b: tuple[Stratum, ...]) -> tuple[Stratum, ...]:
    """By name; a stratum that one side has not met counts nothing there."""
    found = {s.name: s for s in a}
    for y in b:
        x = found.get(y.name)
        found[y.name] = y if x is None else replace(x, sites=_add_sites(x.sites, y.sites))
    every = in_order(found.values())
    if all(site.low is not None for s in every for site in s.sites):
        return every
    return tuple(replace(s, sites=tuple(map(_without_extremes, s.sites))) for s in every)


def _without_extremes(site: SiteProfile) -> SiteProfile:
    return replace(site, low=None, high=None, first=None)


def _add_sites(a: tuple[SiteProfile, ...], b: tuple[SiteProfile, ...]) -> tuple[SiteProfile, ...]:
    return tuple(_add(x, y) for x, y in zip(a, b, strict=True))


def _add(a: SiteProfile, b: SiteProfile) -> SiteProfile:
    return replace(
        a,
        samples=a.samples + b.samples,
        positions=a.positions + b.positions,
        samples_active=a.samples_active + b.samples_active,
        positions_active=a.positions_active + b.positions_active,
        total=a.total + b.total,
        square=a.square + b.square,
        low=_both(np.minimum, a.low, b.low),
        high=_both(np.maximum, a.high, b.high),
        first=_both(_earlier, a.first, b.first),
        gram=_both(np.add, a.gram, b.gram),
        gram_drawn=_both(np.add, a.gram_drawn, b.gram_drawn),
        histogram_positions=_both(np.add, a.histogram_positions, b.histogram_positions),
        histogram_samples=_both(np.add, a.histogram_samples, b.histogram_samples),
    )


def _both(
    join: Callable[[np.ndarray, np.ndarray], np.ndarray],
    a: np.ndarray | None,
    b: np.ndarray | None,
) -> np.ndarray | None:
    return None if a is None or b is None else join(a, b)


def _earlier(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    unsigned = np.minimum(a.astype(np.uint64), b.astype(np.uint64))  # NEVER is largest
    return unsigned.astype(np.int64)


assert NEVER == -1  # the cast to uint64 above relies on it
