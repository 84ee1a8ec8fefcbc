"""What a report says in plain English; the page, the model card and the terminal share it."""

from __future__ import annotations

from actprune.exporting.result import ExportOutcome
from actprune.planning.target import METRICS
from actprune.reporting.numbers import estimate, number, percent, scaled, signed, unit_of, whole
from actprune.reporting.schema import Report, ReportTarget
from actprune.verifying.result import Latency, Measured

VERDICTS = {
    "pass": "Pass",
    "outside": "Outside the forecast",
    "fail": "Fail",
}
COMPENSATIONS = {
    "none": "no compensation",
    "mean": "mean into the bias",
    "refit": "refit of the consumers",
    "exact": "exact merges into kept units",
}
COSTS = {
    "units": "units",
    "params": "parameters",
    "macs": "MACs",
    "bytes": "bytes",
    "latency": "dense latency",
}


def verdict(report: Report) -> str:
    """The verdict as a headline."""
    if report.verdict == "outside" and report.predicted.loss_delta is None:
        return "Target met, nothing forecast"
    return VERDICTS[report.verdict]


def goal(target: ReportTarget) -> str:
    """What was asked, in few words: keep 50 % of the MACs."""
    if target.kind == "lossless":
        return "change nothing measurable"
    if target.kind == "lossless=proved":
        return "change nothing, by proof"
    if target.asked is None:
        return target.kind
    if target.kind in COSTS:
        return f"keep {percent(target.asked)} of the {COSTS[target.kind]}"
    if target.kind == "loss":
        return f"change the loss by at most {target.asked:+g}"
    if target.kind in METRICS:
        return f"let the {target.kind} fall by at most {100 * target.asked:g} points"
    return f"{target.kind} {target.asked:+g}"


def reached(target: ReportTarget) -> str:
    """What the cut reaches, in the target's own unit."""
    if target.reached is None:
        return "no amount"
    if target.kind in METRICS:
        return f"{100 * target.reached:+.2f} points"
    return percent(target.reached) if target.kind in COSTS else signed(target.reached)


def reached_reason(target: ReportTarget) -> str | None:
    """Why `reached` is not a number."""
    if target.reached is not None:
        return None
    if target.kind.startswith("lossless"):
        return "lossless is met or missed"
    return "this quantity was not measured"


def with_unit(value: str, report: Report) -> str:
    return f"{value} {unit_of(report.loss_kind)}".strip()


def forecast(report: Report) -> str:
    """The plan's own forecast on one line: +0.021 nats [+0.014, +0.030], 90 %."""
    p = report.predicted
    if p.loss_delta is None or p.low is None or p.high is None:
        return f"none: {p.reason or 'no reason was recorded'}"
    point, interval = estimate(p.loss_delta, p.low, p.high)
    return f"{with_unit(point, report)} {interval}, {percent(p.level)}"


def tried(report: Report) -> str:
    """How the forecast was made, behind its name; nothing where it is not known or not there."""
    return {"probed": ", tried on check samples", "local": ", local", None: ""}[
        report.predicted.method
    ]


def local(report: Report) -> str | None:
    """The local forecast beside a probed one on one line, or None."""
    p = report.predicted.local
    if p is None:
        return None
    point, interval = estimate(p.loss_delta, p.low, p.high)
    return f"{with_unit(point, report)} {interval}, {percent(report.predicted.level)}"


def counts_only(report: Report) -> str:
    """The counts-only forecast on one line."""
    c = report.predicted.counts_only
    if c.loss_delta is None or c.low is None or c.high is None:
        return f"none: {c.reason or 'no reason was recorded'}"
    point, interval = estimate(c.loss_delta, c.low, c.high)
    return f"{with_unit(point, report)} {interval}, {percent(report.predicted.level)}"


def measured(report: Report) -> str:
    """The measurement on one line."""
    return _measured(report, report.measured)


def healed(report: Report) -> str:
    """The measurement of the healed model on one line; empty where none was."""
    return "" if report.recovery is None else _measured(report, report.recovery.measured)


def _measured(report: Report, m: Measured) -> str:
    point, interval = estimate(m.loss_delta, m.low, m.high)
    samples = f"{whole(m.samples)} held-out samples"
    return f"{with_unit(point, report)} {interval}, {percent(m.level)}, {samples}"


def after(report: Report) -> str:
    """What the model after the cut is called: the verdict is of the one before healing."""
    return "after" if report.recovery is None else "before healing"


def loss_name(report: Report) -> str:
    """The kind of loss in words."""
    return report.loss_kind.replace("_", " ").removesuffix(", no labels")


def loss_meaning(report: Report) -> str:
    """What the loss compares with."""
    kind = loss_name(report)
    if report.labelled:
        return f"The loss is {kind}, against the labels of the data."
    return (
        f"The data have no labels: the loss is {kind}, which compares the pruned "
        f"model's outputs with the dense model's. It says how much the model changed, not how "
        f"often it is right."
    )


def removed(report: Report) -> int:
    """Units removed, over all sites."""
    return sum(len(s.removed) for s in report.sites)


