"""The methods compared, by name: a literal table, and what each needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

import actprune
from actprune.errors import ActpruneError
from actprune.planning.result import Allocation
from actprune.sites.find import survey
from benchmarks.costs import cost_of
from benchmarks.rivalry.material import Material, normalized, published
from benchmarks.rivalry.search import Made, largest
from benchmarks.rivalry.widths import emp_widths, flap_widths, reshaped
from benchmarks.rivals import (
    LARGEST_SHARE,
    Importance,
    Metric,
    kirigami_by_ratio,
    kirigami_in_order,
    reestimate_batchnorm,
    torch_pruner,
)

Side: TypeAlias = Literal["dense", "ours", "rival", "mixed"]
Kind: TypeAlias = Literal["none", "mean", "refit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """`cut` brings the material's network to a share of its MACs.

    side: ours; a rival, as its authors publish it; or mixed, a rival's selection with our refit.
    """

    label: str
    side: Side
    cut: Callable[[Material, float], Made]
    reads: bool = True  # calibration images; what does not is the same for every choice of them
    restores: bool = False  # re-estimates batch normalizations

    def applies(self, net: str, seed: int) -> bool:
        """Whether the cell says something that no other cell does."""
        return (normalized(net) or not self.restores) and (
            self.reads or seed == 0 or not published(net)
        )


def untouched(given: Material, share: float) -> Made:
    """The dense network itself."""
    return Made(model=given.dense, seconds=0.0)


def planned(
    given: Material, share: float, *, criterion: str, kind: Kind, allocate: Allocation = "uniform"
) -> Made:
    """A criterion of the registry through `actprune.profile`, `plan` and `prune`."""
    start = time.perf_counter()
    profile, plan = _plan(given, share, criterion=criterion, kind=kind, allocate=allocate)
    small = actprune.prune(given.dense, plan, profile, batches=given.calibration)
    return Made(model=small, seconds=time.perf_counter() - start)


def _plan(
    given: Material, share: float, *, criterion: str, kind: Kind, allocate: Allocation
) -> tuple[actprune.Profile, actprune.Plan]:
    profile = actprune.profile(given.dense, given.calibration, seed=given.seed, spec=given.net)
    plan = actprune.plan(
        given.dense,
        profile,
        f"macs={100 * share:.6f}%",
        criterion=criterion,
        compensation=actprune.Compensation(kind=kind),
        allocate=allocate,
        batches=given.calibration,
        check=given.check,  # so that all calibration images serve the choice and the refit
        probes=False,
    )
    return profile, plan


def flap(given: Material, share: float, *, kind: Kind) -> Made:
    """FLAP with its own allocation: scores standardized site by site, then ranked all together."""
    start = time.perf_counter()
    profile, plan = _plan(given, share, criterion="random", kind="none", allocate="uniform")
    counts = flap_widths(given.dense, profile, plan, given.calibration, share)
    plan = reshaped(given.dense, profile, plan, counts, "fluctuation", kind, given.calibration)
    small = actprune.prune(given.dense, plan, profile, batches=given.calibration)
    return Made(model=small, seconds=time.perf_counter() - start)


def emp(given: Material, share: float) -> Made:
    """EMP's effective numbers times one factor, so that the target is met; magnitude's order.

    The paper keeps the effective number itself, which no target enters; the factor is ours.
    """
    start = time.perf_counter()
    profile, plan = _plan(given, share, criterion="random", kind="none", allocate="uniform")
    counts, factor = emp_widths(given.dense, profile, plan, given.calibration, share)
    plan = reshaped(given.dense, profile, plan, counts, "magnitude", "none", given.calibration)
    small = actprune.prune(given.dense, plan, profile, batches=given.calibration)
    seconds = time.perf_counter() - start
    return Made(model=small, seconds=seconds, setting=f"{factor:.3f} times the effective number")


def torch_pruning(
    given: Material, share: float, *, importance: Importance, everywhere: bool = False
) -> Made:
    """torch-pruning on the channels that we may cut too, at the least ratio that fits."""
    example, layers, units = _channels(given)
    start = time.perf_counter()
    prune = torch_pruner(
        given.dense, example, layers, importance, given.calibration.batches(), everywhere=everywhere
    )
    statistics = time.perf_counter() - start
    if everywhere:
        settings = [i / 200 for i in range(1, int(200 * LARGEST_SHARE) + 1)]
    else:
        # torch-pruning keeps int(n * (1 - share)) of n channels: a hair below k / n removed makes
        # that n - k in floating point; the smallest layer keeps at least one
        most = 1 - 1 / min(units)
        steps = {k / n for n in units for k in range(1, n)}
        settings = [s - 1e-9 for s in sorted(steps) if s <= most]
    budget = share * cost_of(given.dense, example).macs
    stride = 8 if everywhere else None
    made = largest(prune, settings, budget, example, stride=stride)
    return replace(made, seconds=made.seconds + statistics)


def kirigami(given: Material, share: float, *, metric: Metric) -> Made:
    """torch-kirigami on the channels that we may cut too: the largest start of its order that
    fits, from a budget of parameters small enough."""
    example, layers, _ = _channels(given)
    budget = share * cost_of(given.dense, example).macs
    kept = 0.75 * share
    while kept > 0.01:
        start = time.perf_counter()
        prune, most = kirigami_in_order(
            given.dense, example, layers, metric, given.calibration.batches(), kept
        )
        searched = time.perf_counter() - start
        if cost_of(prune(most), example).macs <= budget:
            made = largest(prune, range(1, most + 1), budget, example)
            return replace(made, seconds=made.seconds + searched)
        kept *= 0.6
    raise ActpruneError(f"torch-kirigami does not reach {100 * share:g} % of the MACs.")


def kirigami_ratio(given: Material, share: float, *, metric: Metric) -> Made:
    """torch-kirigami with the least ratio for each layer that fits, in steps of 1/64; the smallest
    layer keeps at least one channel."""
    example, layers, units = _channels(given)
    start = time.perf_counter()
    prune = kirigami_by_ratio(given.dense, example, layers, metric, given.calibration.batches())
    statistics = time.perf_counter() - start
    budget = share * cost_of(given.dense, example).macs
    ratios = [i / 64 for i in range(1, 64) if i / 64 <= 1 - 1 / min(units)]
    made = largest(prune, ratios, budget, example)
    return replace(made, seconds=made.seconds + statistics)


def restored(given: Material, share: float, *, before: Callable[[Material, float], Made]) -> Made:
    """`before`, then batch normalizations re-estimated on the calibration images."""
    made = before(given, share)
    start = time.perf_counter()
    model = reestimate_batchnorm(made.model, list(given.calibration.batches()))
    return replace(made, model=model, seconds=made.seconds + time.perf_counter() - start)


def _channels(given: Material):
    """One image, the layers whose outputs are cut, and how many each has."""
    example = next(iter(given.calibration.batches(1)))
    sites = [s for s in survey(given.dense, example).sites if s.obstacle is None]
    return example, [s.producer.module for s in sites], [s.units for s in sites]


def _own(label: str, side: Side, criterion: str, kind: Kind, *, reads: bool = True) -> Method:
    return Method(
        label=label, side=side, cut=partial(planned, criterion=criterion, kind=kind), reads=reads
    )


def _bn(method: Method) -> Method:
    return replace(
        method,
        label=f"{method.label} + BN re-estimated",
        cut=partial(restored, before=method.cut),
        reads=True,
        restores=True,
    )


def _tp(importance: Importance, words: str, *, everywhere: bool = False) -> Method:
    return Method(
        label=f"torch-pruning {words}",
        side="rival",
        cut=partial(torch_pruning, importance=importance, everywhere=everywhere),
        reads=importance != "magnitude",
    )


def _kirigami(metric: Metric, words: str, cut: Callable[..., Made] = kirigami) -> Method:
    return Method(
        label=f"torch-kirigami {words}",
        side="rival",
        cut=partial(cut, metric=metric),
        reads=metric == "taylor",
    )


_FLAP = Method(label="FLAP", side="rival", cut=partial(flap, kind="mean"))
_WANDA_MEAN = _own("Wanda-sp + mean", "rival", "wanda", "mean")

METHODS: Mapping[str, Method] = {
    "dense": Method(label="dense", side="dense", cut=untouched, reads=False),
    "ours-global": Method(
        label="actprune: residual + refit, global",
        side="ours",
        cut=partial(planned, criterion="residual", kind="refit", allocate="global"),
    ),
    "ours-uniform": _own("actprune: residual + refit, uniform", "ours", "residual", "refit"),
    "tp-magnitude": _tp("magnitude", "magnitude"),
    "tp-magnitude+bn": _bn(_tp("magnitude", "magnitude")),
    "tp-taylor": _tp("taylor", "Taylor"),
    "tp-taylor+bn": _bn(_tp("taylor", "Taylor")),
    "tp-activation": _tp("activation", "activation"),
    "tp-activation+bn": _bn(_tp("activation", "activation")),
    "tp-magnitude-global+bn": _bn(_tp("magnitude", "magnitude, global", everywhere=True)),
    "tp-taylor-global+bn": _bn(_tp("taylor", "Taylor, global", everywhere=True)),
    "flap": _FLAP,
    "flap+bn": _bn(_FLAP),
    "fluctuation+mean": _own("FLAP, same share", "rival", "fluctuation", "mean"),
    "wanda": _own("Wanda-sp", "rival", "wanda", "none"),
    "wanda+mean": _WANDA_MEAN,
    "wanda+mean+bn": _bn(_WANDA_MEAN),
    "apoz": _own("APoZ", "rival", "apoz", "none"),
    "magnitude": _own("magnitude (L2)", "rival", "magnitude", "none", reads=False),
    "taylor": _own("Taylor, with gates", "rival", "taylor", "none"),
    "minitron": _own("Minitron", "rival", "minitron", "none"),
    "emp": Method(label="EMP, scaled", side="rival", cut=emp, reads=False),
    "random": _own("random", "rival", "random", "none"),
    "random+refit": _own("random + our refit", "mixed", "random", "refit"),
    "magnitude+refit": _own("magnitude + our refit", "mixed", "magnitude", "refit"),
    "taylor+refit": _own("Taylor + our refit", "mixed", "taylor", "refit"),
    "fluctuation+refit": _own("FLAP, same share + our refit", "mixed", "fluctuation", "refit"),
    "flap+refit": Method(label="FLAP + our refit", side="mixed", cut=partial(flap, kind="refit")),
    "kirigami-magnitude": _kirigami("magnitude", "magnitude"),
    "kirigami-magnitude+bn": _bn(_kirigami("magnitude", "magnitude")),
    "kirigami-taylor+bn": _bn(_kirigami("taylor", "Taylor")),
    "kirigami-taylor-ratio": _kirigami("taylor", "Taylor, same share", kirigami_ratio),
    "kirigami-magnitude-ratio+bn": _bn(
        _kirigami("magnitude", "magnitude, same share", kirigami_ratio)
    ),
    "kirigami-taylor-ratio+bn": _bn(_kirigami("taylor", "Taylor, same share", kirigami_ratio)),
}
