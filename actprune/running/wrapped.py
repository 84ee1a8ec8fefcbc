"""Take a model out of what wraps it, or say why it cannot be watched as it is."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import fx, nn

from actprune.errors import ActpruneError
from actprune.running.offloaded import check_somewhere, is_offloaded

WHOLE = (
    "gather the full state dict (torch.distributed.checkpoint.state_dict.get_model_state_dict with "
    "full_state_dict=True), load it into a plain model and give that one"
)


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module: what DistributedDataParallel, DataParallel and torch.compile wrap.

    Its layers have the names they have without the wrapper. A compiled model is run eagerly, since
    a compiled graph calls no hooks (see `undisturbed`); autocast and accelerate's hooks stay.

    Raises:
        ActpruneError: if `model` is no module, its weights are spread over processes (FSDP, tensor
            parallel) or on the meta device, a part of it is wrapped, or it has no layers to look at
            (TorchScript, a graph from torch.export).
    """
    while (inner := _inside(model)) is not None:
        model = inner
    if not isinstance(model, nn.Module):
        raise ActpruneError(
            f"The model must be a torch.nn.Module, got {type(model).__name__}; give the module "
            f"that it was made from."
        )
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ActpruneError(
                f"{name or 'The model'} is TorchScript, whose layers take no hooks; give the "
                f"module that it was scripted or traced from."
            )
        if _inside(module) is not None:
            raise ActpruneError(
                f"{name} is wrapped inside the model ({type(module).__name__}); give the model "
                f"without it, and wrap again what comes out."
            )
    _check_whole(model)
    check_somewhere(model)
    if isinstance(model, fx.GraphModule) and not _has_layers(model):
        raise ActpruneError(
            "The model is a graph without layers, as torch.export makes it; give the module that "
            "it was exported from."
        )
    return model


def at_hand(model: nn.Module) -> nn.Module:
    """As `unwrapped`, for what reads the weights or cuts them.

    Raises:
        ActpruneError: also if some of the weights are off-loaded.
    """
    model = unwrapped(model)
    if is_offloaded(model):
        raise ActpruneError(
            "The model's weights are off-loaded, so it can be profiled but not planned for or "
            "cut; load it again without off-loading, the profile stays valid."
        )
    return model


def _inside(model: Any) -> nn.Module | None:
    if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        return model.module
    dynamo = sys.modules.get("torch._dynamo.eval_frame")  # loaded where something was compiled
    if dynamo is not None and isinstance(model, dynamo.OptimizedModule):
        return model._orig_mod
    return None


def _check_whole(model: nn.Module) -> None:
    fsdp = sys.modules.get("torch.distributed.fsdp")  # as above
    if fsdp is not None and any(
        isinstance(m, fsdp.FullyShardedDataParallel) for m in model.modules()
    ):
        raise ActpruneError(
            f"The model is sharded by FullyShardedDataParallel: no process has whole weights to "
            f"look at, and every forward pass needs all processes; {WHOLE}."
        )
    tensors = sys.modules.get("torch.distributed.tensor")
    if tensors is not None:
        for name, p in model.named_parameters():
            if isinstance(p, tensors.DTensor):
                raise ActpruneError(
                    f"The model's weights are spread over processes ({name} is a DTensor, as "
                    f"fully_shard and tensor parallelism make them); {WHOLE}."
                )


def _has_layers(graph: nn.Module) -> bool:
    """Whether some layer computes with its own weights, rather than holding them for the graph."""
    return any(
        type(m) is not nn.Module for m in graph.modules() if m is not graph and m._parameters
    )
