"""What the zoo knows about one of its models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from actprune.data.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A small network that is trained on the spot, and labelled samples it has never seen."""

    name: str
    summary: str
    build: Callable[[], nn.Module]  # the architecture alone, with untrained weights
    train: Callable[[int], nn.Module]  # seed >= 0 -> trained, in evaluation mode; seconds, no cache
    data: Callable[[], Source]  # contains no training sample
    modules: tuple[str, ...]  # whose source text, taken together, is the training recipe
