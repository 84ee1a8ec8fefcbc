"""A site's activation function: where it runs, and what is held against what.

Shapes: S samples, U units, P positions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from actprune.auditing.calls import AFFINE, STRAIGHT
from actprune.sites.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """Where a site's activation function runs, and what it is."""

    site: Site
    names: tuple[str, ...]  # of its calls; empty where the consumer reads the producer's own output
    producer: str
    conv: bool  # the units lie along axis 1, not along the last
    part: int  # of the producer's output, where that was split into gate and value; -1 if not
    restarts: int  # normalizations, poolings and reshapes before it
    step: int  # elementwise calls from the pre-activation on

    @property
    def name(self) -> str:
        return ", ".join(self.names) or "none"

    @property
    def compared(self) -> str:
        """What is held against what, in words."""
        if not self.names:
            return f"what {self.site.consumer.module} reads, with itself: no activation function"
        words = f"input and output of {self.name} behind {self.producer}"
        if self.site.kind == "gated":
            return f"{words} (the gate; the product with the value is left out)"
        return words

    @property
    def straight(self) -> bool:
        """Whether different inputs give equal outputs only where the function is flat."""
        return set(self.names) <= STRAIGHT | AFFINE

    def by_unit(self, x: Tensor, samples: int) -> Tensor:
        """A pre-activation or activation as [S, U, P]; units of several channels give each
        channel's pixels as positions."""
        if self.conv:
            return x.reshape(samples, x.shape[1] // self.site.producer.repeat, -1)
        return x.reshape(samples, -1, x.shape[-1]).transpose(1, 2)

    def as_before(self, x_SUP: Tensor, like: Tensor) -> Tensor:
        """The inverse of `by_unit`, in the shape and type of `like`."""
        x = x_SUP if self.conv else x_SUP.transpose(1, 2)
        return x.reshape(like.shape).to(like.dtype)


# (activation, pre-activation, activation's output) -> what takes the output's place, or None
See: TypeAlias = Callable[[Activation, Tensor, Tensor], Tensor | None]
