"""Meet targets that only trying can confirm: a greatest change of the loss or of a metric.

Sizes are tried on the select samples, with a refit that has not seen them (`Forecaster.trial`), so
that the samples of the forecast and the held-out ones stay unread until one size is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

from actprune.errors import ActpruneError, BudgetError
from actprune.planning.allocate import Counts, Room, cut_of
from actprune.planning.back_off import back_off, bisect
from actprune.planning.forecast import Forecaster
from actprune.planning.metric_change import check_metrics
from actprune.planning.result import Trial, Tried
from actprune.planning.solve import Problem
from actprune.planning.target import METRICS, Target


def metrics_of(targets: Sequence[Target]) -> list[str]:
    """The metrics that the targets speak of."""
    return [t.kind for t in targets if t.kind in METRICS]


def trying(targets: Sequence[Target], forecaster: Forecaster | None) -> Forecaster:
    """The forecaster to try the targets with; raises ActpruneError if it cannot serve."""
    if forecaster is None:
        kind = "metric" if targets[0].kind in METRICS else "loss"
        raise ActpruneError(
            f"A {kind} target needs data to forecast on; give the calibration data."
        )
    check_metrics(metrics_of(targets), forecaster.loss)
    return forecaster


def holds(targets: Sequence[Target], trial: Trial) -> bool:
    """Whether every target is kept by the worse end of the interval on the samples tried."""
    falls = {m.name: -m.low for m in trial.metrics}
    return all(
        t.value is not None
        and (trial.forecast.high if t.kind == "loss" else falls[t.kind]) <= t.value
        for t in targets
    )


def smallest_that_holds(
    targets: Sequence[Target],
    steps: Sequence[Counts],
    rooms: Sequence[Room],
    forecaster: Forecaster,
    problem: Problem | None,
) -> tuple[Counts, Tried]:
    """The smallest allocation of a ladder, largest first, that is seen to hold.

    With a global problem and a loss target the search starts where the sum of the curves' harms
    reaches what is allowed, and backs off from there; else by bisection of the whole ladder.

    Raises:
        BudgetError: if none holds.
    """
    names = metrics_of(targets)

    def attempt(rung: int) -> Trial:
        return forecaster.trial(cut_of(rooms, steps[rung]), names)

    losses = [t.value for t in targets if t.kind == "loss" and t.value is not None]
    if problem is not None and losses:
        within = [i for i, c in enumerate(steps) if problem.harm(c) <= min(losses)]
        found = back_off(max(within, default=0), attempt, lambda t: holds(targets, t))
    else:
        found = bisect(len(steps), attempt, lambda t: holds(targets, t))
    trials = dict(found.tried)
    if found.rung is None:
        least = trials[min(trials)]
        raise BudgetError(
            f"Target {', '.join(map(str, targets))} cannot be met: even the least cut exceeds it; "
            f"it changes {_told(least)} (tried {Tried(sizes=len(trials), chosen=least)})."
        )
    return steps[found.rung], Tried(sizes=len(trials), chosen=trials[found.rung])


def check_held(
    targets: Sequence[Target], counts: Counts, rooms: Sequence[Room], forecaster: Forecaster
) -> Tried:
    """Try the one size that other targets ask for; raises BudgetError if it does not hold."""
    trial = forecaster.trial(cut_of(rooms, counts), metrics_of(targets))
    if not holds(targets, trial):
        raise BudgetError(
            f"Target {', '.join(map(str, targets))} cannot be met together with the cost targets: "
            f"they are forecast to change {_told(trial)}."
        )
    return Tried(sizes=1, chosen=trial)


def _told(trial: Trial) -> str:
    return ", ".join([f"the loss by {trial.forecast}", *map(str, trial.metrics)])
