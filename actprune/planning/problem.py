"""Pose the global allocation problem: measured curves where there are data, else ranked ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from actprune.data.batch import Batch
from actprune.planning.allocate import Room
from actprune.planning.criteria import Evidence
from actprune.planning.curves import ranked
from actprune.planning.pricing import price_in_units, prices
from actprune.planning.sensitivity import measured_curves
from actprune.planning.solve import Problem
from actprune.refit.settings import Compensation
from actprune.sites.census import Census

MEASURED = "divergence of the output, summed over sites cut alone"
RANKED = "each site's scores as shares of their sum"


def pose(
    model: nn.Module,
    rooms: Sequence[Room],
    evidence: Mapping[str, Evidence],
    batches: Sequence[Batch],
    settings: Compensation,
    census: Census,
    *,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[Problem, str]:
    """The problem, and what its harm is measured in.

    Args:
        batches: the samples of the fit and select parts; without any, the criterion's own scores
            make the curves.
        seed: of the profile.
    """
    sites = [r.site for r in rooms]
    if batches:
        curves = measured_curves(
            model, rooms, evidence, batches, settings, seed=seed, progress=progress
        )
    else:
        curves = {r.site.name: ranked(r) for r in rooms}
    costs = {**prices(census, sites), "units": price_in_units(sites)}
    return Problem(rooms, curves, costs), MEASURED if batches else RANKED
