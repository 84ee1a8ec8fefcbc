"""Apply a plan to a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from actprune.data.source import Source
from actprune.errors import ActpruneError
from actprune.planning.result import Plan
from actprune.planning.samples import refit_samples
from actprune.profiling.result import Profile
from actprune.pruning.surgery import shrink
from actprune.refit.independent import compensate_from_profile
from actprune.refit.sequential import compensate
from actprune.running.hashing import model_hash
from actprune.running.substitute import Affine
from actprune.running.wrapped import at_hand


def prune(
    model: nn.Module,
    plan: Plan,
    profile: Profile | None = None,
    *,
    batches: Source | Iterable[Any] | None = None,
    in_place: bool = False,
    progress: Callable[[str], None] = lambda consumer: None,
) -> nn.Module:
    """Cut the planned units out of `model` and compensate: a smaller dense module of the same
    classes, without masks, hooks or wrappers.

    Args:
        model: a fresh copy of the dense model that was planned for; left as it is, unless
            `in_place`. A wrapper (see `unwrapped`) is left away, also from what is returned.
        plan: from `plan` or a file.
        profile: where there are no batches, the means and Gram matrices to compensate with.
        batches: the profiled data in the same order; the compensation uses the plan's parts.

    Raises:
        ActpruneError: if the model is not the planned one, its weights are off-loaded or cannot be
            taken out of what wraps them, or what the compensation needs is missing.
    """
    model = at_hand(model)
    maps = compensated(model, plan, profile, batches=batches, progress=progress)
    small = model if in_place else copy.deepcopy(model)
    shrink(small, plan.all_sites, plan.cut, maps)
    return small


def compensated(
    model: nn.Module,
    plan: Plan,
    profile: Profile | None,
    *,
    batches: Source | Iterable[Any] | None,
    progress: Callable[[str], None] = lambda consumer: None,
) -> dict[str, Affine]:
    """The new weights of every consumer under `plan`, in the dense shapes; raises as `prune`.

    A plan that was made with the data in this process has them already.
    """
    if model_hash(model) != plan.model.hash:
        raise ActpruneError(
            f"The plan is for another model ({plan.model.spec}, other weights or shapes); "
            f"plan again for this one."
        )
    settings = plan.compensation
    if settings.needs_data and batches is None:
        if profile is None:
            raise ActpruneError(
                f"Compensation {settings.kind!r} needs the calibration data or a profile; give "
                f"one, or plan with compensate none."
            )
        if profile.identity.model_hash != plan.model.hash:
            raise ActpruneError("The profile is of another model than the plan.")
        return compensate_from_profile(model, plan.all_sites, plan.cut, settings, profile)
    data = []
    if batches is not None and settings.needs_data:
        data = refit_samples(plan, batches)
        if plan.weights is not None:
            return dict(plan.weights)
    return compensate(
        model, plan.all_sites, plan.cut, settings, data, seed=plan.data.seed, progress=progress
    )
