"""Everything the theory says of a profile, in one place: for the command, the page and JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actprune.errors import ActpruneError
from actprune.theory._blocks import filled_blocks
from actprune.theory.allowance import Allowed, Probed, allowed_cut
from actprune.theory.calibration_size import TooSmall
from actprune.theory.compressibility import compressibility_verdict
from actprune.theory.count_bootstrap import CountGoodness, count_goodness
from actprune.theory.curves import (
    Ahead,
    RateHistogram,
    TailCurve,
    ahead_curve,
    rate_histogram,
    tail_curve,
)
from actprune.theory.distance import Distance, count_distance
from actprune.theory.power_law import PowerLaw, judge_power_law
from actprune.theory.site_theory import SiteTheory, Theory
from actprune.theory.summary import ProfileLike, SiteProfileLike, fit
from actprune.theory.survey import SiteSurvey, Survey, survey_profile
from actprune.theory.tail_bootstrap import TailGoodness, tail_goodness
from actprune.theory.tail_fit import TailFamily

# the tails whose fit decides about a power law
_TESTED: tuple[TailFamily, ...] = ("power law", "truncated power law")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare arrays
class SiteAccount:
    """One site; everything but its theory and survey is None where no sample reached it."""

    theory: SiteTheory
    survey: SiteSurvey
    distance: Distance | None  # of the chosen law; bounds its p without a bootstrap
    goodness: CountGoodness | None  # by bootstrap, where it was asked for
    goodness_reason: str | None
    tail_goodness: Mapping[TailFamily, TailGoodness]
    power_law: PowerLaw | None
    ahead: Ahead | None
    tail: TailCurve | None
    rates: RateHistogram | None
    certified: bool | None  # whether the split bound is at most the tolerance; None: nothing free
    allowed: int | None  # units that may go at the loss asked about
    allowed_reason: str | None
    verdict: str

    @property
    def name(self) -> str:
        """The site's."""
        return self.theory.name

    @property
    def fits(self) -> bool | None:
        """False where the chosen law is rejected at 5 %, True where a bootstrap does not reject it;
        None where only a bootstrap could tell."""
        if self.goodness is not None:
            return self.goodness.p >= 0.05
        return False if self.distance is not None and self.distance.rejected() else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Account:
    """All sites of a profile, and the model they make."""

    sites: tuple[SiteAccount, ...]
    theory: Theory
    survey: Survey
    times: int  # D'/D
    tolerance: float  # share of inputs one is ready to touch
    allowed: Allowed | None
    allowed_reason: str | None
    verdict: str  # of the whole model

    @property
    def free(self) -> int:
        """Free units of all sites."""
        return sum(s.theory.free for s in self.sites)

    @property
    def units(self) -> int:
        """Units of all sites."""
        return sum(s.theory.units for s in self.sites)


def account_of(
    profile: ProfileLike,
    *,
    times: int = 4,
    tolerance: float = 0.01,
    goodness: int = 0,
    probed: Probed | str = "no plan was given, and the counts alone know no loss",
    loss: float = 0.01,
    progress: Callable[[str], None] = lambda site: None,
) -> Account:
    """Fit, survey and judge every site of a profile.

    Args:
        profile: what was counted.
        times: D'/D, whole, >= 1: how far to look ahead.
        tolerance: share of inputs one is ready to touch, 0 to 1.
        goodness: replicates of the bootstraps of goodness of fit; 0: none, only what bounds p.
        probed: the counts-only law of the loss from a plan's probes, or why there is none.
        loss: change of the loss to ask that law about, > 0, in its own unit.
        progress: called with the name of each site before its bootstraps.

    Raises:
        ActpruneError: if an argument is out of range, or the counts contradict each other.
    """
    if goodness < 0:
        raise ActpruneError(f"A bootstrap needs a number of replicates >= 0, got {goodness}.")
    theory = fit(profile)
    survey = survey_profile(profile, theory, times=times, tolerance=tolerance)
    counts = [np.asarray(s.samples_active).sum(0) for s in profile.sites]
    allowed, why = None, probed if isinstance(probed, str) else None
    if isinstance(probed, Probed) and theory.sites:
        try:
            allowed = allowed_cut(
                [(s.name, k, s.samples, s.fit) for s, k in zip(theory.sites, counts, strict=True)],
                probed,
                loss,
            )
        except ActpruneError as e:
            why = str(e)
    sites = []
    for raw, found, beyond in zip(profile.sites, theory.sites, survey.sites, strict=True):
        if goodness:
            progress(found.name)
        sites.append(_site(raw, found, beyond, times, tolerance, goodness, allowed, why))
    return Account(
        sites=tuple(sites),
        theory=theory,
        survey=survey,
        times=times,
        tolerance=tolerance,
        allowed=allowed,
        allowed_reason=why,
        verdict=_model_verdict(sites, allowed),
    )


