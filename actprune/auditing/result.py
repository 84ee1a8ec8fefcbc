"""What an audit measured, of one model or of two side by side."""

from __future__ import annotations

from collections.abc import Mapping

from actprune.planning.result import Frozen

MEASURES = ("order", "substitution", "sample_basin", "weight_basin", "spikes")


class SiteOrder(Frozen):
    """How far a site's activation function keeps the order of its inputs."""

    site: str
    activation: str  # the calls it consists of
    compared: str  # what is held against what
    units: int
    rows: int  # a unit: samples, or positions of samples
    samples: int
    gap: float  # the output must rise by more; 0 for pieces of straight lines
    share: float | None  # mean over units of the pairs that keep their order; 0 to 1
    stderr: float | None  # of `share`, over disjoint groups of samples
    preserving: int  # units with a share of at least 1 - eps
    eps: float
    constant: int  # units whose pre-activation never varied: no share
    always_on: int | None  # units on in every row; these three for ReLU alone
    mixed: int | None
    always_off: int | None
    unit_shares: tuple[float | None, ...]
    ranks: tuple[tuple[float, ...], ...]  # shares by rank before (outer) and after (inner)


class Substitution(Frozen):
    """A nonlinearity replaced by its best affine map per unit, and what that did."""

    site: str  # "all" for all at once
    activation: str
    explained: float | None  # share of the output's variance that the affine maps explain, 0 to 1
    loss_delta: float  # mean over samples, in the unit of `loss_kind`
    stderr: float | None  # over samples, or documents
    metrics: Mapping[str, float]  # with the maps in place


class SampleBasin(Frozen):
    """Noise on the input, as a share of its norm, that changes the answer."""

    r50: float | None  # half of all rays have changed the answer by here; None if beyond `limit`
    low: float | None  # bootstrap over samples; None if beyond `limit`
    high: float | None
    level: float
    samples: int  # handled: correct, or all where there are no labels
    of: int
    directions: int  # a sample
    never: float  # share of rays that keep the answer up to `limit`
    limit: float
    quantiles: Mapping[str, float | None]  # of the radius over rays


class Crossing(Frozen):
    """A radius at which a mean over samples reaches a threshold; None if beyond the limit."""

    radius: float | None  # median over directions
    low: float | None
    high: float | None
    threshold: float


class WeightBasin(Frozen):
    """Noise on all weights, as a share of each layer's norm, that changes loss and answers."""

    loss: Crossing | None  # the mean loss has risen by the threshold
    answers: Crossing | None  # half of the handled answers have changed
    level: float  # of two-way bootstrap intervals over directions and samples
    samples: int
    directions: int
    layers: int  # perturbed
    params: float  # share of the model's parameters that they hold
    limit: float


class SiteSpikes(Frozen):
    """Firings in windows of consecutive samples."""

    site: str
    windows: int
    length: int  # samples a window
    mean_rate: float  # MFR, 0 to 1
    rate_variance: float | None  # over units
    mean_fano: float | None  # MFF, over units that fire
    fano_variance: float | None
    relative: float | None  # mean of FF / (1 - rate); 1 is expected of shuffled samples
    overdispersed: float | None  # share of testable units that the chi2 test finds so
    level: float  # of that test
    reason: str | None


class ModelAudit(Frozen):
    """All measures of one model; one that was not made is None, with the reason."""

    spec: str
    hash: str
    params: int
    loss_kind: str
    loss: float
    metrics: Mapping[str, float]
    order: tuple[SiteOrder, ...] | None = None
    substitution: tuple[Substitution, ...] | None = None
    sample_basin: SampleBasin | None = None
    weight_basin: WeightBasin | None = None
    spikes: tuple[SiteSpikes, ...] | None = None
    reasons: Mapping[str, str]  # by measure, or by site
    seconds: float


class Compared(Frozen):
    """Both models on the samples that both handle, along the same directions."""

    samples: int
    r50: float | None  # of the model
    r50_against: float | None
    ratio: float | None  # r50 / r50_against
    low: float | None  # paired bootstrap over samples; None where a radius lies beyond the limit
    high: float | None
    level: float


class AuditResult(Frozen):
    """What was measured, on what; `against` is the model that it was held against."""

    model: ModelAudit
    against: ModelAudit | None
    compared: Compared | None
    data: str
    samples: int
    data_order: str | None  # in the user's words
    seed: int
    level: float
