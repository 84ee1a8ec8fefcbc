"""What may go at each site, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actprune.planning.allocate import Room, room
from actprune.planning.criteria import Criterion, Evidence, named
from actprune.sites.site import Site


def ranked_rooms(
    evidence: Mapping[str, Evidence],
    sites: Sequence[Site],
    criterion: str | Criterion,
    *,
    keep: Mapping[str, Sequence[int]],
    drop: Mapping[str, Sequence[int]],
    step: int,
) -> list[Room]:
    """Rooms ordered by `criterion`; raises ActpruneError for one that does not exist."""
    rank = named(criterion)
    return [
        room(s, rank(evidence[s.name]), keep.get(s.name, ()), drop.get(s.name, ()), step)
        for s in sites
    ]
