"""The tables of a report as rows of text, for the page, the model card and the terminal alike."""

from __future__ import annotations

from dataclasses import dataclass

from actprune.reporting import words
from actprune.reporting.numbers import (
    change_percent,
    metric,
    metric_change,
    number,
    scaled,
    signed,
)
from actprune.reporting.schema import Report
from actprune.verifying.result import Baseline, Side, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One quantity of both models."""

    name: str
    before: str
    after: str
    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of making the same cut, with what it costs."""

    criterion: str
    compensate: str
    loss: str
    change: str  # against the dense model
    metrics: tuple[str, ...]  # in the order of `metric_names`
    ours: bool  # the cut that was made


def before_after(report: Report) -> tuple[Row, ...]:
    """Loss, metrics and costs of the dense and the pruned model."""
    a, b = report.before, report.after
    rows = [Row(name="loss", before=number(a.loss, 4), after=number(b.loss, 4),
                change=signed(b.loss - a.loss))]  # fmt: skip
    for name in metric_names(report):
        if name in a.metrics and name in b.metrics:
            x, y = a.metrics[name], b.metrics[name]
            rows.append(Row(name=name, before=metric(name, x), after=metric(name, y),
                            change=metric_change(name, x, y)))  # fmt: skip
    for name, x, y, unit in (
        ("parameters", a.params, b.params, ""),
        ("MACs", a.macs, b.macs, ""),
        ("bytes", a.bytes, b.bytes, "B"),
    ):
        rows.append(Row(name=name, before=scaled(x, unit), after=scaled(y, unit),
                        change=change_percent(x, y) or "none"))  # fmt: skip
    rows.append(_latency(report))
    return tuple(rows)


def metric_names(report: Report) -> tuple[str, ...]:
    """Every metric that either model or a baseline has, in order of appearance."""
    sides = (report.before, report.after, *report.baselines)
    return tuple(dict.fromkeys(name for side in sides for name in side.metrics))


def ways(report: Report) -> tuple[Way, ...]:
    """The cut that was made, then the baselines: the same kept counts, chosen otherwise."""
    names = metric_names(report)
    made = (report.criterion, report.compensation.kind, report.after, True)
    others = ((b.criterion, b.compensate, b, False) for b in report.baselines)
    return tuple(
        Way(
            criterion=criterion,
            compensate=compensate,
            loss=number(side.loss, 4),
            change=signed(side.loss - report.before.loss),
            metrics=_metrics(side, names),
            ours=ours,
        )
        for criterion, compensate, side, ours in (made, *others)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The model at one point of the way back from the cut."""

    name: str
    loss: str
    change: str  # against the dense model
    metrics: tuple[str, ...]  # in the order of `metric_names`
    share: str  # of what the bare cut lost, won back by this step


def way_back(report: Report) -> tuple[Step, ...]:
    """Dense, cut, compensated, healed; nothing where the model was not healed."""
    r = report.recovery
    if r is None:
        return ()
    stages = [("dense", report.before, ""), ("cut, no compensation", r.none, "")]
    kind = report.compensation.kind
    if kind != "none":
        name = "after refit" if kind == "refit" else "after mean into bias"
        stages.append((name, r.refit, _won(r.refit.share)))
    stages.append(("after healing", r.heal, _won(r.heal.share)))
    return tuple(
        Step(
            name=name,
            loss=number(side.loss, 4),
            change=signed(side.loss - report.before.loss),
            metrics=_metrics(side, metric_names(report)),
            share=share,
        )
        for name, side, share in stages
    )


def _won(share: float | None) -> str:
    return "none lost" if share is None else f"{100 * share:.1f} %"


def _metrics(side: Side | Baseline | Stage, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(metric(n, side.metrics[n]) if n in side.metrics else "not measured" for n in names)


def compared(report: Report, other: Report) -> tuple[tuple[str, str, str], ...]:
    """Name, this report, the other report: the key numbers of both."""
    ours, theirs = (_keys(r) for r in (report, other))
    names = dict.fromkeys((*ours, *theirs))
    return tuple((n, ours.get(n, "not measured"), theirs.get(n, "not measured")) for n in names)


def _keys(report: Report) -> dict[str, str]:
    c = report.certificate
    keys = {
        "verdict": words.verdict(report),
        "asked": "; ".join(map(words.goal, report.targets)),
        "reached": "; ".join(map(words.reached, report.targets)),
        "forecast": words.forecast(report),
        "measured": words.measured(report),
    }
    if report.recovery is not None:
        keys["healed"] = words.healed(report)
    for row in before_after(report):
        keys[row.name] = f"{row.before} to {row.after}, {row.change}"
    keys["units removed"] = f"{words.removed(report):,}"
    keys["inputs affected"] = (
        f"{words.percent(c.inputs_affected)}, at most {words.percent(c.upper, up=True)}"
        f" at {words.percent(c.level)}"
    )
    keys["made by"] = words.how(report)
    keys["model"] = report.model.spec
    keys["data"] = report.data.spec
    keys["held-out data"] = report.data.heldout
    return keys


def _latency(report: Report) -> Row:
    x, y = report.before.latency_ms, report.after.latency_ms
    change = change_percent(x, y) or "none"
    if report.latency is not None:
        change = words.speed(report.latency)
    elif 0 < y < x:
        change += f" ({x / y:.2f}x the speed)"
    return Row(
        name="latency", before=f"{number(x)} ms", after=f"{number(y)} ms", change=change
    )  # the median of one batch
