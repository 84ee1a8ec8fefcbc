"""Put the results of every stage into one report."""

from __future__ import annotations

from dataclasses import asdict

from actprune.healing.result import Healed
from actprune.healing.settings import HealSettings
from actprune.planning.result import Plan
from actprune.planning.target import TRIED, Target
from actprune.profiling.result import Profile
from actprune.reporting.schema import (
    CountsOnly,
    LocalForecast,
    Predicted,
    Report,
    ReportData,
    ReportHealing,
    ReportModel,
    ReportSite,
    ReportTarget,
    Seconds,
)
from actprune.theory import SiteTheory, Theory
from actprune.theory.power_law import PowerLaw, power_law_of
from actprune.verifying.result import Verdict


def assemble(
    profile: Profile,
    theory: Theory,
    plan: Plan,
    verdict: Verdict,
    *,
    prune_seconds: float,
    healed: Healed | None = None,
    heal: HealSettings | None = None,
) -> Report:
    """The report of one run; `healed` by the settings `heal`, if it was."""
    planned = {p.site.name: p for p in plan.sites}
    sites = []
    for site in theory.sites:
        counts = profile.site(site.name)
        p = planned.get(site.name)
        samples = max(1, int(counts.samples.sum()))
        sites.append(
            _site(
                site,
                kept=len(p.kept) if p else site.units,
                removed=p.removed if p else (),
                rates=tuple(float(x) for x in counts.samples_active.sum(0) / samples),
                rate=float(counts.rate.mean()),
                tail=power_law_of(counts.samples_active.sum(0), int(counts.samples.sum())),
            )
        )
    targets = tuple(
        ReportTarget(
            kind=_kind(t.target),
            asked=t.target.value,
            reached=t.reached,
            met=t.met,
            how=_how(plan, t.target),
        )
        for t in plan.targets
    )
    return with_verdict(
        Report(
            version=_version(),
            model=ReportModel(spec=plan.model.spec, hash=plan.model.hash),
            data=ReportData(
                spec=plan.data.spec,
                heldout=verdict.heldout,
                calibration_samples=plan.data.samples,
                heldout_samples=verdict.heldout_samples,
                seed=plan.data.seed,
            ),
            loss_kind=verdict.loss_kind,
            labelled=verdict.labelled,
            criterion=plan.criterion,
            allocate=plan.allocate,
            compensation=plan.compensation.model_copy(update={"merges": {}}),
            before=verdict.before,
            after=verdict.after,
            baselines=verdict.baselines,
            target=targets[0],
            targets=targets,
            predicted=_predicted(plan),
            measured=verdict.measured,
            healing=_healing(healed, heal or HealSettings()) if healed else None,
            verdict=verdict.outcome,
            verdict_reason=verdict.reason,
            certificate=verdict.certificate,
            exact=verdict.exact,
            sites=tuple(sites),
            refusals=tuple(asdict(r) for r in profile.refusals),
            device=verdict.device,
            latency_batch=verdict.latency_batch,
            latency_threads=verdict.latency_threads,
            latency=verdict.latency,
            seconds=Seconds(
                profile=profile.seconds,
                plan=plan.seconds,
                prune=prune_seconds,
                verify=verdict.seconds,
            ),
        ),
        verdict,
    )


def _kind(target: Target) -> str:
    return str(target) if target.kind == "lossless" else target.kind


def _how(plan: Plan, target: Target) -> str | None:
    if target.kind in TRIED and plan.tried is not None:
        return f"tried {plan.tried}"
    return str(plan.timed) if target.kind == "latency" and plan.timed is not None else None


def with_verdict(report: Report, verdict: Verdict) -> Report:
    """The same report with another measurement."""
    return report.model_copy(
        update={
            "data": report.data.model_copy(
                update={"heldout": verdict.heldout, "heldout_samples": verdict.heldout_samples}
            ),
            "loss_kind": verdict.loss_kind,
            "labelled": verdict.labelled,
            "before": verdict.before,
            "after": verdict.after,
            "measured": verdict.measured,
            "recovery": verdict.recovery,
            "verdict": verdict.outcome,
            "verdict_reason": verdict.reason,
            "certificate": verdict.certificate,
            "exact": verdict.exact,
            "device": verdict.device,
            "latency_batch": verdict.latency_batch,
            "latency_threads": verdict.latency_threads,
            "latency": verdict.latency,
            "seconds": report.seconds.model_copy(update={"verify": verdict.seconds}),
        }
    )


def _healing(healed: Healed, settings: HealSettings) -> ReportHealing:
    return ReportHealing(
        settings=settings,
        steps=healed.steps,
        best_step=healed.best_step,
        stopped=healed.stopped,
        reason=healed.reason,
        seconds=healed.seconds,
        curve=healed.curve,
    )


def _predicted(plan: Plan) -> Predicted:
    f, c, foreseen = plan.forecast, plan.counts_only, plan.local
    counts = CountsOnly(loss_delta=None, low=None, high=None, reason=plan.counts_only_reason)
    if c is not None:
        counts = CountsOnly(loss_delta=c.loss_delta, low=c.low, high=c.high, share=c.share)
    local = None
    if foreseen is not None:
        local = LocalForecast(loss_delta=foreseen.loss_delta, low=foreseen.low, high=foreseen.high)
    return Predicted(
        method=f.method if f else None,
        local=local,
        loss_delta=f.loss_delta if f else None,
        low=f.low if f else None,
        high=f.high if f else None,
        level=f.level if f else 0.9,
        reason=plan.forecast_reason,
        counts_only=counts,
    )


def _site(
    theory: SiteTheory,
    *,
    kept: int,
    removed: tuple[int, ...],
    rates: tuple[float, ...],
    rate: float,
    tail: PowerLaw,
) -> ReportSite:
    fit = theory.fit
    return ReportSite(
        name=theory.name,
        kind=theory.kind,
        units=theory.units,
        kept=kept,
        free=theory.free,
        rate=rate,
        family=theory.family,
        b=fit.b if fit else None,
        M=fit.M if fit else None,
        pi0=fit.pi0 if fit else None,
        pi1=fit.pi1 if fit else None,
        alpha=tail.alpha,
        reason="; ".join(_reasons(theory, tail)) or None,
        rates=rates,
        removed=removed,
        theory=theory.to_dict(),
    )


def _reasons(theory: SiteTheory, tail: PowerLaw) -> list[str]:
    """Why numbers of the site do not exist."""
    why = [] if tail.alpha is not None else [f"alpha: {tail.reason}"]
    if theory.fit is None:
        return [theory.family_reason]
    return why if theory.fit.b is not None else [theory.fit.note, *why]


def _version() -> str:
    from importlib.metadata import version

    return version("actprune")
