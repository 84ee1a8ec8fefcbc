"""A site: a place where units can be removed, and every tensor axis that shrinks with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

Role: TypeAlias = Literal["producer", "norm", "grouped", "consumer"]
Kind: TypeAlias = Literal["linear", "gated", "conv", "residual"]

# tensor -> the axis along which the units lie, for each role a module can play at a site; a grouped
# convolution (depthwise, where a group is a channel) loses whole groups, so inputs and outputs, and
# a unit is as many neighbouring channels as the groups it runs through hold
AXES: Mapping[Role, Mapping[str, int]] = {
    "producer": {"weight": 0, "bias": 0},
    "norm": {"weight": 0, "bias": 0, "running_mean": 0, "running_var": 0},
    "grouped": {"weight": 0, "bias": 0},
    "consumer": {"weight": 1},
}


class Slot(BaseModel):
    """Where the units of a site lie in one module.

    Unit u owns the entries offset + u * repeat, ..., offset + u * repeat + repeat - 1 of each
    axis; repeat > 1 where a convolution's channels were flattened before the module, or where a
    unit is a group of several channels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str
    role: Role
    offset: int = 0
    repeat: int = 1
    norms_after: tuple[str, ...] = ()  # of a consumer: batch normalizations straight behind it
    tensor: int = 0  # of a consumer: which of the tensors that the site's consumers read, from 0

    def index(self, units: Sequence[int] | Tensor) -> Tensor:
        """The entries owned by `units`: int64 [len(units) * repeat]."""
        u = torch.as_tensor(units, dtype=torch.int64)
        return (self.offset + u[:, None] * self.repeat + torch.arange(self.repeat)).reshape(-1)


class Site(BaseModel):
    """`units` units that go together: made by one producer and read, after the nonlinearity, by one
    consumer or several.

    At a `gated` site each unit is made by two outputs, f(gate) * value, and the site has two
    producer slots in the order of their calls: in two modules, or in the halves of one. At a
    `residual` site the outputs of several producers add up to the units of a stream.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # the first producer's module name
    kind: Kind
    units: int
    slots: tuple[Slot, ...]
    obstacle: str | None = None  # why the units can be watched but not cut; None where they can be
    flat: bool = False  # the consumer reads samples and positions as one axis, [S * P, units]

    @model_validator(mode="before")
    @classmethod
    def _from_one_consumer(cls, given: Any) -> Any:
        """Files from when a site had one consumer keep `norms_after` beside the slots."""
        if not isinstance(given, dict) or "norms_after" not in given:
            return given
        given = dict(given)
        norms = given.pop("norms_after")
        slots = [Slot.model_validate(s) for s in given.get("slots", ())]
        given["slots"] = tuple(
            s.model_copy(update={"norms_after": tuple(norms)}) if s.role == "consumer" else s
            for s in slots
        )
        return given

    @property
    def producer(self) -> Slot:
        """The first of the producers; the only one unless the site is gated or residual."""
        return self.producers[0]

    @property
    def producers(self) -> tuple[Slot, ...]:
        return tuple(s for s in self.slots if s.role == "producer")

    @property
    def consumer(self) -> Slot:
        """The first of the consumers to run."""
        return self.consumers[0]

    @property
    def consumers(self) -> tuple[Slot, ...]:
        """In the order in which they run."""
        return tuple(s for s in self.slots if s.role == "consumer")

    @property
    def watched(self) -> tuple[Slot, ...]:
        """The consumers at whose inputs the units are observed: the first to read each tensor."""
        first = {s.tensor: s for s in reversed(self.consumers)}
        return tuple(s for s in self.consumers if first[s.tensor] is s)

    @property
    def norms_after(self) -> tuple[str, ...]:
        """The batch normalizations straight behind the first consumer."""
        return self.consumer.norms_after

    @property
    def readers(self) -> str:
        """The consumers' names, as in a sentence."""
        names = [s.module for s in self.consumers]
        return " and ".join([", ".join(names[:-1])] * bool(names[:-1]) + names[-1:])
