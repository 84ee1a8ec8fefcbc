"""One consumer in the stream of the model as pruned so far: what it reads, and ought to return."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.joins import Tap, tapping
from actprune.running.substitute import Affine, substituted


class Stream:
    """One consumer inside the model as pruned so far."""

    def __init__(
        self,
        model: nn.Module,
        name: str,
        upstream: Mapping[str, Affine],
        own: Affine,
        joins: bool,
    ) -> None:
        self._model, self.name, self._joins = model, name, joins
        self._maps = {**upstream, name: own}
        self.own = own

    def read(self, batch: Batch, dense: Tensor) -> tuple[Tensor, Tensor]:
        """The consumer's input, and the output it ought to have, given the dense target."""
        if not self._joins:
            return self.input(batch), dense
        tap = self._run(batch, stop_at="total")
        assert tap.input is not None
        assert tap.output is not None
        assert tap.total is not None
        lost = dense - tap.total
        if tap.scale is not None:
            shape = [1] * lost.ndim
            shape[1] = -1
            # a channel that the normalization multiplies by nothing cannot be corrected
            factor = tap.scale.reshape(shape)
            lost = torch.where(factor.abs() > 1e-6, lost / factor, 0.0)
        return tap.input, tap.output + lost

    def input(self, batch: Batch) -> Tensor:
        """The consumer's input alone."""
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
