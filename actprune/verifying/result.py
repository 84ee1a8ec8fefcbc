"""The verdict: what was measured on held-out data, against what was forecast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from actprune.planning.result import Frozen


class Measured(Frozen):
    """Mean loss change on held-out samples, pruned minus dense, with its interval."""

    loss_delta: float
    low: float
    high: float
    level: float
    samples: int


class Side(Frozen):
    """One model as measured: `latency_ms` is the median milliseconds of one batch."""

    loss: float
    metrics: Mapping[str, float]  # for instance accuracy, 0 to 1
    params: int
    macs: float
    bytes: int
    latency_ms: float


class Latency(Frozen):
    """Both models timed in turn on one batch; a ratio is dense / pruned of the same round."""

    before_ms: float  # medians
    after_ms: float
    ratio: float  # median over rounds; above 1 the pruned model is faster
    ratio_p20: float
    ratio_p80: float
    rounds: int
    batch: int
    threads: int
    layout: str  # of 4-d tensors in memory: contiguous or channels_last, the same for both
    device: str


class Baseline(Frozen):
    """The same kept counts per site, chosen and compensated in another way."""

    criterion: str
    compensate: str
    loss: float
    metrics: Mapping[str, float]


class Stage(Frozen):
    """The model at one point of the way back from a cut."""

    loss: float
    metrics: Mapping[str, float]
    share: float | None  # of the loss that the bare cut adds, won back by this step; none: null


class Recovery(Frozen):
    """The way back on held-out samples: cut without compensation, after the plan's compensation
    (`refit`, whatever its kind), after healing."""

    none: Stage
    refit: Stage
    heal: Stage
    reason: str | None = None  # why there are no shares
    measured: Measured  # of the healed model, minus dense


class Certificate(Frozen):
    """How many held-out inputs fire (or move off its constant) at least one removed unit."""

    units: int  # removed units but those proved or merged, fixed before the data were read
    inputs_affected: float  # share of held-out inputs, 0 to 1
    upper: float  # one-sided Clopper-Pearson bound on the share of future inputs
    level: float


class Exactness(Frozen):
    """What a lossless cut does to the outputs, its proved and its certified part apart."""

    proved: int  # units proved never active on the box
    merged: int  # units that are combinations of kept ones there
    certified: int  # units that kept one value on the calibration data, no more
    box: str  # in words
    stopped: str | None  # what ended the proof before the model's output
    largest_difference: float  # of any output, on held-out inputs in the box, by the first two
    allowed: float | None  # the largest that rounding can make it there; None: not bounded
    reason: str | None  # why `allowed` is None
    beyond: int  # held-out inputs in the box whose difference exceeds their own bound
    inputs_in_box: int
    inputs_changed: float  # share of held-out inputs whose output moves beyond rounding, 0 to 1
    bound: float  # on the share of future inputs that fire a certified unit, 0 to 1
    level: float


class Verdict(Frozen):
    """pass, outside (target met, measurement off the forecast) or fail; product rules."""

    outcome: Literal["pass", "outside", "fail"]
    reason: str
    loss_kind: str
    labelled: bool
    measured: Measured
    before: Side
    after: Side
    certificate: Certificate
    exact: Exactness | None = None  # of a lossless plan
    baselines: tuple[Baseline, ...] = ()
    recovery: Recovery | None = None  # where the model was healed
    heldout: str
    heldout_samples: int
    latency_batch: int
    latency_threads: int
    latency: Latency
    device: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the command should exit 0."""
        return self.outcome != "fail"
