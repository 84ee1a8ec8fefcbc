"""What the theory says of one site, and of a whole model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actprune.theory._plain import plain
from actprune.theory.count_fit import CountFit, Family
from actprune.theory.liveness import BlockCertificate, Enough
from actprune.theory.lorenz import Lorenz
from actprune.theory.resampling import Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class GrowthCurve:
    """K(d) in units on a grid of d samples: observed, published and fitted."""

    d: NDArray[np.int64]  # samples, 1 to D, even in their logarithm
    observed: NDArray[np.float64]  # exact mean over all subsets of d of the D samples
    stderr: NDArray[np.float64] | None  # grouped jackknife
    published: NDArray[np.float64]  # of the "urn" fit
    fitted: NDArray[np.float64]  # exact mean of the chosen family's fit
    stderr_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteTheory:
    """One site's units: which are free, how sure that is, and the law of their counts.

    Where no sample reached the site, what needs one is None and `reason` says so. Of a profile
    with unknown first firing ids `certificate` has no value, but a reason.
    """

    name: str
    kind: str
    units: int  # N
    samples: int  # D; documents where the samples are documents
    free: int  # units that fired on no sample: free on these samples, not proved dead
    working: int  # K = N - free
    always_on: int  # units that fired on every sample
    working_units: Estimate  # K again, with its jackknife standard error
    rate: Estimate  # positions active / positions, mean over units, 0 to 1
    units_per_sample: Estimate  # c, units active on a sample, 0 to N
    singletons: Estimate  # Q_1, units active on exactly one sample
    doubletons: Estimate  # Q_2
    good_turing: Estimate  # Q_1/D, free units expected to fire per further input
    chao2: Estimate  # free units alive, a lower bound in expectation
    certificate: Estimate  # leave-one-out share of inputs that fire a free unit, 0 to 1
    split: BlockCertificate | None  # upper confidence bound on the same
    enough: Enough | None  # are the samples enough to name the free units?
    family: Family | None
    family_reason: str
    fits: dict[Family, CountFit]  # every family on all samples
    heldout: dict[Family, float | None]  # predictive log-likelihood, nats
    heldout_reasons: dict[Family, str]
    growth: GrowthCurve | None
    lorenz: Lorenz | None  # of activations over positions
    gini: Estimate  # 0 to (N - 1)/N
    effective_units: Estimate  # 1 to N
    crossover: float | None  # D* = M = b N / c of the published urn, samples
    crossover_reason: str | None
    verdict: str
    reason: str | None = None

    @property
    def fit(self) -> CountFit | None:
        """The chosen family's fit on all samples."""
        return None if self.family is None else self.fits[self.family]

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON: no NaN, None with a reason where a number does not exist."""
        data = plain(self)
        assert isinstance(data, dict)
        return data


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Theory:
    """The theory of every site of a profile, in the profile's order."""

    sites: tuple[SiteTheory, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON, as `SiteTheory.to_dict`."""
        return {"sites": [site.to_dict() for site in self.sites]}
