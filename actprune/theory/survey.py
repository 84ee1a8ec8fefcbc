"""Beyond the fit: what a profile's counts forecast, how heavy their tails are, what they allow.

`summary.fit` names the law of each site; this adds everything that builds on it. No bootstrap:
`tail_goodness` and `count_goodness` are for the asking.
"""

from dataclasses import dataclass

from actprune.errors import ActpruneError
from actprune.theory._blocks import filled_blocks
from actprune.theory._plain import plain
from actprune.theory.calibration_size import TooSmall, calibration_warning
from actprune.theory.certifying import MoreSamples, samples_to_bound_rates, samples_to_certify
from actprune.theory.compressibility import (
    Compressibility,
    compressibility_verdict,
    model_compressibility,
    site_compressibility,
)
from actprune.theory.count_fit import PARAMETERS
from actprune.theory.coverage import chao_jost_coverage, good_coverage
from actprune.theory.extrapolate import extrapolate_working
from actprune.theory.extrapolation import Extrapolation, Method
from actprune.theory.good_toulmin import linear_bound
from actprune.theory.interval import Interval
from actprune.theory.likelihood_interval import profile_interval
from actprune.theory.power_law import all_tests
from actprune.theory.resampling import Estimate, jackknife
from actprune.theory.site_theory import SiteTheory, Theory
from actprune.theory.summary import ProfileLike, SiteProfileLike
from actprune.theory.tail_alpha import AlphaBesideB, alpha_beside_b
from actprune.theory.tail_compare import TailComparison
from actprune.theory.tail_fit import TAIL_FAMILIES, TailFamily, TailFit
from actprune.theory.tails import fit_tail


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class SiteSurvey:
    """One site beyond its fit; everything but the name is None where no sample reached it."""

    name: str
    coverage: Estimate  # Good's, share of firings owed to units seen, jackknife error
    coverage_chao_jost: float | None
    warning: TooSmall | None  # None: the calibration set suffices, or nothing is free
    to_certify: MoreSamples | None  # fresh inputs until free units are certified together
    to_bound_rates: MoreSamples | None  # until each is bounded, had they been named before
    intervals: dict[str, Interval]  # profile-likelihood, of the chosen law's parameters
    ahead: dict[Method, Extrapolation]  # K(D'), by every method
    ahead_bound: float | None  # K(D') is below this at 95 %, whatever the rates
    tails: dict[TailFamily, TailFit]  # counts from 1 to D
    tail_tests: tuple[tuple[TailFamily, TailFamily, TailComparison], ...]
    alpha_beside_b: AlphaBesideB | None
    compressibility: Compressibility | None
    verdict: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """All sites of a profile, and the model they make."""

    sites: tuple[SiteSurvey, ...]
    model: Compressibility | None  # over the sites that samples reached, if they share one D
    model_reason: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON: no NaN or infinity."""
        data = plain(self)
        assert isinstance(data, dict)
        return data


def survey_profile(
    profile: ProfileLike, theory: Theory, *, times: int = 4, tolerance: float = 0.01
) -> Survey:
    """`survey_site` of every site, and the model's compressibility.

    Args:
        profile: what was counted.
        theory: its `summary.fit`.
        times: D'/D, whole, >= 1: how far to look ahead.
        tolerance: share of inputs one is ready to touch, 0 to 1.

    Raises:
        ActpruneError: if the theory is of another profile or an argument is out of range.
    """
    if len(profile.sites) != len(theory.sites):
        raise ActpruneError(
            f"The theory has {len(theory.sites)} sites, the profile {len(profile.sites)}: "
            "survey a profile with its own theory."
        )
    sites = tuple(
        survey_site(site, found, times=times, tolerance=tolerance)
        for site, found in zip(profile.sites, theory.sites, strict=True)
    )
    known = [s.compressibility for s in sites if s.compressibility is not None]
    if not known:
        return Survey(sites=sites, model=None, model_reason="no sample reached any site")
    if len({s.D for s in known}) > 1:
        return Survey(
            sites=sites, model=None, model_reason="sites saw different numbers of samples"
        )
    return Survey(sites=sites, model=model_compressibility(known))


def survey_site(
    profile: SiteProfileLike, theory: SiteTheory, *, times: int = 4, tolerance: float = 0.01
) -> SiteSurvey:
    """All that builds on one site's fitted law; arguments as in `survey_profile`."""
    if times < 1 or not 0 < tolerance < 1:
        raise ActpruneError(
            f"A survey needs times >= 1 and 0 < tolerance < 1, got {times=}, {tolerance=}."
        )
    if theory.fit is None:
        return _unseen(theory)
    active, samples = filled_blocks(profile.samples_active, profile.samples)
    counts, D = active.sum(0), int(samples.sum())
    fit = theory.fit
    exact = theory.fits["inflated"] if fit.family == "urn" else fit
    warning = calibration_warning(counts, D, tolerance=tolerance, fit=fit)
    tails: dict[TailFamily, TailFit] = {
        family: fit_tail(counts, D, family) for family in TAIL_FAMILIES
    }
    found = site_compressibility(fit, D_new=times * D)
    split = theory.split
    certified = split is not None and split.upper is not None and split.upper <= tolerance
    return SiteSurvey(
        name=theory.name,
        coverage=jackknife(good_coverage, active, samples),
        coverage_chao_jost=chao_jost_coverage(counts, D),
        warning=warning,
        to_certify=samples_to_certify(share=tolerance, expected=theory.certificate.value or 0.0),
        to_bound_rates=samples_to_bound_rates(m=max(1, theory.free), rate=tolerance),
        intervals={name: profile_interval(counts, D, fit, name) for name in PARAMETERS},
        ahead=extrapolate_working(counts, D, times * D, exact),
        ahead_bound=linear_bound(counts, D, times * D),
        tails=tails,
        tail_tests=all_tests(counts, tails),
        alpha_beside_b=alpha_beside_b(tails["truncated power law"], fit),
        compressibility=found,
        verdict=compressibility_verdict(
            free=theory.free / theory.units,
            certified=certified if theory.free else None,
            times=None if warning is None else warning.times,
        ),
    )


def _unseen(theory: SiteTheory) -> SiteSurvey:
    reason = theory.reason or "no sample reached this site"
    return SiteSurvey(
        name=theory.name,
        coverage=Estimate(value=None, stderr=None, reason=reason),
        coverage_chao_jost=None,
        warning=None,
        to_certify=None,
        to_bound_rates=None,
        intervals={},
        ahead={},
        ahead_bound=None,
        tails={},
        tail_tests=(),
        alpha_beside_b=None,
        compressibility=None,
        verdict="No sample reached this site: nothing can be said about its units.",
        reason=reason,
    )
