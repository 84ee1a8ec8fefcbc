"""A plan is data: which units go, what that costs, and what it is forecast to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from actprune.errors import ActpruneError
from actprune.exact.box import Box
from actprune.planning.target import Target
from actprune.profiling.rules import Rule
from actprune.refit.settings import Compensation as Compensation
from actprune.running.substitute import Affine
from actprune.sites.census import Cost
from actprune.sites.cut import Cut
from actprune.sites.site import Site

SCHEMA = 1


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Forecast(Frozen):
    """Loss change forecast for the whole cut, in the unit of `loss_kind`.

    `probed`: the cut was tried, without surgery, on the samples; `local`: foreseen from the dense
    network's derivatives there.
    """

    method: Literal["probed", "local"] = "local"
    loss_delta: float
    low: float
    high: float
    level: float  # of the two-sided interval [low, high] for the population's change
    samples: int  # on which it rests; none of them was used to choose or refit

    def __str__(self) -> str:
        return f"{self.loss_delta:+.4f} [{self.low:+.4f}, {self.high:+.4f}], {100 * self.level:g} %"


class CountsForecast(Frozen):
    """The theory's own forecast, kappa * share^gamma, from activation counts and two probes."""

    loss_delta: float
    low: float
    high: float
    level: float
    share: float  # of all activations, carried by the removed units; 0 to 1
    kappa: float
    gamma: float


class MetricChange(Frozen):
    """Change of a metric (pruned minus dense, -1 to 1) on the samples of `samples`, with the
    two-sided interval of `level` for the population's."""

    name: str
    change: float
    low: float
    high: float
    level: float
    samples: int

    def __str__(self) -> str:
        c, low, high = (100 * x for x in (self.change, self.low, self.high))
        return f"{self.name} by {c:+.2f} points [{low:+.2f}, {high:+.2f}], {100 * self.level:g} %"


class Trial(Frozen):
    """One size tried on the select samples, with a refit that has not seen them."""

    forecast: Forecast
    metrics: tuple[MetricChange, ...] = ()


class Tried(Frozen):
    """How a loss or metric target was met: sizes tried, and what the chosen one did there.

    Samples kept for the forecast and held-out ones took no part in it.
    """

    sizes: int
    chosen: Trial

    def __str__(self) -> str:
        many = "1 size" if self.sizes == 1 else f"{self.sizes} sizes"
        return (
            f"{many} on {self.chosen.forecast.samples} select samples; the forecast's and the "
            f"held-out samples untouched"
        )


class Timed(Frozen):
    """Time of a forward pass of the really cut model as a share of the dense one's, both timed in
    turn at planning: median over rounds, and its 20 % and 80 % quantiles. No refit: weights do
    not change the time."""

    share: float
    low: float
    high: float
    rounds: int
    batch: int
    threads: int
    device: str
    sizes: int = 1  # timed until this one was found

    def __str__(self) -> str:
        return (
            f"{100 * self.share:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}] of the dense "
            f"time, measured at planning ({self.rounds} rounds, batch {self.batch}, "
            f"{self.threads} threads, {self.device})"
        )


class Reached(Frozen):
    """A target with what the plan reaches, in the target's own unit."""

    target: Target
    reached: float | None
    met: bool


class ModelRef(Frozen):
    spec: str
    hash: str


class DataRef(Frozen):
    """The calibration data. `origins`: fingerprint of the first sample, first and last-plus-one
    sample index of each run of samples profiled."""

    spec: str
    origins: tuple[tuple[str, int, int], ...]
    samples: int
    seed: int
    heldout: bool  # whether a seeded third was left for verify


class Optimality(Frozen):
    """How well a global allocation does by its own measure: the sum of the sites' curves.

    bound: no allocation within the budgets does less harm. `unit` says what harm is measured in.
    """

    harm: float
    bound: float
    unit: str

    @property
    def gap(self) -> float:
        return max(self.harm - self.bound, 0.0)

    def __str__(self) -> str:
        return f"harm {self.harm:.4g}, at most {self.gap:.2g} above the best ({self.unit})"


