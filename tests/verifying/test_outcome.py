"""The verdict's rules, one by one."""

from __future__ import annotations

from functools import cache
from math import hypot

import pytest
import torch
from torch import nn

from actprune.planning.plan import plan
from actprune.planning.result import Forecast, Plan
from actprune.planning.target import Target
from actprune.profiling.collect import profile
from actprune.refit.settings import Compensation
from actprune.verifying.outcome import judge
from actprune.verifying.result import Measured

KIND = "cross_entropy (nats)"


@cache
def base(target: str = "units=50%") -> Plan:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).eval()
    none = Compensation(kind="none")
    return plan(model, profile(model, [torch.randn(9, 3)]), target, criterion="rare",
                compensation=none)  # fmt: skip


def planned(delta: float = 0.10, low: float = 0.06, high: float = 0.18) -> Plan:
    """Forecast .10 [.06, .18]."""
    forecast = Forecast(loss_delta=delta, low=low, high=high, level=0.9, samples=100)
    return base().model_copy(update={"forecast": forecast, "loss_kind": KIND})


def measured(delta: float, low: float, high: float) -> Measured:
    return Measured(loss_delta=delta, low=low, high=high, level=0.9, samples=50)


def outcome(made: Plan, found: Measured, dense_loss: float = 0.3, kind: str = KIND) -> str:
    return judge(made, found, dense_loss, kind)[0]


@pytest.mark.parametrize("delta", [0.06, 0.10, 0.18])
def test_inside_the_forecast_passes(delta: float) -> None:
    assert outcome(planned(), measured(delta, delta - 0.001, delta + 0.001)) == "pass"


def test_each_side_is_widened_by_the_measurements_error_towards_it() -> None:
    # above: sqrt(.08^2 + .06^2) = .1 from .10; the measurement's own lower half counts
    assert outcome(planned(), measured(0.199, 0.199 - 0.06, 0.9)) == "pass"
    assert outcome(planned(), measured(0.201, 0.201 - 0.06, 0.9)) == "outside"
    # below: sqrt(.04^2 + .03^2) = .05; the upper half counts
    assert outcome(planned(), measured(0.051, -0.9, 0.051 + 0.03)) == "pass"
    assert outcome(planned(), measured(0.049, -0.9, 0.049 + 0.03)) == "outside"
    _, reason = judge(planned(), measured(0.12, 0.06, 0.15), 0.3, KIND)
    low, high = 0.10 - hypot(0.04, 0.03), 0.10 + hypot(0.08, 0.06)
    assert reason == (
        "target met, and the measured change +0.1200 lies in the forecast interval widened by the "
        f"measurement's error, [{low:+.4f}, {high:+.4f}]"
    )


def test_better_than_forecast_is_outside() -> None:
    found, reason = judge(planned(), measured(-0.2, -0.21, -0.19), 0.3, KIND)
    assert found == "outside"
    assert reason == (
        "target met, and the measured change -0.2000 is better than forecast, +0.1000"
    )


def test_worse_with_overlapping_intervals_is_outside() -> None:
    found, reason = judge(planned(), measured(0.25, 0.17, 0.33), 0.3, KIND)
    assert found == "outside"
    assert reason == (
        "target met; the measured change +0.2500 is worse than forecast, +0.1000, but the two "
        "intervals overlap"
    )


def test_worse_beyond_both_intervals_fails() -> None:
    found, reason = judge(planned(), measured(0.30, 0.19, 0.41), 0.3, KIND)
    assert found == "fail"
    assert reason == (
        "target met, but the measured change +0.3000 [+0.1900, +0.4100] is worse than forecast, "
        "+0.1000 [+0.0600, +0.1800], 90 %"
    )


def test_a_target_that_was_missed_fails_whatever_was_measured() -> None:
    made = planned()
    missed = made.targets[0].model_copy(update={"met": False})
    made = made.model_copy(update={"targets": (missed,)})
    assert judge(made, measured(0.1, 0.09, 0.11), 0.3, KIND) == (
        "fail",
        "target units=50% not met",
    )


def test_a_loss_target_is_missed_where_the_measurement_is_surely_above_it() -> None:
    made = planned()
    target = made.targets[0].model_copy(update={"target": Target(kind="loss", value=0.15)})
    made = made.model_copy(update={"targets": (target,)})
    assert judge(made, measured(0.17, 0.16, 0.18), 0.3, KIND) == (
        "fail",
        "target loss=+0.15 missed: measured +0.1700",
    )
    assert outcome(made, measured(0.17, 0.14, 0.20)) == "pass"


def test_nothing_to_remove_passes_and_says_so() -> None:
    made = base("units=100%").model_copy(update={"loss_kind": KIND})
    assert made.removed == 0
    assert judge(made, measured(0, 0, 0), 0.3, KIND) == (
        "pass",
        "nothing to remove: the model is as it was",
    )


def test_without_a_forecast_it_is_outside() -> None:
    assert judge(base(), measured(0.1, 0.0, 0.2), 0.3, KIND) == (
        "outside",
        "targets met; no forecast to hold the measurement against (no data were given to plan, "
        "only the profile)",
    )


def test_a_forecast_of_another_loss_is_not_compared() -> None:
    found, reason = judge(planned(), measured(0.1, 0.09, 0.11), 0.3, "mean squared error")
    assert found == "outside"
    assert reason == (
        "targets met; the forecast is of cross_entropy (nats) and cannot be held against the "
        "measured mean squared error"
    )


@pytest.mark.parametrize(("loss", "found"), [(0.1, "fail"), (10.0, "pass")])
def test_rounding_of_the_dense_loss_is_forgiven(loss: float, found: str) -> None:
    nothing = planned(0.0, 0.0, 0.0)  # a lossless cut
    # 5e-6 is rounding of a loss of 10, not of one of .1
    assert outcome(nothing, measured(5e-6, 5e-6, 5e-6), dense_loss=loss) == found
    assert outcome(nothing, measured(9e-7, 9e-7, 9e-7), dense_loss=loss) == "pass"
