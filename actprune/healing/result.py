"""What healing gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from actprune.planning.result import Frozen

Stopped: TypeAlias = Literal["finished", "early", "diverged"]


class Look(Frozen):
    """The losses of healing (see `Objective`) after `step` steps."""

    step: int
    rate: float  # the learning rate of the last step, 0 before the first
    train: float | None  # mean over the steps since the look before; None before the first
    select: float  # over the whole select part, in evaluation mode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Healed:
    """A healed copy of the pruned model, and how it came about."""

    model: nn.Module  # with the best weights seen; after a divergence, those before healing
    curve: tuple[Look, ...]  # the first is the model before healing
    best_step: int  # whose weights the model has; 0: those before healing
    steps: int  # taken
    stopped: Stopped
    reason: str  # in words
    seconds: float
