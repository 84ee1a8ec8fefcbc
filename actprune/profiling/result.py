"""A profile: what was counted, as a frozen, additive result.

Shapes: B = 32 blocks of samples, N units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from actprune.data.split import Part
from actprune.errors import ActpruneError
from actprune.profiling.rules import Rule
from actprune.sites.census import Census
from actprune.sites.find import Refusal
from actprune.sites.site import Site

NEVER = -1  # in `first`: the unit never fired
SOURCE_BITS = 40  # a firing id is (source << 40) | index: unique over data sets too

# the parts of the samples, in the order of a Gram matrix's folds
FOLDS = (Part.FIT, Part.SELECT, Part.CHECK)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class SiteProfile:
    """Statistics of one site's units over the calibration samples, one row a block.

    `low`, `high` and `first` do not subtract: after `subtract` all three are None, unknown.
    """

    site: Site
    rule: Rule
    samples: np.ndarray  # int64 [B], samples seen
    positions: np.ndarray  # int64 [B], positions seen (samples x positions a sample)
    samples_active: np.ndarray  # int64 [B, N], samples with at least one active position
    positions_active: np.ndarray  # int64 [B, N]
    total: np.ndarray  # float64 [B, N], sum of activations over positions
    square: np.ndarray  # float64 [B, N], sum of squares
    low: np.ndarray | None  # float64 [N], least activation seen
    high: np.ndarray | None  # float64 [N], greatest
    first: np.ndarray | None  # int64 [N], id of the first sample that fired the unit, or NEVER
    gram: np.ndarray | None  # float64 [3, N, N], sums of a a^T over positions per fold

    @property
    def units(self) -> int:
        """N."""
        return self.site.units

    @property
    def rate(self) -> np.ndarray:
        """Positions active / positions, float64 [N], 0 to 1."""
        return self.positions_active.sum(0) / max(1, int(self.positions.sum()))

    @property
    def mean(self) -> np.ndarray:
        """Mean activation over positions, float64 [N]."""
        return self.total.sum(0) / max(1, int(self.positions.sum()))

    @property
    def second_moment(self) -> np.ndarray:
        """Mean squared activation over positions, float64 [N]."""
        return self.square.sum(0) / max(1, int(self.positions.sum()))

    @property
    def variance(self) -> np.ndarray:
        """Variance over positions (divided by their number), float64 [N], >= 0."""
        return np.maximum(self.second_moment - self.mean**2, 0.0)

    @property
    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest activation seen, float64 [N] each.

        Raises:
            ActpruneError: if they are unknown.
        """
        if self.low is None or self.high is None:
            raise ActpruneError(
                f"Site {self.site.name!r}: which units are constant is unknown after subtract, "
                f"which cannot take samples out of an extreme; use the profile it was taken from, "
                f"or profile the remaining samples again."
            )
        return self.low, self.high

    @property
    def constant(self) -> np.ndarray:
        """bool [N]: the consumer has only ever read one and the same value.

        Raises:
            ActpruneError: if the extremes are unknown.
        """
        low, high = self.extremes
        return low == high


class Shard(BaseModel):
    """A run of samples, start <= index < stop, of the data set whose first sample is `source`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    start: int
    stop: int
    samples: int  # counted; fewer than stop - start where a third is held out


class Identity(BaseModel):
    """What a profile is a profile of; only profiles that agree in all of it add up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str  # how the user named the model
    model_hash: str
    data: str  # how the user named the data
    seed: int  # of the blocks and of the held-out third
    heldout: bool  # whether a third of the data was left out
    statistics: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """Additive statistics of a model's sites on calibration data."""

    identity: Identity
    shards: tuple[Shard, ...]
    sites: tuple[SiteProfile, ...]
    refusals: tuple[Refusal, ...]
    census: Census
    seconds: float

    @property
    def samples(self) -> int:
        """Calibration samples counted."""
        return sum(s.samples for s in self.shards)

    def site(self, name: str) -> SiteProfile:
        """The statistics of the site called `name`; raises KeyError."""
        for s in self.sites:
            if s.site.name == name:
                return s
        raise KeyError(name)

    def __str__(self) -> str:
        units = sum(s.units for s in self.sites)
        return f"{self.samples} samples, {len(self.sites)} sites, {units} units"
