"""A profile: what was counted, as a frozen, additive result.

Shapes: B = 32 blocks of samples, Q = 4 quarters of them, N units, H = 66 bins of magnitudes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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

# histograms are kept per quarter: 8 blocks each, so that other thresholds have errors too
QUARTERS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class SiteProfile:
    """Statistics of one site's units over the calibration samples, one row a block.

    `low`, `high` and `first` do not subtract: after `subtract` all three are None, unknown.
    """

    site: Site
    rule: Rule
    samples: np.ndarray  # int64 [B], samples seen
    # int64 [B], positions seen (samples x positions a sample, those of each tensor that the site's
    # consumers read)
    positions: np.ndarray
    samples_active: np.ndarray  # int64 [B, N], samples with at least one active position
    positions_active: np.ndarray  # int64 [B, N]
    total: np.ndarray  # float64 [B, N], sum of activations over positions
    square: np.ndarray  # float64 [B, N], sum of squares
    low: np.ndarray | None  # float64 [N], least activation seen
    high: np.ndarray | None  # float64 [N], greatest
    first: np.ndarray | None  # int64 [N], id of the first sample that fired the unit, or NEVER
    gram: np.ndarray | None  # float64 [3, N, N], sums of a a^T over positions per fold
    # float64 [3, 2, N] where the Gram matrix is of drawn positions: the sums of a over them, and
    # the variances behind `gram_stderr`; None where every position counts
    gram_drawn: np.ndarray | None = None
    # int64 [Q, N, H] each, bins as in `actprune.ops.histogram`; None where not taken
    histogram_positions: np.ndarray | None = None  # |a|
    histogram_samples: np.ndarray | None = None  # the largest |a| of each sample

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
    def gram_stderr(self) -> np.ndarray | None:
        """Standard errors of the Gram matrix's entries for the positions left out, [3, N, N].

        Zero where every position counts; an upper bound in expectation otherwise (ours). With m
        of a sample's P positions drawn without replacement, the variance of the sum over them of
        z = a_i a_j, times P / m, is P^2 (1 - m/P) S^2 / m (Cochran 1977, Sampling Techniques,
        eq. 2.8), and S^2 is at most the sum of z^2 / (P - 1), hence, by Cauchy and Schwarz,
        at most sqrt(sum a_i^4 sum a_j^4) / (P - 1). What the profile sums over samples, per unit,
        is V_i = P (P - m) / (m (P - 1)) x the estimate of sum a_i^4; the error is (V_i V_j)^(1/4).
        """
        if self.gram is None:
            return None
        if self.gram_drawn is None:
            return np.zeros_like(self.gram)
        root = np.sqrt(np.sqrt(self.gram_drawn[:, 1]))
        return root[:, :, None] * root[:, None, :]

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


class Until(BaseModel):
    """A rule that might have ended a run of samples early, and what it found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str  # as it was asked for
    met: bool  # whether it ended the run; else the data did
    looks: int  # at the counts
    samples: int  # counted at the last look, 0 without one
    said: str  # what was found there, in words

    def __str__(self) -> str:
        return f"until {self.rule}: {'met' if self.met else 'not met'}; {self.said}"


class Shard(BaseModel):
    """A run of samples, start <= index < stop, of the data set whose first sample is `source`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    start: int
    stop: int
    samples: int  # counted; fewer than stop - start where a third is held out
    until: Until | None = None


class Identity(BaseModel):
    """What a profile is a profile of; only profiles that agree in all of it add up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str  # how the user named the model
    model_hash: str
    data: str  # how the user named the data
    seed: int  # of the blocks and of the held-out third
    heldout: bool  # whether a third of the data was left out
    statistics: tuple[str, ...]
    counted: Literal["samples", "documents"] = "samples"  # what a sample is; documents of a text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stratum:
    """The counts of one group of samples, as of one class or domain."""

    name: str
    sites: tuple[SiteProfile, ...]  # as the profile's, without Gram matrices and histograms

    @property
    def samples(self) -> int:
        """Calibration samples of this stratum, 0 for a model without sites."""
        return int(self.sites[0].samples.sum()) if self.sites else 0


def in_order(strata: Iterable[Stratum]) -> tuple[Stratum, ...]:
    """Strata by their names, whole numbers first and by value."""

    def key(stratum: Stratum) -> tuple[bool, int, str]:
        name = stratum.name
        whole = name.removeprefix("-").isdecimal()
        return (not whole, int(name) if whole else 0, name)

    return tuple(sorted(strata, key=key))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """Additive statistics of a model's sites on calibration data."""

    identity: Identity
    shards: tuple[Shard, ...]
    sites: tuple[SiteProfile, ...]
    refusals: tuple[Refusal, ...]
    census: Census
    seconds: float
    strata: tuple[Stratum, ...] = ()  # what `sites` are the sums of, where it was asked for

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