class PlannedSite(Frozen):
    """A site with the units that stay. `constants` holds, for each removed unit in ascending
    order, the one value that the consumer read on all calibration data, or None if it varied or
    the profile did not know."""

    site: Site
    rule: Rule
    kept: tuple[int, ...]
    constants: tuple[float | None, ...]

    @model_validator(mode="after")
    def _consistent(self) -> PlannedSite:
        n = self.site.units
        if not self.kept or sorted({u for u in self.kept if 0 <= u < n}) != list(self.kept):
            raise ValueError(f"kept must be ascending units out of 0 to {n - 1}, at least one")
        if len(self.constants) != n - len(self.kept):
            raise ValueError("constants must hold one entry for each unit removed")
        return self

    @property
    def removed(self) -> tuple[int, ...]:
        kept = set(self.kept)
        return tuple(u for u in range(self.site.units) if u not in kept)


class ExactPlan(Frozen):
    """Why the units of a lossless plan can go, by site name; no unit is in two of the three.

    proved: never active on `box` (None: on any input), by bounds on every unit. merged: a
    combination of kept units there. certified: kept one value on the calibration data, no more.
    """

    box: Box | None
    stopped: str | None  # where the proof found no bounds, why
    proved: Mapping[str, tuple[int, ...]]
    merged: Mapping[str, tuple[int, ...]]
    certified: Mapping[str, tuple[int, ...]]

    def count(self, part: Literal["proved", "merged", "certified"]) -> int:
        """Units of one kind, over all sites."""
        return sum(map(len, getattr(self, part).values()))


Allocation: TypeAlias = Literal["uniform", "global"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """Compensated weights, and all of a plan that they follow from. A plan is the same with and
    without them."""

    of: tuple[object, ...]
    weights: Mapping[str, Affine]

    def __eq__(self, other: object) -> bool:
        return True


class Plan(Frozen):
    """Everything needed to cut a fresh copy of the model, as JSON in and out."""

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    model: ModelRef
    data: DataRef
    made_from: Literal["profile", "batches"]  # alone, or with the data in hand
    refit_parts: tuple[str, ...]  # the parts of the samples that the compensation is fitted on
    targets: tuple[Reached, ...]
    criterion: str
    allocate: Allocation
    optimality: Optimality | None = None  # of a global allocation to cost targets
    tried: Tried | None = None  # of loss and metric targets
    timed: Timed | None = None  # of a latency target
    compensation: Compensation
    exact: ExactPlan | None = None  # of the target lossless
    sites: tuple[PlannedSite, ...]
    before: Cost
    after: Cost
    loss: str | None = None  # as asked for; None: chosen by the data
    loss_kind: str
    forecast: Forecast | None
    forecast_reason: str | None = None  # why there is no forecast
    local: Forecast | None = None  # beside a probed forecast: what the same samples foresaw
    counts_only: CountsForecast | None = None
    counts_only_reason: str | None = None
    seconds: float = 0.0

    _fitted: Fitted | None = PrivateAttr(default=None)

    def with_weights(self, weights: Mapping[str, Affine] | None) -> Plan:
        """This plan, remembering the compensated weights that its forecast was made with."""
        plan = self.model_copy()
        if weights is not None:
            plan._fitted = Fitted(of=plan._decides_weights(), weights=weights)
        return plan

    @property
    def weights(self) -> Mapping[str, Affine] | None:
        """The consumers' compensated weights where this plan was made with data in this process;
        no file carries them."""
        fitted = self._fitted
        return fitted.weights if fitted and fitted.of == self._decides_weights() else None

    def _decides_weights(self) -> tuple[object, ...]:
        return self.model, self.data, self.refit_parts, self.compensation, self.sites

    @property
    def cut(self) -> Cut:
        """The kept units of the sites that lose any."""
        return Cut(kept={p.site.name: p.kept for p in self.sites if len(p.kept) < p.site.units})

    @property
    def removed(self) -> int:
        """Units removed over all sites."""
        return sum(p.site.units - len(p.kept) for p in self.sites)

    @property
    def all_sites(self) -> tuple[Site, ...]:
        return tuple(p.site for p in self.sites)

    @property
    def met(self) -> bool:
        return all(t.met for t in self.targets)

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=1)

    @classmethod
    def from_json(cls, text: str, where: str = "plan") -> Plan:
        """Read a plan; raises ActpruneError naming the first fault."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as e:
            first = e.errors()[0]
            place = ".".join(map(str, first["loc"])) or "document"
            raise ActpruneError(f"{where}: not a valid plan: {place}: {first['msg']}.") from e