def removed_free(report: Report) -> int:
    """Removed units that fired on no calibration sample."""
    return sum(s.rates[u] == 0 for s in report.sites for u in s.removed if u < len(s.rates))


def exact(report: Report) -> str | None:
    """What a lossless cut removed and what that does, proof and certificate apart, on one line."""
    e = report.exact
    if e is None:
        return None
    proof = f"{whole(e.proved)} units proved never active on {e.box}"
    if e.merged:
        proof += f", {whole(e.merged)} merged into others"
    if e.proved + e.merged:
        limit = "not bounded" if e.allowed is None else number(e.allowed, 2)
        proof += (
            f": largest output difference {number(e.largest_difference, 2)} on "
            f"{whole(e.inputs_in_box)} held-out inputs (rounding allows {limit})"
        )
    if not e.certified:
        return proof
    return (
        f"{proof}; {whole(e.certified)} only never moved on "
        f"{whole(report.data.calibration_samples)} calibration samples: "
        f"{percent(e.inputs_changed)} of held-out inputs change their output, at most "
        f"{percent(e.bound, up=True)} of new inputs affected ({percent(e.level)})"
    )


def certificate(report: Report) -> tuple[str, ...]:
    """The certificate in sentences."""
    c = report.certificate
    if c.units == 0 and removed(report):
        return ("Every removed unit was proved silent or merged: there is nothing to certify.",)
    if c.units == 0:
        return ("No unit was removed, so there is nothing to certify.",)
    if report.exact is not None:
        what = "All of them never moved off one value on the calibration data."
    else:
        what = f"{_of_them(removed_free(report), c.units)} never fired on the calibration data."
    plural = "s" if c.units != 1 else ""
    lines = [
        f"{whole(c.units)} unit{plural} went, chosen before the held-out data were read. "
        f"{what} "
        f'"Never fired on the calibration data" is not "can never fire".',
        f"On the held-out data, {percent(c.inputs_affected)} of the inputs made at least one "
        f"removed unit fire (or move off its constant). With {percent(c.level)} confidence, "
        f"that is true of at most {percent(c.upper, up=True)} of future inputs.",
        "The bound holds for inputs drawn like the held-out ones, without any drift, and for one "
        "plan fixed in advance.",
    ]
    if c.inputs_affected > 0.5:
        lines.append(
            "The cut touches most inputs, so it is not lossless; what it costs is the measured "
            "loss change, not this share."
        )
    return tuple(lines)


def _of_them(some: int, all_of: int) -> str:
    if some == 0:
        return "None of them"
    if some == all_of:
        return "All of them" if all_of != 1 else "It"
    return f"{whole(some)} of them ({percent(some / all_of)})"


def compensation(report: Report) -> str:
    """How the consumers made up for what went."""
    c = report.compensation
    if c.kind != "refit":
        return COMPENSATIONS[c.kind]
    order = "sequential" if c.sequential else "independent"
    ridge = "ridge chosen on data" if c.ridge is None else f"ridge {number(c.ridge)}"
    return f"{COMPENSATIONS[c.kind]} ({order}, {ridge}; convolutions per {c.granularity})"


def how(report: Report) -> str:
    """Selection, allocation and compensation on one line."""
    selection = f"criterion {report.criterion}, {report.allocate} allocation"
    return f"{selection}, {COMPENSATIONS[report.compensation.kind]}"


def speed(latency: Latency) -> str:
    """The paired ratio of the two models: 1.63x the speed [p20 1.55, p80 1.70]."""
    quantiles = f"[p20 {latency.ratio_p20:.2f}, p80 {latency.ratio_p80:.2f}]"
    return f"{latency.ratio:.2f}x the speed {quantiles}"


def timing(report: Report) -> str:
    """How latency was measured, without a full stop."""
    plural = "" if report.latency_threads == 1 else "s"
    text = (
        f"latency is the median of one batch of {whole(report.latency_batch)} on {report.device} "
        f"with {whole(report.latency_threads)} thread{plural}"
    )
    if report.latency is None:
        return text
    layout = report.latency.layout.replace("_", " ")
    return (
        f"{text}, over {report.latency.rounds} rounds of both models in turn ({layout} memory); "
        f"its change is the median of the rounds' own ratios, dense by pruned"
    )


def export(outcome: ExportOutcome) -> str:
    """What became of an export, on one line."""
    if outcome.file is None or outcome.difference is None or outcome.limit is None:
        return f"{outcome.kind} failed: {outcome.reason or 'no reason was recorded'}"
    opset = "" if outcome.opset is None else f", opset {outcome.opset}"
    return (
        f"{outcome.file}, {scaled(outcome.bytes or 0, 'B')}{opset}; {outcome.checked_with} differs "
        f"from torch by at most {number(outcome.difference, 2)} on "
        f"{whole(outcome.samples or 0)} samples (limit {number(outcome.limit, 2)})"
    )


def size(report: Report) -> str:
    """Parameters before and after, with the share kept."""
    before, after = report.before.params, report.after.params
    kept = f" ({percent(after / before)})" if before else ""
    return f"{scaled(before)} to {scaled(after)} parameters{kept}"
