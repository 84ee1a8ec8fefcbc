"""Bring a method to the largest model within the target by its own setting."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from benchmarks.costs import cost_of

S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A pruned model; `seconds` of one pruning, statistics and compensation included, without
    the search for the setting that meets the target."""

    model: nn.Module
    seconds: float
    setting: str = ""  # as the method counts it


def largest(
    make: Callable[[S], nn.Module],
    settings: Sequence[S],
    budget: float,
    example: Batch,
    *,
    stride: int | None = None,
) -> Made:
    """The first of `settings` (largest model first) whose model has at most `budget` MACs.

    By bisection: MACs fall along the settings. Where a method's do not (torch-pruning's global
    pruning leaves layers whole that it would empty), `stride` asks for every so manyth setting
    first, from the largest model on.

    Raises:
        ActpruneError: if even the last setting's model is larger.
    """

    def made(i: int) -> tuple[Made, float]:
        start = time.perf_counter()
        model = make(settings[i])
        seconds = time.perf_counter() - start
        macs = cost_of(model, example).macs
        return Made(model=model, seconds=seconds, setting=f"{settings[i]:.6g}"), macs

    last = len(settings) - 1
    low, macs = 0, float("inf")
    for high in [*range(0, last, stride), last] if stride else [last]:
        best, macs = made(high)
        if macs <= budget:
            break
        low = high + 1
    else:
        raise ActpruneError(
            f"Its smallest model tried has {macs:,.0f} MACs, above the asked {budget:,.0f}."
        )
    while low < high:
        middle = (low + high) // 2
        found, macs = made(middle)
        if macs <= budget:
            best, high = found, middle
        else:
            low = middle + 1
    return best
