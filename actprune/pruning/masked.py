"""Try a plan without surgery."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from actprune.data.source import Source
from actprune.planning.result import Plan
from actprune.profiling.result import Profile
from actprune.pruning.prune import compensated
from actprune.running.substitute import substituted
from actprune.running.wrapped import at_hand


@contextmanager
def masked(
    model: nn.Module,
    plan: Plan,
    profile: Profile | None = None,
    *,
    batches: Source | Iterable[Any] | None = None,
) -> Iterator[nn.Module]:
    """Within the block `model` computes what the pruned model would; its weights stay untouched."""
    model = at_hand(model)
    with substituted(model, compensated(model, plan, profile, batches=batches)):
        yield model
