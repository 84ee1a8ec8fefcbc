"""Where the forward passes of somebody else's loop begin and end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from actprune.running.eager import check_not_compiling


@contextmanager
def watching_passes(
    model: nn.Module,
    begin: Callable[[tuple[Any, ...], Mapping[str, Any]], None],
    end: Callable[[bool], None],
) -> Iterator[None]:
    """Call `begin(args, kwargs)` before each forward pass of `model`, and `end(whole)` after it;
    `whole` is False where the pass, or `begin`, raised. No hook outlives the block.

    A call of the model within its own forward pass belongs to the pass around it, and what a
    backward pass runs again (a checkpointed model) is no pass.

    Raises:
        ActpruneError: within a pass that compiled code runs.
    """
    depth = 0

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal depth
        if in_backward():
            return
        depth += 1
        check_not_compiling()
        if depth == 1:
            begin(args, kwargs)

    def leave(_m: nn.Module, _a: tuple[Any, ...], _k: dict[str, Any], output: Any) -> None:
        nonlocal depth
        if in_backward():
            return
        depth -= 1
        if depth == 0:
            # torch calls this hook without an output, inside its handler, where the pass raised
            end(output is not None or sys.exc_info()[0] is None)

    before = model.register_forward_pre_hook(enter, with_kwargs=True)
    try:
        after = model.register_forward_hook(leave, with_kwargs=True, always_call=True)
        try:
            yield
        finally:
            after.remove()
    finally:
        before.remove()


def in_backward() -> bool:
    """Whether autograd is running a backward pass in this thread, and calls us from inside it."""
    return torch._C._current_graph_task_id() != -1
