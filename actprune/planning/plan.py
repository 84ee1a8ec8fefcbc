"""From a profile and a target to a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from torch import nn

from actprune.data.source import Source
from actprune.errors import ActpruneError
from actprune.exact.box import Box
from actprune.planning.allocate import cut_of
from actprune.planning.criteria import Criterion
from actprune.planning.fast import Clock
from actprune.planning.prepare import Choice, forecaster_of, prepare, refit_parts
from actprune.planning.problem import pose
from actprune.planning.reach import reach
from actprune.planning.result import (
    Allocation,
    CountsForecast,
    DataRef,
    ModelRef,
    Optimality,
    Plan,
    PlannedSite,
    Reached,
)
from actprune.planning.target import Target, parse_target
from actprune.planning.trials import metrics_of
from actprune.profiling.result import Profile, SiteProfile
from actprune.refit.settings import Compensation
from actprune.sites.cut import Cut

Progress = Callable[[str], None]

CHEAP = 2e10  # multiply-adds of a pass over the data: seconds, and so are two compensations
NOT_PROBED = "its two probes cost a compensation each and were not asked for (--probes)"


def plan(
    model: nn.Module,
    profile: Profile,
    target: str | Target | Sequence[str | Target],
    *,
    criterion: str | Criterion = "residual",
    compensation: Compensation | None = None,
    allocate: Allocation = "uniform",
    only: Sequence[str] = (),
    ignore: Sequence[str] = (),
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    least: Mapping[str, int | float | str] | None = None,
    most: Mapping[str, int | float | str] | None = None,
    round_to: int = 1,
    box: str | Box | None = None,
    batches: Source | Iterable[Any] | None = None,
    check: Source | Iterable[Any] | None = None,
    loss: str | None = None,
    level: float = 0.9,
    seed: int | None = None,
    probes: bool | None = None,
    clock: Clock | None = None,
    progress: Progress = lambda stage: None,
) -> Plan:
    """Choose the units to remove so that every target is met, price the cut and forecast it.

    From the profile alone follow the units, the exact costs and the independent compensation;
    with `batches`, the profiled data in the same order, also the patch refit and the forecasts.

    Args:
        model: the dense model that was profiled, in its wrapper or not (see `unwrapped`).
        target: `units=50%`, `params=`, `macs=`, `bytes=`, `latency=` (shares kept), `loss=+0.02`,
            `accuracy=-0.5pt` or `agreement=-0.5pt` (points it may fall), `lossless`,
            `lossless=proved`, or several of them. Losses and metrics are held by the worse end of
            their interval on the select samples.
        criterion: a name in `CRITERIA`, or a function from `Evidence` to `Ranking`.
        allocate: the same share everywhere (uniform), or the least harm over all sites within the
            targets (global): by the output's divergence, measured site by site where `batches`
            are given, else by the criterion's scores.
        only, ignore: patterns of site names (`layer1.*`, or `re:...`).
        keep, drop: `site:unit` that must stay or go.
        least, most: by pattern of site names, how few and how many units stay: a count, or a
            share of the site's units (.25 or `25%`).
        round_to: units are kept in multiples of this.
        box: the inputs that the target lossless proves units silent on: `0:1`, `data` (the
            calibration data's extremes), `npz:FILE` (see `read_box`); None: any input.
        batches: the data that were profiled; their fit and select parts serve ranking and refit,
            their check part the forecast.
        check: samples for the forecast from elsewhere, for instance when `batches` were used to
            train the model; the compensation then uses all of `batches`.
        loss: a name in `LOSSES` or `difference`; None chooses by the data.
        level: of the forecast interval.
        seed: of the bootstrap and of `random`; the profile's when left out.
        probes: also make the counts-only forecast, which costs two more compensations. None: where
            the data times the model's multiply-adds come to at most `CHEAP`.
        clock: times a really cut model, for a latency target; `actprune.plan` brings its own.
        progress: called with the name of each stage or layer done.

    Raises:
        ActpruneError: for a bad argument, another model's profile or other data, or if the model's
            weights are off-loaded or cannot be taken out of what wraps them.
        BudgetError: if a target cannot be reached.
    """
    start = time.perf_counter()
    targets = _targets(target)
    seed = profile.identity.seed if seed is None else seed
    _check(allocate, level)
    lossless = targets[0].kind == "lossless"
    ready = prepare(
        model, profile, criterion=criterion, settings=compensation or Compensation(),
        choice=Choice(
            only=only, ignore=ignore, keep=keep, drop=drop, least=least or {}, most=most or {},
            round_to=round_to,
        ),
        batches=batches, parts=refit_parts(check), seed=seed, progress=progress,
        lossless=lossless, certified=targets[0].word != "proved", box=box,
    )  # fmt: skip
    sites, rooms, settings = ready.sites, ready.rooms, ready.settings
    forecaster = forecaster_of(
        ready, profile, batches, check, loss=loss, level=level, seed=seed, progress=progress
    )
    problem, unit = None, ""
    if allocate == "global" and not lossless:
        problem, unit = pose(
            ready.model, rooms, ready.evidence, ready.fit_on, settings, profile.census,
            seed=profile.identity.seed, progress=progress,
        )  # fmt: skip
    found = reach(targets, rooms, problem, profile.census, settings, forecaster, clock)
    counts, solution = found.counts, found.solution
    cut = cut_of(rooms, counts)
    after = profile.census.cost(sites, cut, adds_bias=settings.adds_bias)
    reached: dict[str, float] = {
        "units": sum(len(cut.keeps(s)) for s in sites) / sum(s.units for s in sites),
        "params": after.params / profile.census.params,
        "macs": after.macs / profile.census.macs,
        "bytes": after.bytes / profile.census.bytes,
    }
    tried = forecaster.probed(cut, metrics_of(targets)) if forecaster else None
    if tried is not None:
        reached["loss"] = tried.forecast.loss_delta
        reached |= {m.name: m.change for m in tried.metrics}
    if found.timed is not None:
        reached["latency"] = found.timed.share
    local = forecaster.local(cut) if forecaster else None  # before the probes' own refits
    fitted = forecaster.weights(cut) if forecaster and cut.kept else None
    if probes is None:
        probes = sum(map(len, ready.fit_on)) * profile.census.macs <= CHEAP
    no_data = "no data were given to plan, only the profile"
    counts_only: CountsForecast | str = no_data
    if forecaster:
        counts_only = forecaster.counts_only(rooms, counts) if probes else NOT_PROBED
    return Plan(
        model=ModelRef(spec=profile.identity.model, hash=profile.identity.model_hash),
        data=_data_ref(profile),
        made_from="profile" if batches is None else "batches",
        refit_parts=tuple(p.name.lower() for p in ready.refit_parts),
        targets=tuple(Reached(target=t, reached=reached.get(t.kind), met=True) for t in targets),
        criterion=criterion if isinstance(criterion, str) else criterion.__name__,
        allocate=allocate,
        optimality=solution and Optimality(harm=solution.harm, bound=solution.bound, unit=unit),
        tried=found.tried,
        timed=found.timed,
        compensation=settings,
        exact=ready.exact,
        sites=tuple(_planned(profile.site(s.name), cut) for s in sites),
        before=profile.census.dense,
        after=after,
        loss=loss,
        loss_kind=forecaster.loss.kind if forecaster else "unknown until data are given",
        forecast=tried and tried.forecast,
        forecast_reason=None if forecaster else no_data,
        local=local,
        counts_only=None if isinstance(counts_only, str) else counts_only,
        counts_only_reason=counts_only if isinstance(counts_only, str) else None,
        seconds=time.perf_counter() - start,
    ).with_weights(fitted)


def _targets(target: str | Target | Sequence[str | Target]) -> tuple[Target, ...]:
    many = [target] if isinstance(target, (str, Target)) else list(target)
    if not many:
        raise ActpruneError("At least one target is needed, for instance macs=50%.")
    targets = tuple(parse_target(t) if isinstance(t, str) else t for t in many)
    if len(targets) > 1 and any(t.kind == "lossless" for t in targets):
        raise ActpruneError("The target lossless stands alone; leave the others out.")
    return targets


def _check(allocate: str, level: float) -> None:
    if allocate not in get_args(Allocation):
        raise ActpruneError(
            f"allocate must be one of {', '.join(get_args(Allocation))}, got {allocate!r}."
        )
    if not 0 < level < 1:
        raise ActpruneError(f"level must lie between 0 and 1, got {level}.")


def _planned(stats: SiteProfile, cut: Cut) -> PlannedSite:
    removed = cut.removes(stats.site)
    if stats.low is None or stats.high is None:
        constants: tuple[float | None, ...] = (None,) * len(removed)
    else:
        value, constant = stats.low, stats.constant
        constants = tuple(float(value[u]) if constant[u] else None for u in removed)
    return PlannedSite(
        site=stats.site,
        rule=stats.rule,
        kept=cut.keeps(stats.site),
        constants=constants,
    )


def _data_ref(profile: Profile) -> DataRef:
    return DataRef(
        spec=profile.identity.data,
        origins=tuple((s.source, s.start, s.stop) for s in profile.shards),
        samples=profile.samples,
        seed=profile.identity.seed,
        heldout=profile.identity.heldout,
    )
