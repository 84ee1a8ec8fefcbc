"""What the dense model computes at each layer to be fitted, within a memory budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.refit.places import Place
from actprune.running.joins import tapping

BUDGET = 1 << 30  # bytes of targets kept at a time
TAPS = 8  # layers read in one pass; every further one slows down every operation


class DenseTargets:
    """The dense model's output at a layer, or the sum it is added into where there is one.

    Layers are asked for in the order in which they run. Each reading of the data fills as many of
    the next layers as the budget holds, so that a deep model is not run once per layer.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        places: Sequence[Place],
        rows: Callable[[str, Tensor, int], Tensor],
        budget: int = BUDGET,
    ) -> None:
        """`rows(layer, output, index of the batch)` takes what is kept of an output, [R, D]."""
        self._model, self._batches, self._places = model, batches, list(places)
        self._rows, self._budget = rows, budget
        self._kept: dict[str, list[Tensor]] = {}

    def take(self, name: str) -> list[Tensor]:
        """The target rows at the layer `name`, [R, D] a batch; they are then forgotten."""
        if name not in self._kept:
            start = [p.name for p in self._places].index(name)
            self._read(self._places[start:])
        return self._kept.pop(name)

    def _read(self, wanted: Sequence[Place]) -> None:
        chosen: list[Place] = []
        samples = sum(map(len, self._batches))
        for i, batch in enumerate(self._batches):
            now = wanted[:TAPS] if i == 0 else chosen
            with ExitStack() as stack:
                taps = {p.name: stack.enter_context(tapping(self._model, p.name)) for p in now}
                batch.run(self._model)
            size = 0
            for place in now:
                tap = taps[place.name]
                value = tap.total if place.joins else tap.output
                assert value is not None
                rows = self._rows(place.name, value, i)
                size += rows.numel() * rows.element_size() * samples // len(batch)
                if i == 0:
                    if chosen and size > self._budget:
                        break
                    chosen.append(place)
                self._kept.setdefault(place.name, []).append(rows)
