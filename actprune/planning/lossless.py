"""The units that can go without a change: proved, merged, or never seen to move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from actprune.data.batch import Batch
from actprune.exact.bounds import Proof, prove
from actprune.exact.box import Box
from actprune.exact.find import Exact, exact_units, pads
from actprune.exact.merge import Merge
from actprune.planning.allocate import Room
from actprune.planning.result import ExactPlan
from actprune.profiling.result import Profile
from actprune.refit.settings import Compensation
from actprune.sites.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Lossless:
    """Rooms whose forced units are all that can go, how they are made up for, and why they can."""

    rooms: list[Room]
    settings: Compensation
    why: ExactPlan


def lossless_rooms(
    model: nn.Module,
    profile: Profile,
    sites: Sequence[Site],
    keep: Mapping[str, Sequence[int]],
    step: int,
    *,
    box: Box | None,
    example: Batch | None,
    certified: bool,
) -> Lossless:
    """All units that are proved silent on `box` or said by others, then, with `certified`, those
    that kept one value on the calibration data; but for `keep` and the last few that would break a
    group of `step`.

    Args:
        box: the inputs that proofs are about; None for any input.
        example: a batch to follow the model on; without one nothing is proved.

    Raises:
        ActpruneError: with `certified`, if the profile does not know which units are constant.
    """
    proof = Proof(sites={}, stopped="no data were given to plan, only the profile")
    if example is not None:
        proof = prove(model, sites, example, box)
    rooms: list[Room] = []
    merges: dict[str, tuple[Merge, ...]] = {}
    parts: dict[str, dict[str, tuple[int, ...]]] = {"proved": {}, "merged": {}, "certified": {}}
    for site in sites:
        stay = torch.zeros(site.units, dtype=torch.bool)
        stay[list(keep.get(site.name, ()))] = True
        free: dict[int, float] = _free(model, profile, site) if certified else {}
        avoid = torch.zeros_like(stay)
        avoid[list(free)] = True
        found = Exact(proved=(), merges=())
        if site.name in proof.sites:
            found = exact_units(model, site, proof.sites[site.name], stay, avoid)
        merged = {m.unit: m for m in found.merges}
        others = [u for u in free if u not in {*found.proved, *merged} and not stay[u]]
        order = [*found.proved, *merged, *others]
        rest = max(site.units - len(order), 1)
        units = order[: max(0, site.units - -(-rest // step) * step)]
        for name, those in (("proved", found.proved), ("merged", merged), ("certified", others)):
            parts[name][site.name] = tuple(u for u in units if u in set(those))
        constants = {u: Merge(unit=u, constant=v) for u, v in free.items() if v != 0}
        said = {u: merged.get(u) or constants.get(u) for u in units if u not in found.proved}
        merges[site.name] = tuple(m for m in said.values() if m is not None)
        rooms.append(
            Room(
                site=site,
                order=tuple(units),
                harm=(0.0,) * len(units),
                forced=len(units),
                step=1,
            )
        )
    kept = {name: m for name, m in merges.items() if m}
    return Lossless(
        rooms=rooms,
        settings=Compensation(kind="exact", merges=kept) if kept else Compensation(kind="none"),
        why=ExactPlan(box=box, stopped=proof.stopped, **parts),
    )


def _free(model: nn.Module, profile: Profile, site: Site) -> dict[int, float]:
    """The units whose one value on the calibration data, given here, the consumer can do without:
    zero, or anything where it is the same as a bias."""
    stats = profile.site(site.name)
    low, _ = stats.extremes
    padded = any(pads(model.get_submodule(c.module)) for c in site.consumers)
    return {
        u: float(low[u])
        for u in range(site.units)
        if stats.constant[u] and (low[u] == 0 or not padded)
    }
