"""`actprune.plan`: the plan of `planning`, with the clock of `verifying` for latency targets.

Imports go up the flow only, so a plan knows what a clock is, but neither how a model is cut nor how
it is timed. Here they meet.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from actprune.data.batch import Batch
from actprune.data.calibration import ALL_PARTS
from actprune.planning import plan as planning
from actprune.planning.result import Timed
from actprune.planning.samples import calibration
from actprune.profiling.result import Profile
from actprune.pruning.surgery import shrink
from actprune.refit.masks import without_compensation
from actprune.running.wrapped import at_hand
from actprune.sites.cut import Cut
from actprune.verifying.latency import latency
from actprune.verifying.verify import LATENCY_BATCH

P = ParamSpec("P")
R = TypeVar("R")


def clock_of(model: nn.Module, profile: Profile, batch: Batch) -> Callable[[Cut], Timed]:
    """Times cuts of `model` on `batch` against the dense model, round by round in turn.

    The cut is made on a copy, without compensation: the weights' values do not change the time, but
    a bias that a compensation adds to a layer without one is not timed.
    """
    sites = [s.site for s in profile.sites]

    def clock(cut: Cut) -> Timed:
        small = copy.deepcopy(model)
        shrink(small, sites, cut, without_compensation(model, sites, cut))
        seen = latency(model, small, batch)
        return Timed(
            share=1 / seen.ratio,
            low=1 / seen.ratio_p80,
            high=1 / seen.ratio_p20,
            rounds=seen.rounds,
            batch=seen.batch,
            threads=seen.threads,
            device=seen.device,
        )

    return clock


def _with_clock(make: Callable[P, R]) -> Callable[P, R]:
    @wraps(make)
    def plan(*args: P.args, **kwargs: P.kwargs) -> R:
        batches = kwargs.get("batches")
        if kwargs.get("clock") is None and batches is not None:
            model, profile = _named("model", 0, args, kwargs), _named("profile", 1, args, kwargs)
            kwargs["clock"] = _lazy(model, profile, batches)
        return make(*args, **kwargs)

    return plan


def _lazy(model: nn.Module, profile: Profile, batches) -> Callable[[Cut], Timed]:
    """A clock that takes its batch when first asked for the time."""
    made: list[Callable[[Cut], Timed]] = []

    def clock(cut: Cut) -> Timed:
        if not made:
            first = calibration(profile, batches, ALL_PARTS)[0]
            few = first.select(torch.arange(min(LATENCY_BATCH, len(first))))
            made.append(clock_of(at_hand(model), profile, few))
        return made[0](cut)

    return clock


def _named(name: str, place: int, args: tuple, kwargs: dict):
    return args[place] if len(args) > place else kwargs[name]


plan = _with_clock(planning.plan)
