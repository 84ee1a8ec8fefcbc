"""Run a model and leave no trace: weights, buffers, modes, hooks and random state as before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from actprune.running.offloaded import execution_device


@contextmanager
def undisturbed(model: nn.Module, *, grad: bool = False) -> Iterator[None]:
    """Put `model` in evaluation mode for the block and restore everything after it.

    Training flags, buffers (a module may write or replace them even in evaluation mode) and the CPU
    and CUDA random states are restored bit by bit, and hooks that the block forgot are removed,
    also when it raises. A surrounding torch.inference_mode is suspended. With `grad`, autograd is
    on and every floating parameter requires a gradient inside the block (its flag is restored).

    What torch.compile made is run eagerly, since its graphs call no hooks set later; and autocast
    casts weights anew each time, since a copy kept from a pass without gradients has none.
    """
    modes = [(m, m.training) for m in model.modules()]
    registries = [(m._buffers, dict(m._buffers)) for m in model.modules()]
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not b.is_meta]
    hooks = [
        (registry, set(registry))
        for m in model.modules()
        for registry in (m._forward_hooks, m._forward_pre_hooks)
    ]
    # by name: weights that are moved in and out are new objects after every pass
    flags: list[tuple[dict[str, Any], str, bool]] = [
        (m._parameters, name, p.requires_grad)
        for m in (model.modules() if grad else ())
        for name, p in m._parameters.items()
        if p is not None
    ]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad() if grad else torch.no_grad())
        stack.callback(torch.set_autocast_cache_enabled, torch.is_autocast_cache_enabled())
        torch.set_autocast_cache_enabled(False)
        if "torch._dynamo" in sys.modules:  # else nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            model.eval()
            for parameters, name, _ in flags:
                if parameters[name].is_floating_point():
                    parameters[name].requires_grad_(True)
            yield
        finally:
            for parameters, name, flag in flags:
                parameters[name].requires_grad_(flag)
            for module, mode in modes:
                module.training = mode
            for registry, known in hooks:
                for key in registry.keys() - known:
                    del registry[key]
            for registry, tensors in registries:
                registry.clear()
                registry.update(tensors)
            with torch.no_grad():
                for buffer, before in buffers:
                    if not _same_bits(buffer, before):
                        buffer.copy_(before)


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(_bytes(a), _bytes(b))


def _bytes(x: torch.Tensor) -> torch.Tensor:
    return x.detach().contiguous().reshape(-1).view(torch.uint8)


def device_of(model: nn.Module) -> torch.device:
    """Where the model takes its inputs: where its first parameter or buffer lives or, if it is
    moved in for each pass, where it is moved to; the CPU for a model without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device if not tensor.is_meta else execution_device(model) or tensor.device
    return torch.device("cpu")
