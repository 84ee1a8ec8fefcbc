"""Pass, outside or fail."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from typing import Literal

from actprune.planning.result import MetricChange, Plan
from actprune.verifying.result import Exactness, Measured

ROUNDING = 1e-6  # of the dense loss (at least 1): what float32 arithmetic alone may change

Outcome = Literal["pass", "outside", "fail"]


def judge(
    plan: Plan,
    measured: Measured,
    dense_loss: float,
    loss_kind: str,
    exact: Exactness | None = None,
    metrics: Mapping[str, MetricChange] | None = None,
) -> tuple[Outcome, str]:
    """The verdict and its reason in words; `loss_kind` is what was measured.

    A loss or metric target is missed where the measured interval lies wholly beyond it (`metrics`:
    the measured changes by name). A latency target was measured at planning and is not judged
    again, since timings vary with what else a machine does: both times stand in the report.

    The forecast interval covers the population's change; before the measurement is held against
    it, each side is widened in quadrature by the measurement's own half-width (ours).
    """
    missed = [str(t.target) for t in plan.targets if not t.met]
    if missed:
        return "fail", f"target {', '.join(missed)} not met"
    if not plan.removed:
        return "pass", "nothing to remove: the model is as it was"
    if exact is not None and exact.beyond:
        return "fail", (
            f"the proved part of the cut changes the output of {exact.beyond} held-out inputs by "
            f"more than rounding can (up to {exact.largest_difference:.2g})"
        )
    f = plan.forecast
    if f is None:
        return (
            "outside",
            f"targets met; no forecast to hold the measurement against ({plan.forecast_reason})",
        )
    if plan.loss_kind != loss_kind:
        return "outside", (
            f"targets met; the forecast is of {plan.loss_kind} and cannot be held against the "
            f"measured {loss_kind}"
        )
    for reached in plan.targets:
        asked = reached.target.value
        if reached.target.kind == "loss" and asked is not None and measured.low > asked:
            return "fail", f"target {reached.target} missed: measured {measured.loss_delta:+.4f}"
        fall = (metrics or {}).get(reached.target.kind)
        if fall is not None and asked is not None and fall.high < -asked:
            return "fail", f"target {reached.target} missed: measured {fall}"
    slack = ROUNDING * max(1.0, abs(dense_loss))
    low = f.loss_delta - hypot(f.loss_delta - f.low, measured.high - measured.loss_delta) - slack
    high = f.loss_delta + hypot(f.high - f.loss_delta, measured.loss_delta - measured.low) + slack
    if low <= measured.loss_delta <= high:
        return "pass", (
            f"target met, and the measured change {measured.loss_delta:+.4f} lies in the forecast "
            f"interval widened by the measurement's error, [{low:+.4f}, {high:+.4f}]"
        )
    if measured.loss_delta < low:
        return "outside", (
            f"target met, and the measured change {measured.loss_delta:+.4f} is better than "
            f"forecast, {f.loss_delta:+.4f}"
        )
    if measured.low <= f.high + slack:
        return "outside", (
            f"target met; the measured change {measured.loss_delta:+.4f} is worse than forecast, "
            f"{f.loss_delta:+.4f}, but the two intervals overlap"
        )
    return "fail", (
        f"target met, but the measured change {measured.loss_delta:+.4f} "
        f"[{measured.low:+.4f}, {measured.high:+.4f}] is worse than forecast, {f}"
    )
