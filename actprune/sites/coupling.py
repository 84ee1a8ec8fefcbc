"""What torch-pruning's dependency graph says is coupled to a layer, behind a guard."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch_pruning as tp
from torch import nn
from torch_pruning._helpers import _HybridIndex
from torch_pruning.dependency.index_mapping import update_index_mapping
from torch_pruning.ops import _OutputOp

from actprune.data.batch import Batch
from actprune.running.forward import in_one_line
from actprune.running.outputs import primary
from actprune.sites.feeds import without_saved_tensors
from actprune.sites.grouped import (
    JoinedError,
    PartOfAGroupError,
    is_grouped,
    link_groups,
    together,
)
from actprune.sites.guard import WorkExceededError, call_budget
from actprune.sites.padded import map_padded_channels
from actprune.sites.site import Slot

CALLS_A_MODULE = 20_000  # building a graph makes about 500 calls a module
LAYOUTS = 16  # of the units at one node; a sum of concatenations has 2
ENTRIES = 4_000_000  # walked for one layer; a block of a stream has 5 to 8 nodes of N units

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
MIXERS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LocalResponseNorm)


# (node, pruning function, entries, their units) for everything that shrinks together
Group: TypeAlias = list[tuple[Any, Any, list[int], list[int]]]


class RefusedError(Exception):
    """The layer's units cannot be removed; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupled:
    """What shrinks together with a layer's outputs."""

    units: int  # as many as the layer's outputs, or fewer, each of several neighbouring outputs
    slots: tuple[Slot, ...]  # in no order
    product: bool  # whether two of the tensors that hold the units are multiplied with each other


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Couplings:
    """A traced model, ready to say which slots shrink together with a layer's outputs."""

    graph: Any
    names: Mapping[nn.Module, str]

    @classmethod
    def trace(cls, model: nn.Module, batch: Batch) -> Couplings:
        """Trace `model`, which must be in evaluation mode with every parameter needing a gradient:
        torch-pruning follows autograd and silently skips what is frozen.

        Raises:
            RefusedError: if torch-pruning fails on this model or does not come to an end.
        """
        names = {m: n for n, m in model.named_modules()}
        try:
            with (
                warnings.catch_warnings(),
                call_budget(CALLS_A_MODULE * (len(names) + 10), "torch_pruning"),
                without_saved_tensors(),
            ):
                warnings.simplefilter("ignore")
                graph = tp.DependencyGraph().build_dependency(
                    model,
                    example_inputs=batch.args,
                    forward_fn=lambda m, _: batch.run(m),
                    output_transform=primary,
                    verbose=False,
                )
                update_index_mapping(graph)
                map_padded_channels(graph)
                link_groups(graph)
        except WorkExceededError:
            raise RefusedError(
                "torch-pruning's trace of this model does not come to an end"
            ) from None
        except Exception as e:  # a third-party tracer over arbitrary models may raise anything
            raise RefusedError(f"torch-pruning cannot trace this model ({in_one_line(e)})") from e
        return cls(graph=graph, names=names)

    def of(self, name: str, module: nn.Conv2d | nn.Linear) -> Coupled:
        """What shares the outputs of `module`.

        Raises:
            RefusedError: with the reason why these outputs cannot be removed as units.
        """
        if module not in self.graph.module2node:
            raise RefusedError("no path leads from it to the model's output")
        slots: list[Slot] = []
        product = False
        units, group = self._group(module)
        for node, pruning, index, root in group:
            target = node.module
            if target not in self.names:
                # an operation without weights: activation, pooling, reshape, addition
                product |= "Mul" in str(getattr(target, "_grad_fn", "")) and _joins(node, group)
                continue
            made = self.graph.is_out_channel_pruning_fn(pruning)
            role = "consumer"
            if isinstance(target, NORMS):
                role = "norm"
            elif is_grouped(target):
                if not made:
                    continue  # what it reads is no axis of its tensors
                role = "grouped"
            elif made:
                role = "producer"
            slots.append(_slot(self.names[target], role, index, root, units))
        return Coupled(units=units, slots=tuple(slots), product=product)

    def _check(self, module: nn.Module, target: Any) -> None:
        """Raise RefusedError if the outputs of `module` may not be coupled with `target`."""
        if isinstance(target, _OutputOp):
            raise RefusedError("its units are the model's output")
        if isinstance(target, nn.Parameter):
            raise RefusedError("its units are coupled with a bare parameter of the model")
        if target not in self.names or isinstance(target, NORMS):
            return
        other = self.names[target]
        if isinstance(target, MIXERS):
            raise RefusedError(f"{other} ({type(target).__name__}) mixes its units")
        if not isinstance(target, (nn.Linear, nn.Conv2d)):
            raise RefusedError(f"it is coupled with {other} ({type(target).__name__})")
        if target is module and is_grouped(target):
            raise RefusedError("it is a grouped convolution, whose groups are cut with its inputs")

    def _group(self, module: nn.Module) -> tuple[int, Group]:
        """The number of units, and what shrinks together with them.

        torch-pruning's own walk over its graph never ends where a cycle of slices and
        concatenations (rotary embeddings) maps the units to new entries at every turn, and slows
        down on the way there. This is the same walk with a limit on the layouts of one node and on
        the entries of all, and it ends at the first coupling that rules a cut out. Where a grouped
        convolution puts units together, it begins again with larger ones.

        Raises:
            RefusedError: if there are more of them, a coupling rules a cut out, or torch-pruning
                fails.
        """
        outputs, size = len(module.get_parameter("weight")), 1
        while True:
            try:
                return outputs // size, self._walk(module, size)
            except JoinedError as e:
                size *= together(e.sets, outputs // size)
            except RefusedError:
                raise
            except Exception as e:  # as above
                raise RefusedError(
                    f"torch-pruning cannot find its couplings ({in_one_line(e)})"
                ) from e

    def _walk(self, module: nn.Module, size: int) -> Group:
        """Everything that shrinks with units of `size` neighbouring outputs."""
        root = self.graph.module2node[module]
        start = (root, self.graph.get_pruner_of_module(module).prune_out_channels)
        self._check(module, module)
        outputs = range(len(module.get_parameter("weight")))
        layouts: dict[tuple[Any, Any], list[list[_HybridIndex]]] = {}
        stack = [(start, [_HybridIndex(idx=i, root_idx=i // size) for i in outputs])]
        layouts[start] = [stack[0][1]]
        walked = 0
        while stack:
            (node, pruning), entries = stack.pop()
            for dep in node.dependencies:
                if not dep.is_triggered_by(pruning):
                    continue
                found = entries
                try:
                    for mapping in dep.index_mapping:
                        found = found if mapping is None else mapping(found)
                except PartOfAGroupError:
                    raise RefusedError(_torn(self.names[node.module], node.module)) from None
                reached = (dep.target, dep.handler)
                known = layouts.setdefault(reached, [])
                if not found or found in known:
                    continue
                if not known:
                    self._check(module, dep.target.module)
                walked += len(found)
                if len(known) >= LAYOUTS or walked > ENTRIES:
                    raise RefusedError("torch-pruning's search for its couplings does not end")
                known.append(found)
                stack.append((reached, found))
        group = []
        for (node, pruning), known in layouts.items():
            merged: dict[int, int] = {}
            for entries in known:
                for i in entries:
                    merged.setdefault(i.idx, i.root_idx)
            if merged:
                group.append((node, pruning, list(merged), list(merged.values())))
        return group


def _joins(node: Any, group: Group) -> bool:
    """Whether the node is reached by the units from two sides."""
    return len({id(n) for n, *_ in group} & {id(n) for n in node.inputs}) > 1


def _torn(name: str, layer: nn.Conv2d) -> str:
    return (
        f"{name} is a grouped convolution ({layer.groups} groups that read "
        f"{layer.in_channels // layer.groups} channels each and make "
        f"{layer.out_channels // layer.groups}), and its units are only a part of some groups"
    )


def _slot(name: str, role: Any, index: list[int], root: list[int], units: int) -> Slot:
    """Read torch-pruning's index lists as offset and repeat, or refuse an irregular layout."""
    pairs = sorted(zip(index, root, strict=True))
    repeat, rest = divmod(len(pairs), units)
    offset = pairs[0][0] if pairs else 0
    regular = not rest and all(
        (i, u) == (offset + k, k // repeat) for k, (i, u) in enumerate(pairs)
    )
    if not regular or not repeat:
        raise RefusedError(f"its units are not laid out one after another in {name}")
    return Slot(module=name, role=role, offset=offset, repeat=repeat)
