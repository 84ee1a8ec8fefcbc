"""Grouped convolutions on torch-pruning's graph, which knows no coupling between the channels that
such a layer reads and those it makes, but where a group makes a single channel.

Here each group is cut whole: what it reads goes together, and what it makes goes with it. A
depthwise convolution is the case of one channel a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch_pruning._helpers import _HybridIndex
from torch_pruning.dependency.dependency import Dependency


class PartOfAGroupError(Exception):
    """Some channels of a group would be cut without the others of it."""


class JoinedError(Exception):
    """Units that a convolution's groups put together, a set for each group that holds several."""

    def __init__(self, sets: Sequence[frozenset[int]]) -> None:
        super().__init__("some groups hold several units")
        self.sets = sets


def is_grouped(module: Any) -> bool:
    """Whether its outputs are made group by group, each from inputs of its own."""
    return isinstance(module, nn.Conv2d) and module.groups > 1


def link_groups(graph: Any) -> None:
    """Let every grouped convolution lead from what its groups read to what they make, and back.

    The walk then raises JoinedError or PartOfAGroupError, see `_Across`.
    """
    plain = graph.get_pruner_of_module(nn.Conv2d(1, 1, 1))
    into, out = plain.prune_in_channels, plain.prune_out_channels
    for node in [n for n in graph.module2node.values() if is_grouped(n.module)]:
        # where a group makes one channel, torch-pruning takes its inputs for its outputs
        for dep in node.dependencies:
            dep.trigger = into if dep.target in node.inputs else out
        for other in (*node.inputs, *node.outputs):
            for dep in other.dependencies:
                if dep.target is node:
                    dep.handler = into if other in node.inputs else out
        read = node.module.in_channels // node.module.groups
        made = node.module.out_channels // node.module.groups
        for trigger, handler, each, onto in ((into, out, read, made), (out, into, made, read)):
            across = Dependency(trigger=trigger, handler=handler, source=node, target=node)
            across.index_mapping = [_Across(each, onto), None]
            node.dependencies.append(across)


@dataclass(frozen=True, slots=True)
class _Across:
    """From one side of a grouped convolution, `each` entries a group, to the other, `onto`."""

    each: int
    onto: int

    def __call__(self, entries: Sequence[_HybridIndex]) -> list[_HybridIndex]:
        """Raises PartOfAGroupError if a group is not there as a whole, and JoinedError if it holds
        several units."""
        units: dict[int, set[int]] = {}
        found: dict[int, set[int]] = {}
        for i in entries:
            units.setdefault(i.idx // self.each, set()).add(i.root_idx)
            found.setdefault(i.idx // self.each, set()).add(i.idx)
        if any(len(f) < self.each for f in found.values()):
            raise PartOfAGroupError
        if any(len(u) > 1 for u in units.values()):
            raise JoinedError([frozenset(u) for u in units.values() if len(u) > 1])
        return [
            _HybridIndex(idx=group * self.onto + k, root_idx=unit)
            for group, (unit,) in sorted(units.items())
            for k in range(self.onto)
        ]


def together(sets: Sequence[frozenset[int]], units: int) -> int:
    """The least number of neighbours, dividing `units`, that go together as one unit so that no set
    is torn apart; `units` itself if no less will do."""
    return next(
        k
        for k in range(1, units + 1)
        if units % k == 0 and all(min(s) // k == max(s) // k for s in sets)
    )
