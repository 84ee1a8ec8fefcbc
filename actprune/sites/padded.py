"""Channels that a shortcut pads with zeros (option A of He et al. 2016, section 4.2), on
torch-pruning's graph, which takes a padding for an operation that leaves channels where they are.
"""

from __future__ import annotations

from typing import Any

from torch_pruning.dependency.index_mapping import _ConcatIndexMapping, _FlattenIndexMapping
from torch_pruning.ops import OPTYPE


def map_padded_channels(graph: Any) -> None:
    """Let the entries behind each padding of an image's channels lie that much further on.

    As in torch-pruning's own maps, an edge's map is set at the operation and at what it reads.
    """
    nodes = list(graph.module2node.values())
    spans = [(node, span) for node in nodes if (span := _span(node.grad_fn)) is not None]
    for node, span in spans:
        _set(
            node,
            _ConcatIndexMapping(offset=span, reverse=False),
            _ConcatIndexMapping(offset=span, reverse=True),
        )
    # channels are counted back along one path, which may be that around a padding: then a
    # flattening has been given the wrong length
    for node in nodes if spans else ():
        pixels = _pixels(node)
        if pixels == 1:
            _set(node, None, None)
        elif pixels is not None:
            _set(
                node,
                _FlattenIndexMapping(stride=pixels, reverse=False),
                _FlattenIndexMapping(stride=pixels, reverse=True),
            )


def _set(node: Any, forward: Any, back: Any) -> None:
    for before in node.inputs:
        for dep in node.dependencies:
            if dep.target is before:
                dep.index_mapping[0] = back
        for dep in before.dependencies:
            if dep.target is node:
                dep.index_mapping[0] = forward


def _span(grad_fn: Any) -> tuple[int, int] | None:
    """First and last-plus-one channel that a padding of [S, C, H, W] does not add; None for any
    other operation."""
    pad = getattr(grad_fn, "_saved_pad", None)
    if pad is None or len(pad) < 6 or "ConstantPad" not in grad_fn.name():
        return None
    shape = _shape(grad_fn)
    if len(shape) != 4:
        return None
    # from the last axis on, two numbers each
    return int(pad[4]), shape[1] - int(pad[5])


def _pixels(node: Any) -> int | None:
    """Entries a channel where `node` flattens [S, C, ...] to [S, C * pixels]; else None."""
    if node.type != OPTYPE.RESHAPE or len(node.inputs) != 1:
        return None
    before, after = _shape(node.inputs[0].grad_fn), _shape(node.grad_fn)
    if len(after) != 2 or len(before) not in (2, 4) or before[0] != after[0] or not before[1]:
        return None
    return after[1] // before[1]


def _shape(grad_fn: Any) -> tuple[int, ...]:
    """Of the operation's result, where a backward pass would begin; () where it is not known."""
    known = getattr(grad_fn, "_input_metadata", ())
    return tuple(int(n) for n in known[0].shape) if known else ()
