"""report.json, schema 1. A number that does not exist is null, with a reason beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field

from actprune.exporting.result import ExportOutcome
from actprune.healing.result import Look, Stopped
from actprune.healing.settings import HealSettings
from actprune.planning.result import Compensation, Frozen
from actprune.verifying.result import (
    Baseline,
    Certificate,
    Exactness,
    Latency,
    Measured,
    Recovery,
    Side,
)


class ReportModel(Frozen):
    spec: str
    hash: str


class ReportData(Frozen):
    spec: str
    heldout: str
    calibration_samples: int
    heldout_samples: int
    seed: int


class ReportTarget(Frozen):
    kind: str
    asked: float | None
    reached: float | None
    met: bool
    how: str | None = None  # the plan tried or timed it, where costs alone do not tell


class CountsOnly(Frozen):
    loss_delta: float | None
    low: float | None
    high: float | None
    share: float | None = None
    reason: str | None = None


class LocalForecast(Frozen):
    loss_delta: float
    low: float
    high: float


class Predicted(Frozen):
    """The forecast, and what other ways of forecasting said of the same plan."""

    method: Literal["probed", "local"] | None = None  # None where there is no forecast
    loss_delta: float | None
    low: float | None
    high: float | None
    level: float
    reason: str | None = None
    local: LocalForecast | None = None  # beside a probed forecast
    counts_only: CountsOnly


class ReportSite(Frozen):
    """One site; fits are of the number of samples that fire each unit."""

    name: str
    kind: str
    units: int
    kept: int
    free: int  # units that never fired on the calibration data
    rate: float  # positions active / positions
    family: str | None  # distribution chosen by held-out likelihood
    b: float | None
    M: float | None
    pi0: float | None
    pi1: float | None
    alpha: float | None
    reason: str | None = None  # why a number above is null
    rates: tuple[float, ...]  # per unit, share of samples that fire it
    removed: tuple[int, ...]
    theory: Mapping[str, Any]  # the whole SiteTheory.to_dict()


class Seconds(Frozen):
    profile: float
    plan: float
    prune: float
    verify: float


class ReportHealing(Frozen):
    """How the model was healed; the losses of `curve` are those that healing made small."""

    settings: HealSettings
    steps: int
    best_step: int  # whose weights were kept; 0: those before healing
    stopped: Stopped
    reason: str
    seconds: float
    curve: tuple[Look, ...]


class Report(Frozen):
    """Everything that one run found, enough to draw report.html again."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    version: str  # of actprune
    model: ReportModel
    data: ReportData
    loss_kind: str
    labelled: bool
    criterion: str
    allocate: str
    compensation: Compensation
    before: Side
    after: Side
    baselines: tuple[Baseline, ...]
    target: ReportTarget  # the first one
    targets: tuple[ReportTarget, ...]
    predicted: Predicted
    measured: Measured
    healing: ReportHealing | None = None  # then `after`, `measured` and the verdict are from before
    recovery: Recovery | None = None
    verdict: Literal["pass", "outside", "fail"]
    verdict_reason: str
    certificate: Certificate
    exact: Exactness | None = None  # null but for the target lossless
    sites: tuple[ReportSite, ...]
    refusals: tuple[Mapping[str, str], ...]  # layer, reason
    device: str
    latency_batch: int
    latency_threads: int
    latency: Latency | None = None  # missing where an earlier version wrote the report
    export: ExportOutcome | None = None  # where one was asked for
    seconds: Seconds
