"""What may go at each site, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.planning.allocate import Room, room
from actprune.planning.criteria import CRITERIA, Criterion
from actprune.planning.evidence import gather
from actprune.profiling.result import Profile
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
