"""What several processes have counted, added up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ReduceOp

from actprune.profiling.ranks.team import Team
from actprune.profiling.result import NEVER, SiteProfile, Stratum, in_order

_LAST = torch.iinfo(torch.int64).max
_STARTS = {"low": np.inf, "high": -np.inf, "first": NEVER}  # before any sample; all others at 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Total:
    """What a rank has counted or, added up, all of them."""

    sites: tuple[SiteProfile, ...]
    samples: int
    last_id: int  # the greatest sample read
    seconds: float  # the longest of any rank
    strata: tuple[Stratum, ...] = ()


def total(team: Team, counted: Total) -> Total:
    """Add up what each rank has counted, the same on all of them.

    Exact for counts, extremes and first firing ids; sums and Gram matrices are float64 additions in
    another order than a single process's. A stratum may be known to some of the ranks only.
    """
    if team.size == 1:
        return counted
    samples = team.reduce(torch.tensor(counted.samples), ReduceOp.SUM)
    last_id = team.reduce(torch.tensor(counted.last_id), ReduceOp.MAX)
    seconds = team.reduce(torch.tensor(counted.seconds, dtype=torch.float64), ReduceOp.MAX)
    sites = tuple(_site(team, s) for s in counted.sites)
    strata = in_order(_stratum(team, name, counted) for name in _names(team, counted.strata))
    team.finish()
    return Total(
        sites=sites,
        samples=int(samples),
        last_id=int(last_id),
        seconds=float(seconds),
        strata=strata,
    )


def _names(team: Team, strata: Sequence[Stratum]) -> list[str]:
    """The strata that any rank has met, in the same order on all."""
    said = json.dumps([s.name for s in strata]).encode()
    heard = [json.loads(team.hear(said, rank)) for rank in range(team.size)]
    return list(dict.fromkeys(name for names in heard for name in names))


def _stratum(team: Team, name: str, counted: Total) -> Stratum:
    known = {s.name: s.sites for s in counted.strata}
    sites = known.get(name) or tuple(_nothing(s) for s in counted.sites)
    return Stratum(name=name, sites=tuple(_site(team, s) for s in sites))


def _nothing(site: SiteProfile) -> SiteProfile:
    """The counts of no samples at `site`, as of a stratum."""
    changed: dict[str, Any] = {}
    for field in fields(site):
        value = getattr(site, field.name)
        if field.name.startswith(("gram", "histogram")):
            changed[field.name] = None
        elif isinstance(value, np.ndarray):
            changed[field.name] = np.full_like(value, _STARTS.get(field.name, 0))
    return replace(site, **changed)


def _site(team: Team, site: SiteProfile) -> SiteProfile:
    changed: dict[str, Any] = {}
    for field in fields(site):
        value = getattr(site, field.name)
        if isinstance(value, np.ndarray):
            changed[field.name] = _array(team, field.name, torch.from_numpy(value)).numpy()
    return replace(site, **changed)


def _array(team: Team, name: str, value: Tensor) -> Tensor:
    if name == "first":
        least = team.reduce(torch.where(value == NEVER, _LAST, value), ReduceOp.MIN)
        return torch.where(least == _LAST, NEVER, least)
    ops = {"low": ReduceOp.MIN, "high": ReduceOp.MAX}
    return team.reduce(value, ops.get(name, ReduceOp.SUM))
