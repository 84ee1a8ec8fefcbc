"""Is what was asked for what is reached? 100 random targets, counted on the models really cut.

Run as `python -m benchmarks.budgets`; rows go to results/budgets.jsonl. A target passes if the cut
model costs at most what was asked and one more group of units at any site would cost more, or if
the plan is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

import actprune
from actprune.data.source import as_source
from actprune.errors import BudgetError
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from actprune.planning.result import Plan
from actprune.profiling.result import Profile
from actprune.sites.cut import Cut
from benchmarks import cifar
from benchmarks.costs import cost_of
from benchmarks.harness import append, begin

TARGETS, SEED = 100, 0
NETS = ("digits-mlp", "digits-cnn", "mnist-cnn", "resnet20")
KINDS = ("params", "macs", "bytes", "units")
Allocate = Literal["uniform", "global"]


@cache
def network(name: str) -> tuple[nn.Module, Any, Profile]:
    """The model, its data and its profile."""
    if name == "resnet20":
        model, data = cifar.resnet20(), cifar.train(64)
    else:
        model, data = load_model(f"zoo:{name}").model, load_data(f"zoo:{name}")
    return model, data, actprune.profile(model, data, samples=64, spec=name)


def drawn(seed: int) -> Iterator[tuple[str, str, Allocate, int, str]]:
    """(network, target, allocation, group, compensation), for ever."""
    random = np.random.default_rng(seed)
    while True:
        share = f"{100 * random.uniform(0.15, 0.95):.2f}%"
        allocate: Allocate = "global" if random.integers(2) else "uniform"
        yield (
            str(random.choice(NETS)),
            f"{random.choice(KINDS)}={share}",
            allocate,
            int(random.choice([1, 2, 4, 8])),
            str(random.choice(["none", "refit"])),
        )


def judged(name: str, target: str, allocate: Allocate, group: int, kind: str) -> dict[str, Any]:
    """One target: what came of it."""
    model, data, profile = network(name)
    row: dict[str, Any] = {
        "net": name, "target": target, "allocate": allocate, "round_to": group, "compensate": kind,
    }  # fmt: skip
    try:
        plan = actprune.plan(
            model, profile, target, criterion="magnitude", allocate=allocate, round_to=group,
            compensation=actprune.Compensation.model_validate({"kind": kind}), probes=False,
        )  # fmt: skip
    except BudgetError as e:
        return {**row, "outcome": "refused", "why": str(e)}
    metric, written = target.split("=")
    asked = float(written[:-1]) / 100
    reached = counted(model, data, plan, metric)
    more = [s for s in one_more(plan, group) if priced(profile, plan, s, metric) <= asked]
    exceeded = reached > asked * (1 + 1e-12)
    uniform_units = metric == "units" and allocate == "uniform"
    if uniform_units:  # of every site, and never less than one group
        exceeded = any(len(p.kept) > max(group, asked * p.site.units + 1e-9) for p in plan.sites)
        more = [
            p.site.name for p in plan.sites
            if len(p.kept) < p.site.units and len(p.kept) + group <= asked * p.site.units + 1e-9
        ]  # fmt: skip
    outcome = "exceeded" if exceeded else "room left" if more else "met"
    return {**row, "outcome": outcome, "asked": asked, "reached": reached}


def counted(model: nn.Module, data: Any, plan: Plan, metric: str) -> float:
    """The share that the really cut model keeps. A refit's biases are there; its weights do not
    matter, so means from the data serve."""
    if metric == "units":
        return sum(len(p.kept) for p in plan.sites) / sum(p.site.units for p in plan.sites)
    bare = plan
    if plan.compensation.kind != "none":
        mean = plan.compensation.model_copy(update={"kind": "mean"})
        bare = plan.model_copy(update={"compensation": mean})
    small = actprune.prune(model, bare, batches=data)
    example = next(iter(as_source(data).batches())).select(torch.arange(1))
    before, after = cost_of(model, example), cost_of(small, example)
    return getattr(after, metric) / getattr(before, metric)


def one_more(plan: Plan, group: int) -> Iterator[Cut]:
    """The plan's cut with one group more at each site that has lost one."""
    for p in plan.sites:
        keep = len(p.kept) + group
        if keep <= p.site.units:
            back = tuple(sorted((*p.kept, *p.removed[:group])))
            kept = {**plan.cut.kept, p.site.name: back}
            yield Cut(kept={n: k for n, k in kept.items()})


def priced(profile: Profile, plan: Plan, cut: Cut, metric: str) -> float:
    """The share of the cost that `cut` keeps."""
    sites = plan.all_sites
    if metric == "units":
        return sum(len(cut.keeps(s)) for s in sites) / sum(s.units for s in sites)
    after = profile.census.cost(sites, cut, adds_bias=plan.compensation.adds_bias)
    return getattr(after, metric) / getattr(profile.census.dense, metric)


def main() -> None:
    """Judge every target, print and write."""
    begin("budgets")
    targets = drawn(SEED)
    for i in range(TARGETS):
        row = judged(*next(targets))
        append("budgets", {"seed": SEED, **row})
        print(f"{i + 1}/{TARGETS} {row}", flush=True)


if __name__ == "__main__":
    main()
