"""Which dense layers make what another dense layer reads, followed through autograd's graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.outputs import every_tensor

MOST_MAKERS = 2  # a gate and a value

Node: TypeAlias = Any  # of autograd's graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """All that `consumer` reads is made by `makers`, and all that they make goes through it.

    Nothing is known yet about single units.
    """

    consumer: str
    makers: tuple[str, ...]  # one or two, in the order of their calls
    rows: int  # of the consumer's input, [..., width] as [rows, width]
    width: int
    widths: tuple[int, ...]  # of the makers' outputs


@dataclass(slots=True)
class _Calls:
    """Nodes and shapes of the dense layers' inputs and outputs, in the order of the calls."""

    inputs: dict[str, tuple[Node, torch.Size]]
    outputs: dict[str, tuple[tuple[Node, ...], int]]  # of embeddings too: units end there


def find_feeds(model: nn.Module, batch: Batch) -> list[Feed]:
    """The feeds among the model's dense layers, in the order in which their consumers run.

    A dense layer is any module without children whose weight is a matrix between the last axes of
    its input and its output: nn.Linear, transformers' Conv1D and the like. The forward pass runs
    with gradients on, which must be enabled for the parameters; nothing is kept for a backward
    pass. Empty if the model cannot run so.
    """
    try:
        with without_saved_tensors(), _recording(model) as calls:
            outputs = list(every_tensor(batch.run(model)))
    except Exception:  # the user's own forward may raise anything once gradients are on
        return []
    maker_of = {n: name for name, (nodes, _) in calls.outputs.items() for n in nodes}
    order = {name: i for i, name in enumerate(calls.outputs)}
    feeds = []
    for consumer, (node, shape) in calls.inputs.items():
        makers = _nearest([node], maker_of, MOST_MAKERS)
        if not makers or not makers <= calls.inputs.keys():
            continue
        names = sorted(makers, key=lambda n: order[n])
        # back from the outputs and from the makers themselves, but not through the consumer: a
        # maker reached so has another reader
        ends = [x.grad_fn for x in outputs] + [calls.inputs[n][0] for n in names]
        stops = {n: name for n, name in maker_of.items() if name in (*names, consumer)}
        if (_nearest(ends, stops, len(stops)) or set()) <= {consumer}:
            feeds.append(
                Feed(
                    consumer=consumer,
                    makers=tuple(names),
                    rows=shape[:-1].numel(),
                    width=shape[-1],
                    widths=tuple(calls.outputs[n][1] for n in names),
                )
            )
    return feeds


@contextmanager
def without_saved_tensors() -> Iterator[None]:
    """Build autograd's graph in the block without the activations a backward pass would need."""
    with torch.autograd.graph.saved_tensors_hooks(lambda _: None, _no_backward):
        yield


def _no_backward(_: None) -> Tensor:
    raise RuntimeError("this graph was built to be looked at, not for a backward pass")


@contextmanager
def _recording(model: nn.Module) -> Iterator[_Calls]:
    calls = _Calls(inputs={}, outputs={})

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            if not isinstance(out, Tensor) or out.grad_fn is None or not out.ndim:
                return
            # an activation in place replaces the node of a view, but not that of its base
            nodes = (out.grad_fn,) if out._base is None else (out.grad_fn, out._base.grad_fn)
            known = calls.outputs.pop(name, ((), 0))[0]
            calls.outputs[name] = (*known, *nodes), out.shape[-1]
            if args and is_dense(module, args[0], out):
                calls.inputs[name] = nodes_before[name], args[0].shape

        return hook

    nodes_before: dict[str, Node] = {}

    def note(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0] if args else None
            nodes_before[name] = x.grad_fn if isinstance(x, Tensor) else None

        return hook

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if holds_matrix(module):
                hooks.callback(module.register_forward_pre_hook(note(name)).remove)
                hooks.callback(module.register_forward_hook(watch(name)).remove)
        yield calls


def holds_matrix(module: nn.Module) -> bool:
    """Whether it has no children and a parameter `weight` with two axes."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not any(module.children())


def is_dense(module: nn.Module, x: object, out: Tensor) -> bool:
    """Whether the weight of `module` lies between the last axes of `x` and `out`."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or not x.ndim or not out.ndim:
        return False
    shape = tuple(module.get_parameter("weight").shape)
    return shape in {(x.shape[-1], out.shape[-1]), (out.shape[-1], x.shape[-1])}


def _nearest(starts: Iterable[Node], name_of: Mapping[Node, str], most: int) -> set[str] | None:
    """The names of the nodes in `name_of` met first on every path back; None if over `most`."""
    found: set[str] = set()
    stack = [n for n in starts if n is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if node in name_of:
            found.add(name_of[node])
            if len(found) > most:
                return None
            continue
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                stack.append(before)
    return found
