"""Profiles come apart again: a merged profile without the samples of one of its parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from actprune.errors import ActpruneError
from actprune.profiling.counting.sums import HISTOGRAMS
from actprune.profiling.merge import check_alike, data_names, joined_names
from actprune.profiling.result import FOLDS, Profile, Shard, SiteProfile, Stratum


def subtract(a: Profile, b: Profile) -> Profile:
    """The profile of the samples of `a` without those of `b`, a part that was merged into it.

    Exact for counts and histograms; sums of activations and Gram matrices are float64
    subtractions, off by rounding relative to the sums in `a`. Extremes and first firing ids cannot
    be taken apart: unknown afterwards, and with them which units are constant and the
    leave-one-out certificate.

    The data are named as in `a`, without the names of `b` where each shard has a name of its own.

    Raises:
        ActpruneError: if model, firing rules, seed or statistics differ, `b` is not part of `a`,
            or nothing is left.
    """
    check_alike(a, b, "subtract")
    shards = _without(a.shards, b.shards)
    return replace(
        a,
        identity=a.identity.model_copy(update={"data": _data(a, b)}),
        shards=shards,
        sites=_take_sites(a.sites, b.sites),
        strata=_take_strata(a.strata, b.strata),
        seconds=max(0.0, a.seconds - b.seconds),
    )


def _without(a: tuple[Shard, ...], b: tuple[Shard, ...]) -> tuple[Shard, ...]:
    for s in b:
        if s not in a:
            raise ActpruneError(
                f"The first profile has no shard of {s.samples} samples out of {s.start} to "
                f"{s.stop - 1} of data {s.source}, as the second has; subtract only profiles that "
                f"were merged into the first."
            )
    left = tuple(s for s in a if s not in b)
    if not sum(s.samples for s in left):
        raise ActpruneError(
            "Both profiles count the same samples, so subtract leaves none; "
            "subtract a part of the first profile."
        )
    return left


def _data(a: Profile, b: Profile) -> str:
    """Profiles do not record which shard has which name. It follows where there are as many names
    as shards, unless an earlier subtraction left names behind that have lost their shards."""
    mine, others = data_names(a), data_names(b)
    fresh = all(s.low is not None for p in (a, b) for s in p.sites)
    if fresh and len(mine) == len(a.shards) and others < mine:
        return joined_names(mine - others)
    return a.identity.data


def _take_strata(a: tuple[Stratum, ...], b: tuple[Stratum, ...]) -> tuple[Stratum, ...]:
    """By name; a stratum without samples left is one that was never met."""
    others = {s.name: s for s in b}
    unknown = others.keys() - {s.name for s in a}
    if unknown:
        raise ActpruneError(
            f"The first profile has no stratum {min(unknown)!r}, as the second has; subtract only "
            f"profiles that were merged into the first."
        )
    left = []
    for x in a:
        y = others.get(x.name)
        # what is not taken from is unknown all the same, as if nothing had been subtracted from it
        rest = _take_sites(x.sites, y.sites if y is not None else tuple(map(_empty, x.sites)))
        left.append(replace(x, sites=rest))
    return tuple(s for s in left if s.samples)


def _empty(site: SiteProfile) -> SiteProfile:
    counted = ("samples", "positions", "samples_active", "positions_active", "total", "square")
    return replace(site, **{name: np.zeros_like(getattr(site, name)) for name in counted})


def _take_sites(a: tuple[SiteProfile, ...], b: tuple[SiteProfile, ...]) -> tuple[SiteProfile, ...]:
    return tuple(_take(x, y) for x, y in zip(a, b, strict=True))


def _take(a: SiteProfile, b: SiteProfile) -> SiteProfile:
    samples, positions = a.samples - b.samples, a.positions - b.positions
    samples_active = a.samples_active - b.samples_active
    positions_active = a.positions_active - b.positions_active
    silent_samples = samples[:, None] - samples_active
    silent_positions = positions[:, None] - positions_active
    counts = [samples, positions, samples_active, positions_active]
    histograms = {name: _less(getattr(a, name), getattr(b, name)) for name in HISTOGRAMS}
    counts += [h for h in histograms.values() if h is not None]
    if any((count < 0).any() for count in (*counts, silent_samples, silent_positions)):
        raise ActpruneError(
            f"Site {a.site.name!r}: the second profile counts more than the first, so it is not "
            f"part of it; subtract only profiles that were merged into the first."
        )
    # where no position is left the sums are 0, whatever rounding says
    filled = positions > 0
    emptied = [not filled[list(part.value)].any() for part in FOLDS]
    gram, drawn = _less(a.gram, b.gram), _less(a.gram_drawn, b.gram_drawn)
    if gram is not None:
        gram[emptied] = 0.0
    if drawn is not None:
        drawn[emptied] = 0.0
        drawn[:, 1] = np.maximum(drawn[:, 1], 0.0)
    return replace(
        a,
        samples=samples,
        positions=positions,
        samples_active=samples_active,
        positions_active=positions_active,
        total=np.where(filled[:, None], a.total - b.total, 0.0),
        square=np.where(filled[:, None], np.maximum(a.square - b.square, 0.0), 0.0),
        low=None,
        high=None,
        first=None,
        gram=gram,
        gram_drawn=drawn,
        **histograms,
    )


def _less(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return None if a is None or b is None else a - b