def _site(
    raw: SiteProfileLike,
    theory: SiteTheory,
    survey: SiteSurvey,
    times: int,
    tolerance: float,
    replicates: int,
    allowed: Allowed | None,
    why: str | None,
) -> SiteAccount:
    cut = None if allowed is None else allowed.units[theory.name]
    law = theory.fit
    if law is None:
        return SiteAccount(
            theory=theory,
            survey=survey,
            distance=None,
            goodness=None,
            goodness_reason=survey.reason,
            tail_goodness={},
            power_law=None,
            ahead=None,
            tail=None,
            rates=None,
            certified=None,
            allowed=cut,
            allowed_reason=why,
            verdict=survey.verdict,
        )
    active, samples = filled_blocks(raw.samples_active, raw.samples)
    counts, D = active.sum(0), int(samples.sum())
    exact = theory.fits["inflated"] if law.family == "urn" else law
    distance = count_distance(counts, D, law)
    made, tails = _bootstraps(counts, D, theory, survey, replicates)
    certified = None
    if theory.free:
        upper = theory.split.upper if theory.split else None
        certified = upper is not None and upper <= tolerance
    power = judge_power_law(survey.tails, survey.tail_tests, tails)
    return SiteAccount(
        theory=theory,
        survey=survey,
        distance=distance,
        goodness=made,
        goodness_reason=None if made else "no bootstrap was asked for",
        tail_goodness=tails,
        power_law=power,
        ahead=ahead_curve(counts, D, times, exact),
        tail=tail_curve(counts, D, survey.tails),
        rates=rate_histogram(counts, D, law),
        certified=certified,
        allowed=cut,
        allowed_reason=why,
        verdict=_verdict(theory, survey.warning, certified, cut, allowed, distance, made),
    )


def _bootstraps(
    counts: NDArray[np.int64], D: int, theory: SiteTheory, survey: SiteSurvey, replicates: int
) -> tuple[CountGoodness | None, dict[TailFamily, TailGoodness]]:
    if not replicates or theory.fit is None:
        return None, {}
    law = count_goodness(counts, D, theory.fit, replicates=replicates)
    tails: dict[TailFamily, TailGoodness] = {
        family: tail_goodness(counts, survey.tails[family], replicates=replicates)
        for family in _TESTED
    }
    return law, tails


def _verdict(
    theory: SiteTheory,
    warning: TooSmall | None,
    certified: bool | None,
    cut: int | None,
    allowed: Allowed | None,
    distance: Distance,
    made: CountGoodness | None,
) -> str:
    """E.g. "12 % free, certified; 31 % more at +0.01 nats; calibration set too small by 4x for this
    site; no law fits: ..."."""
    more = None if cut is None else max(0, cut - theory.free) / theory.units
    said = compressibility_verdict(
        free=theory.free / theory.units,
        certified=certified,
        more=more,
        cost=None if more is None or allowed is None else allowed.loss,
        times=None if warning is None else warning.times,
        unit="" if allowed is None else allowed.unit,
    )
    if theory.free == theory.units:
        said += "; no unit fired at all: check the firing rule and the data"
    elif theory.always_on == theory.units:
        said += "; every unit fires on every sample: counts say nothing here"
    poor = made.p < 0.05 if made is not None else distance.rejected()
    if poor:
        how = f"p = {made.p:.2g}" if made is not None else f"p at most {distance.p_at_most:.1g}"
        said += f"; no law fits well: {theory.family} is the best, off by {distance.ks:.2g} ({how})"
    return said


def _model_verdict(sites: Sequence[SiteAccount], allowed: Allowed | None) -> str:
    units = sum(s.theory.units for s in sites)
    if not units:
        return "The profile has no site."
    free = sum(s.theory.free for s in sites)
    with_free = [s for s in sites if s.theory.free]
    some = [s for s in with_free if s.certified]
    certified = sum(s.theory.free for s in some)
    said = [f"{free} of {units} units free ({free / units:.1%})"]
    if free:
        said.append(
            f"{certified} of them certified, at {len(some)} of the {len(with_free)} sites with any"
        )
    small = [s for s in sites if s.survey.warning is not None]
    if small:
        worst = max(small, key=lambda s: s.survey.warning.times if s.survey.warning else 0.0)
        assert worst.survey.warning is not None
        said.append(
            f"calibration set too small at {len(small)} of {len(sites)} sites, by up to "
            f"{worst.survey.warning.times:.2g}x ({worst.name})"
        )
    poor = sum(s.fits is False for s in sites)
    if poor:
        said.append(f"no law fits the counts well at {poor} of {len(sites)} sites")
    if allowed is not None:
        gone = sum(allowed.units.values())
        at = f"{allowed.loss:+.2g} {allowed.unit}".rstrip()
        said.append(f"{gone / units:.0%} of the units may go at {at}")
    return "; ".join(said)
