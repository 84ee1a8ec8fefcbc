"""A site: a place where units can be removed, and every tensor axis that shrinks with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

Role: TypeAlias = Literal["producer", "norm", "consumer"]
Kind: TypeAlias = Literal["linear", "gated", "conv"]

# tensor -> the axis along which the units lie, for each role a module can play at a site
AXES: Mapping[Role, Mapping[str, int]] = {
    "producer": {"weight": 0, "bias": 0},
    "norm": {"weight": 0, "bias": 0, "running_mean": 0, "running_var": 0},
    "consumer": {"weight": 1},
}


class Slot(BaseModel):
    """Where the units of a site lie in one module.

    Unit u owns the entries offset + u * repeat, ..., offset + u * repeat + repeat - 1 of each
    axis; repeat > 1 where a convolution's channels were flattened before the module.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str
    role: Role
    offset: int = 0
    repeat: int = 1

    def index(self, units: Sequence[int] | Tensor) -> Tensor:
        """The entries owned by `units`: int64 [len(units) * repeat]."""
        u = torch.as_tensor(units, dtype=torch.int64)
        return (self.offset + u[:, None] * self.repeat + torch.arange(self.repeat)).reshape(-1)


class Site(BaseModel):
    """`units` units made by one producer and read, after the nonlinearity, by one consumer.

    At a `gated` site each unit is made by two outputs, f(gate) * value, and the site has two
    producer slots in the order of their calls: in two modules, or in the halves of one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # the first producer's module name
    kind: Kind
    units: int
    slots: tuple[Slot, ...]
    norms_after: tuple[str, ...] = ()  # batch normalizations straight behind the consumer
    obstacle: str | None = None  # why the units can be watched but not cut; None where they can be
    flat: bool = False  # the consumer reads samples and positions as one axis, [S * P, units]

    @property
    def producer(self) -> Slot:
        """The first of the producers; the only one unless the site is gated."""
        return self.producers[0]

    @property
    def producers(self) -> tuple[Slot, ...]:
        return tuple(s for s in self.slots if s.role == "producer")

    @property
    def consumer(self) -> Slot:
        return next(s for s in self.slots if s.role == "consumer")
