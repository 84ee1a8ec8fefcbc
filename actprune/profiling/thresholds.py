"""Other thresholds than a profile's own, from its histograms, without the data.

A bin edge e splits the magnitudes exactly, but says |a| >= e where a rule says |a| > t. The
thresholds just below an edge have no number between, so there the two are the same: those are
`exact_thresholds`, two an octave. At any other threshold the counts are bracketed.

Shapes: Q = 4 quarters of the samples, N units, H = 66 bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from actprune.errors import ActpruneError
from actprune.ops.histogram import count_at_least, edges
from actprune.profiling.result import QUARTERS, Profile, SiteProfile
from actprune.profiling.rules import Rule
from actprune.sites.site import Site


def exact_thresholds() -> tuple[float, ...]:
    """Ascending: the numbers just below 2^-20, 1.5 x 2^-20, ..., 2^12; `math.nextafter(e, 0)`."""
    return tuple(math.nextafter(e, 0.0) for e in edges().tolist())


def nearest_exact(threshold: float) -> float:
    """The exact threshold whose ratio to `threshold` > 0 is nearest to 1."""
    return min(exact_thresholds(), key=lambda t: abs(math.log(t / threshold)))


def relative_thresholds(profile: Profile, relative: float) -> dict[str, float]:
    """For each site the exact threshold nearest to `relative` x the RMS of all its activations.

    Raises:
        ActpruneError: if `relative` is not a positive number.
    """
    if not 0 < relative < math.inf:
        raise ActpruneError(f"A relative threshold must be a positive number, got {relative:g}.")
    found = {}
    for s in profile.sites:
        rms = math.sqrt(float(s.square.sum()) / max(1, int(s.positions.sum()) * s.units))
        found[s.site.name] = nearest_exact(relative * rms) if rms else exact_thresholds()[0]
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class ThresholdCounts:
    """How often the units of one site exceed a threshold: the fewest and the most the histograms
    allow, the same where `exact`."""

    site: Site
    threshold: float  # active where |a| > threshold, in the activation's units
    samples: np.ndarray  # int64 [Q], samples seen
    positions: np.ndarray  # int64 [Q]
    samples_active: tuple[np.ndarray, np.ndarray]  # fewest and most, int64 [Q, N] each
    positions_active: tuple[np.ndarray, np.ndarray]

    @property
    def exact(self) -> bool:
        """Whether both bounds are the same, for all units."""
        pairs = (self.samples_active, self.positions_active)
        return all(np.array_equal(low, high) for low, high in pairs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteCounts:
    """What the theory reads of a site, under another rule; one row a quarter of the samples."""

    site: Site
    rule: Rule
    samples: np.ndarray  # int64 [Q]
    positions: np.ndarray  # int64 [Q]
    samples_active: np.ndarray  # int64 [Q, N]
    positions_active: np.ndarray  # int64 [Q, N]
    first: None = None  # histograms know no order

    @property
    def units(self) -> int:
        """N."""
        return self.site.units

    @property
    def rate(self) -> np.ndarray:
        """Positions active / positions, float64 [N], 0 to 1."""
        return self.positions_active.sum(0) / max(1, int(self.positions.sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rethresholded:
    """The counts of a profile under other thresholds; `actprune.fit` takes it as a profile.

    The same counts as a direct profile's; with 4 groups of samples instead of 32 the jackknife's
    standard errors are less certain (about 40 % of themselves, 1 / sqrt(2 (4 - 1))), and without
    first firing ids there is no leave-one-out certificate.
    """

    sites: tuple[SiteCounts, ...]


def at_threshold(
    profile: Profile, threshold: float | Mapping[str, float]
) -> tuple[ThresholdCounts, ...]:
    """Count, at each site, how often |a| > threshold, whatever the profile's own rule.

    Args:
        profile: taken with histograms.
        threshold: one for all sites, or that of each site to be counted; in the activations' units.

    Raises:
        ActpruneError: if the profile has no histograms or no such site, or a threshold is not a
            number.
    """
    if not isinstance(threshold, Mapping):
        threshold = {s.site.name: threshold for s in profile.sites}
    unknown = threshold.keys() - {s.site.name for s in profile.sites}
    if unknown:
        raise ActpruneError(f"The profile has no site {min(unknown)!r} to set a threshold for.")
    return tuple(
        _counts(s, threshold[s.site.name]) for s in profile.sites if s.site.name in threshold
    )


def rethresholded(profile: Profile, threshold: float | Mapping[str, float]) -> Rethresholded:
    """The counts under another threshold, where the histograms know them exactly.

    Args and errors as of `at_threshold`.

    Raises:
        ActpruneError: also if a count is only bracketed; the message names exact thresholds.
    """
    found = []
    for counts in at_threshold(profile, threshold):
        if not counts.exact:
            below, above = _neighbours(counts.threshold)
            raise ActpruneError(
                f"Site {counts.site.name!r}: the counts above {counts.threshold:g} are known only "
                f"within bounds (see at_threshold); take the exact threshold {below!r} or "
                f"{above!r}."
            )
        found.append(
            SiteCounts(
                site=counts.site,
                rule=Rule(kind="magnitude", threshold=counts.threshold),
                samples=counts.samples,
                positions=counts.positions,
                samples_active=counts.samples_active[0],
                positions_active=counts.positions_active[0],
            )
        )
    return Rethresholded(sites=tuple(found))


def _counts(site: SiteProfile, threshold: float) -> ThresholdCounts:
    if site.histogram_positions is None or site.histogram_samples is None:
        raise ActpruneError(
            f"Site {site.site.name!r}: other thresholds need histograms, and the profile has none; "
            f"profile with --stats histogram."
        )
    samples = _above(site.histogram_samples, threshold)
    positions = _above(site.histogram_positions, threshold)
    return ThresholdCounts(
        site=site.site,
        threshold=threshold,
        samples=site.samples.reshape(QUARTERS, -1).sum(1),
        positions=site.positions.reshape(QUARTERS, -1).sum(1),
        samples_active=samples,
        positions_active=positions,
    )


def _above(histogram_QNH: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """|a| > t is |a| >= the next number, which may be an edge."""
    least = math.nextafter(threshold, math.inf)
    low, high = count_at_least(torch.from_numpy(histogram_QNH), least)
    if threshold == math.inf:
        high = torch.zeros_like(high)
    return low.numpy(), high.numpy()


def _neighbours(threshold: float) -> tuple[float, float]:
    exact = exact_thresholds()
    above = sum(t < threshold for t in exact)
    return exact[max(0, above - 1)], exact[min(above, len(exact) - 1)]
