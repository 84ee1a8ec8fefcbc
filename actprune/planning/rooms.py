"""What may go at each site, and in which order: by a criterion, or because nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.planning.allocate import Room, room
from actprune.planning.criteria import CRITERIA, Criterion
from actprune.planning.evidence import gather
from actprune.profiling.result import Profile
from actprune.refit.settings import Compensation
from actprune.sites.site import Site


def ranked_rooms(
    model: nn.Module,
    profile: Profile,
    sites: Sequence[Site],
    batches: Sequence[Batch],
    criterion: str | Criterion,
    seed: int,
    progress: Callable[[str], None],
    *,
    keep: Mapping[str, Sequence[int]],
    drop: Mapping[str, Sequence[int]],
    step: int,
) -> list[Room]:
    """Rooms ordered by `criterion`; raises ActpruneError for one that does not exist."""
    if isinstance(criterion, str) and criterion not in CRITERIA:
        raise ActpruneError(f"Criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}.")
    rank = CRITERIA[criterion] if isinstance(criterion, str) else criterion
    evidence = gather(model, profile, sites, batches, seed=seed, progress=progress)
    return [
        room(s, rank(evidence[s.name]), keep.get(s.name, ()), drop.get(s.name, ()), step)
        for s in sites
    ]


def lossless_rooms(
    model: nn.Module,
    profile: Profile,
    sites: Sequence[Site],
    settings: Compensation,
    keep: Mapping[str, Sequence[int]],
    step: int,
) -> tuple[list[Room], Compensation]:
    """Rooms whose forced units are those whose removal changes nothing on the data: all of them,
    but for `keep` and the last few that would break a group of `step`.

    Raises:
        ActpruneError: if the profile does not know which units are constant.
    """
    rooms, shifts = [], False
    for site in sites:
        stats = profile.site(site.name)
        low, _ = stats.extremes
        free = stats.constant & ((low == 0) | _absorbs_constants(model, site))
        free[list(keep.get(site.name, ()))] = False
        stay = max(site.units - int(free.sum()), 1)
        units = np.flatnonzero(free)[: max(0, site.units - -(-stay // step) * step)]
        shifts |= bool((low[units] != 0).any())
        rooms.append(
            Room(
                site=site,
                order=tuple(int(u) for u in units),
                harm=(0.0,) * len(units),
                forced=len(units),
                step=1,
            )
        )
    return rooms, Compensation(kind="mean" if shifts else "none", sequential=settings.sequential)


def _absorbs_constants(model: nn.Module, site: Site) -> bool:
    """Whether a constant input of a consumer is the same as a bias: not under zero padding."""
    layers = [model.get_submodule(c.module) for c in site.consumers]
    return not any(
        isinstance(m, nn.Conv2d) and any(m._reversed_padding_repeated_twice) for m in layers
    )
