"""What the dense model computes at each consumer, batch by batch, within a memory budget."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.joins import tapping

BUDGET = 1 << 30  # bytes of targets kept at a time


class DenseTargets:
    """The dense model's output at a consumer, or the sum it is added into where there is one.

    Consumers are asked for in the order in which they run. Each reading of the data fills as many
    of the next consumers as the budget holds, so that a deep model is not run once per consumer.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        consumers: Sequence[str],
        joins: dict[str, bool],
        budget: int = BUDGET,
    ) -> None:
        self._model, self._batches, self._consumers = model, batches, list(consumers)
        self._joins, self._budget = joins, budget
        self._kept: dict[str, list[Tensor]] = {}

    def take(self, consumer: str) -> list[Tensor]:
        """The targets at `consumer`, one tensor a batch; they are then forgotten."""
        if consumer not in self._kept:
            self._read(self._consumers[self._consumers.index(consumer) :])
        return self._kept.pop(consumer)

    def _read(self, wanted: list[str]) -> None:
        chosen: list[str] = []
        samples = sum(map(len, self._batches))
        for i, batch in enumerate(self._batches):
            now = wanted if i == 0 else chosen
            with ExitStack() as stack:
                taps = {name: stack.enter_context(tapping(self._model, name)) for name in now}
                batch.run(self._model)
            size = 0
            for name in now:
                tap = taps[name]
                value = tap.total if self._joins[name] else tap.output
                assert value is not None
                size += value.numel() * value.element_size() * samples // len(batch)
                if i == 0:
                    if chosen and size > self._budget:
                        break
                    chosen.append(name)
                self._kept.setdefault(name, []).append(value)


def find_joins(model: nn.Module, batch: Batch, consumers: Sequence[str]) -> dict[str, bool]:
    """Whether each consumer's output is added into a residual stream."""
    few = batch.select(torch.arange(1))
    joins = {}
    for name in consumers:
        with tapping(model, name) as tap:
            few.run(model)
        joins[name] = tap.total is not None
    return joins
