"""The same widths, chosen and compensated in another way: what a plan is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from actprune.data.source import Source
from actprune.planning.allocate import kept_units, room
from actprune.planning.criteria import named
from actprune.planning.evidence import gather
from actprune.planning.result import Plan, PlannedSite
from actprune.planning.samples import refit_samples
from actprune.profiling.result import Profile
from actprune.refit.settings import Compensation


def alike(
    model: nn.Module,
    profile: Profile,
    plan: Plan,
    *,
    criterion: str,
    compensation: Compensation,
    batches: Source | Iterable[Any],
) -> Plan:
    """`plan` with as many units kept at each site, ranked by `criterion`; without a forecast."""
    data = refit_samples(plan, batches)
    sites = [p.site for p in plan.sites]
    evidence = gather(model, profile, sites, data, seed=plan.data.seed)
    rank = named(criterion)
    rooms = [room(s, rank(evidence[s.name]), (), (), 1) for s in sites]
    kept = kept_units(rooms, {p.site.name: len(p.kept) for p in plan.sites})
    return plan.model_copy(
        update={
            "criterion": criterion,
            "compensation": compensation,
            "sites": tuple(
                PlannedSite(
                    site=p.site,
                    rule=p.rule,
                    kept=kept[p.site.name],
                    constants=(None,) * (p.site.units - len(p.kept)),
                )
                for p in plan.sites
            ),
            "forecast": None,
            "local": None,
            "forecast_reason": "a plan made only to be compared with",
            "counts_only": None,
            "counts_only_reason": "a plan made only to be compared with",
        }
    )
