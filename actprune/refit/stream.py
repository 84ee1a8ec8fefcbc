"""One layer in the stream of the model as pruned so far: what it reads, and ought to return."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.joins import Tap, tapping
from actprune.running.substitute import Affine, substituted


class Stream:
    """One layer inside the model as pruned so far."""

    def __init__(
        self,
        model: nn.Module,
        name: str,
        upstream: Mapping[str, Affine],
        own: Affine,
        *,
        joins: bool,
    ) -> None:
        self._model, self.name, self._joins = model, name, joins
        self._maps = {**upstream, name: own}
        self.own = own

    def read(
        self, batch: Batch, dense_RD: Tensor, rows: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The layer's input, and the rows [R, D] that its output ought to have, given the dense
        target's; `rows` takes them from an output."""
        if not self._joins:
            return self.input(batch), dense_RD
        tap = self._run(batch, stop_at="total")
        assert tap.input is not None
        assert tap.output is not None
        return tap.input, due(rows, dense_RD, tap.output, tap.total, tap.scale)

    def input(self, batch: Batch) -> Tensor:
        """The layer's input alone."""
        tap = self._run(batch, stop_at="output")
        assert tap.input is not None
        return tap.input

    def _run(self, batch: Batch, stop_at: str) -> Tap:
        with (
            substituted(self._model, self._maps),
            tapping(self._model, self.name, stop_at=stop_at) as tap,
        ):
            batch.run(self._model)
        return tap


def due(
    rows: Callable[[Tensor], Tensor],
    dense_RD: Tensor,
    output: Tensor,
    total: Tensor | None,
    scale: Tensor | None,
) -> Tensor:
    """The rows [R, D] that a layer's output ought to have: the dense model's, or where it joins a
    stream its own, plus what the sum has lost over the factor of the normalizations between."""
    if total is None:
        return dense_RD
    lost_RD = dense_RD - rows(total)
    if scale is not None:
        # a channel that the normalization multiplies by nothing cannot be corrected
        lost_RD = torch.where(scale.abs() > 1e-6, lost_RD / scale, 0.0)
    return rows(output) + lost_RD
