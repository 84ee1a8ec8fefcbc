"""From a profile to its theory: every estimator of this folder, site by site."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from actprune.theory._blocks import filled_blocks
from actprune.theory.choosing import choose
from actprune.theory.count_fit import FAMILIES
from actprune.theory.liveness import (
    block_certificate,
    chao2,
    classify,
    good_turing,
    judge_enough,
    leave_one_out_certificate,
)
from actprune.theory.lorenz import lorenz_curve
from actprune.theory.rarefaction import log_grid, rarefy
from actprune.theory.resampling import Estimate, delete_block_stderr, jackknife
from actprune.theory.site_theory import GrowthCurve, SiteTheory, Theory
from actprune.theory.verdict import describe_fit, site_verdict

_NO_SAMPLES = "no sample reached this site"
_NO_CONFIDENCE = "no confidence attaches to it; see `split`"
_NO_FIRST = "first firing ids are unknown after subtract; see `split`"
_FRACTIONS = np.linspace(0.0, 1.0, 51)  # of the units, where the Lorenz curve is kept


class SiteLike(Protocol):
    """What a site is called."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...


class SiteProfileLike(Protocol):
    """Counts of one site: int64, B blocks of samples, N units."""

    @property
    def site(self) -> SiteLike: ...
    @property
    def units(self) -> int: ...
    @property
    def samples(self) -> NDArray[np.int64]: ...  # (B,)
    @property
    def positions(self) -> NDArray[np.int64]: ...  # (B,)
    @property
    def samples_active(self) -> NDArray[np.int64]: ...  # (B, N)
    @property
    def positions_active(self) -> NDArray[np.int64]: ...  # (B, N)
    @property
    def first(self) -> NDArray[np.int64] | None: ...  # (N,), first firing sample or -1, if known


class ProfileLike(Protocol):
    """A profile, as far as the theory reads it."""

    @property
    def sites(self) -> Sequence[SiteProfileLike]: ...


def fit(profile: ProfileLike) -> Theory:
    """The theory of every site of a profile; see `fit_site`."""
    return Theory(sites=tuple(fit_site(site) for site in profile.sites))


def fit_site(profile: SiteProfileLike) -> SiteTheory:
    """Liveness, law of the counts, growth curve and concentration of one site's units.

    Standard errors are the grouped jackknife over the profile's blocks of samples; the
    leave-one-out certificate has none, its confidence bound is `split`.

    Raises:
        ActpruneError: if the profile's arrays contradict each other.
    """
    active, samples = filled_blocks(profile.samples_active, profile.samples)
    counts, D = active.sum(0), int(samples.sum())
    if D == 0:
        return _unseen(profile)
    classes = classify(counts, D)
    free, always_on = int(classes.free.sum()), int(classes.always_on.sum())
    alive, turing = jackknife(chao2, active, samples), jackknife(good_turing, active, samples)
    first = profile.first
    certificate = None if first is None else leave_one_out_certificate(counts, first, D)
    split = block_certificate(active, samples)
    enough = judge_enough(
        free=free, D=D, good_turing=good_turing(counts, D), certificate=certificate
    )
    choice = choose(active, samples)
    urn, M = choice.fits["urn"], choice.fits["urn"].M
    grid = log_grid(D)
    curve = rarefy(active, samples, grid)
    lorenz = lorenz_curve(profile.positions_active.sum(0), _FRACTIONS)
    verdict = site_verdict(
        units=profile.units,
        free=free,
        always_on=always_on,
        alive=alive,
        enough=enough,
        split=split,
    )
    below_one = "below one sample: says nothing here" if M is not None and M < 1 else None
    return SiteTheory(
        name=profile.site.name,
        kind=profile.site.kind,
        units=profile.units,
        samples=D,
        free=free,
        working=profile.units - free,
        always_on=always_on,
        working_units=jackknife(lambda k, _: float(np.count_nonzero(k)), active, samples),
        rate=_rate(profile),
        units_per_sample=jackknife(lambda k, d: float(k.sum() / d), active, samples),
        singletons=jackknife(lambda k, _: float(np.count_nonzero(k == 1)), active, samples),
        doubletons=jackknife(lambda k, _: float(np.count_nonzero(k == 2)), active, samples),
        good_turing=turing,
        chao2=alive,
        certificate=Estimate(
            value=certificate,
            stderr=None,
            reason=_NO_FIRST if certificate is None else _NO_CONFIDENCE,
        ),
        split=split,
        enough=enough,
        family=choice.family,
        family_reason=choice.reason,
        fits=choice.fits,
        heldout=choice.heldout,
        heldout_reasons=choice.reasons,
        growth=GrowthCurve(
            d=grid,
            observed=curve.working,
            stderr=curve.stderr,
            published=urn.expected_working(grid),
            fitted=choice.fit.expected_working(grid),
            stderr_reason=curve.reason,
        ),
        lorenz=lorenz,
        gini=_concentration(profile, "gini", lorenz.reason),
        effective_units=_concentration(profile, "effective_units", lorenz.reason),
        crossover=M,
        crossover_reason=urn.note if M is None else below_one,
        verdict=f"{verdict} {describe_fit(choice.fit)}",
    )


def _rate(profile: SiteProfileLike) -> Estimate:
    """Positions active / positions over all units, blocks weighted by their positions."""
    active, positions = filled_blocks(profile.positions_active, profile.positions)
    return jackknife(lambda k, d: float(k.sum() / (d * k.size)), active, positions)


def _concentration(profile: SiteProfileLike, what: str, reason: str | None) -> Estimate:
    """Gini or effective number of units, with a jackknife over blocks."""
    if reason is not None:
        return Estimate(value=None, stderr=None, reason=reason)
    active, positions = filled_blocks(profile.positions_active, profile.positions)
    value = getattr(lorenz_curve(active.sum(0), []), what)
    if len(positions) < 2:
        short = "a standard error needs two non-empty blocks"
        return Estimate(value=value, stderr=None, reason=short)
    without = [getattr(lorenz_curve(active.sum(0) - block, []), what) for block in active]
    if None in without:
        return Estimate(value=value, stderr=None, reason="all activations lie in a single block")
    error = float(delete_block_stderr(value, without, positions))
    return Estimate(value=value, stderr=error)


def _unseen(profile: SiteProfileLike) -> SiteTheory:
    none = Estimate(value=None, stderr=None, reason=_NO_SAMPLES)
    return SiteTheory(
        name=profile.site.name,
        kind=profile.site.kind,
        units=profile.units,
        samples=0,
        free=profile.units,
        working=0,
        always_on=0,
        working_units=none,
        rate=none,
        units_per_sample=none,
        singletons=none,
        doubletons=none,
        good_turing=none,
        chao2=none,
        certificate=none,
        split=None,
        enough=None,
        family=None,
        family_reason=_NO_SAMPLES,
        fits={},
        heldout=dict.fromkeys(FAMILIES),
        heldout_reasons=dict.fromkeys(FAMILIES, _NO_SAMPLES),
        growth=None,
        lorenz=None,
        gini=none,
        effective_units=none,
        crossover=None,
        crossover_reason=_NO_SAMPLES,
        verdict="No sample reached this site: nothing can be said about its units.",
        reason=_NO_SAMPLES,
    )
