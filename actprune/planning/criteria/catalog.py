"""All criteria by name, with their formulas, their sources and what they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actprune.errors import ActpruneError
from actprune.planning.criteria.answer import residual, taylor
from actprune.planning.criteria.chance import random
from actprune.planning.criteria.ranking import Criterion
from actprune.planning.criteria.rarity import apoz, rare, rare_effect
from actprune.planning.criteria.size import (
    effect,
    fluctuation,
    magnitude,
    mean_abs,
    minitron,
    wanda,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A criterion as docs/criteria.md lists it; the units of the least score go first."""

    rank: Criterion
    score: str
    source: str
    needs: str


# a: a unit's activation at a position, w: the weights that read it, times the factor of a batch
# normalization behind them; means are over positions
CATALOG: Mapping[str, Entry] = {
    "residual": Entry(
        rank=residual,
        score="cost of the removal once all kept units are refitted, greedily one by one",
        source="ours, after optimal brain surgeon (Hassibi & Stork 1993; 2203.07259)",
        needs="the data, or a profile with Gram matrices",
    ),
    "rare": Entry(
        rank=rare,
        score="share of positions where the unit is active; ties by mean a²",
        source="ours; for ReLU the order of 1607.03250",
        needs="the profile",
    ),
    "rare_effect": Entry(
        rank=rare_effect,
        score="rate × RMS of a when active × ‖w‖",
        source="ours",
        needs="the profile",
    ),
    "effect": Entry(rank=effect, score="mean a² × ‖w‖²", source="ours", needs="the profile"),
    "fluctuation": Entry(
        rank=fluctuation,
        score="variance of a × ‖w‖²",
        source="FLAP, 2312.11983, WIFV; without its standardization over layers",
        needs="the profile",
    ),
    "magnitude": Entry(
        rank=magnitude,
        score="Euclidean norm of the weights that make the unit",
        source="Li et al., 1608.08710, in L2",
        needs="the model",
    ),
    "apoz": Entry(
        rank=apoz,
        score="share of positions where a is not exactly 0",
        source="Hu et al., 1607.03250: 1 − APoZ",
        needs="the profile of rectified units; else the data",
    ),
    "mean_abs": Entry(
        rank=mean_abs,
        score="mean \\|a\\|",
        source="Minitron, 2407.14679, section 2.2, with the mean over samples too",
        needs="the profile of rectified units; else the data",
    ),
    "minitron": Entry(
        rank=minitron,
        score="L2 norm over samples of the mean \\|a\\| over a sample's positions",
        source="Minitron, 2407.14679, section 2.2: batch L2, sequence mean",
        needs="the data",
    ),
    "wanda": Entry(
        rank=wanda,
        score="RMS of a × sum of \\|w\\|",
        source="Wanda, 2306.11695, eq. 1, summed over outputs: Wanda-sp of 2312.11983",
        needs="the profile",
    ),
    "taylor": Entry(
        rank=taylor,
        score="mean over samples of (sum over positions of a × d loss / d a)²",
        source="Molchanov et al., 1906.10771, first order, with gates on the units",
        needs="the data with labels",
    ),
    "random": Entry(rank=random, score="a seeded random number", source="-", needs="nothing"),
}

CRITERIA: Mapping[str, Criterion] = {name: entry.rank for name, entry in CATALOG.items()}


def named(criterion: str | Criterion) -> Criterion:
    """The criterion called so, or the user's own; raises ActpruneError for an unknown name."""
    if not isinstance(criterion, str):
        return criterion
    if criterion not in CRITERIA:
        raise ActpruneError(f"Criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}.")
    return CRITERIA[criterion]
