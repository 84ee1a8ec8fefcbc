"""What the refit and what healing won back of the loss that a bare cut costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import nn

from actprune.planning.result import Plan
from actprune.pruning.prune import prune
from actprune.refit.settings import Compensation
from actprune.verifying.bootstrap import bootstrap_mean
from actprune.verifying.result import Measured, Recovery, Stage


def bare(dense: nn.Module, small: nn.Module, plan: Plan) -> nn.Module:
    """The same cut without compensation: `small` itself, if the plan has none."""
    if plan.compensation.kind == "none":
        return small
    return prune(dense, plan.model_copy(update={"compensation": Compensation(kind="none")}))


def recovery(
    dense: np.ndarray,
    none: np.ndarray,
    refit: np.ndarray,
    heal: np.ndarray,
    metrics: tuple[Mapping[str, float], Mapping[str, float], Mapping[str, float]],
    *,
    level: float,
    seed: int,
) -> Recovery:
    """The way back, from the per-sample losses of all four models on the same held-out samples.

    A step's share is the mean loss that it takes away over that which the bare cut adds (ours):
    both together are 1 where the healed model is as good as the dense one, and more where it is
    better. There is none where the bare cut costs nothing.
    """
    d, n, r, h = (float(x.mean()) for x in (dense, none, refit, heal))
    change = heal - dense
    low, high = bootstrap_mean(change, level=level, seed=seed)
    lost = n - d
    known = lost > 0
    return Recovery(
        none=Stage(loss=n, metrics=metrics[0], share=None),
        refit=Stage(loss=r, metrics=metrics[1], share=(n - r) / lost if known else None),
        heal=Stage(loss=h, metrics=metrics[2], share=(r - h) / lost if known else None),
        reason=None if known else "the bare cut does not raise the loss, so nothing was lost",
        measured=Measured(
            loss_delta=float(change.mean()), low=low, high=high, level=level, samples=len(change)
        ),
    )
