"""The copy that learns: its modes, its weights as tensors, its optimizer's state."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from actprune.errors import ActpruneError

_BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def learn(model: nn.Module, batchnorm: str) -> None:
    """Training mode; frozen batch normalizations keep evaluating with their running statistics,
    while their scales and shifts are trained like any other weight."""
    model.train()
    if batchnorm == "frozen":
        for module in model.modules():
            if isinstance(module, _BATCHNORMS):
                module.eval()


def same_modes(model: nn.Module, like: nn.Module) -> None:
    """Put every part of `model` in the mode of its counterpart."""
    for a, b in zip(model.modules(), like.modules(), strict=True):
        a.training = b.training


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The floating parameters that require a gradient, each once; raises if there are none."""
    found = [p for p in model.parameters() if p.requires_grad and p.is_floating_point()]
    if not found:
        raise ActpruneError(
            "No parameter of the pruned model requires a gradient, so there is nothing to train; "
            "call requires_grad_(True) on what may change."
        )
    return found


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, copied; shared ones once, under the first of their names."""
    return {k: v.detach().clone() for k, v in _tensors(model).items()}


def set_weights(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy `values`, from `weights`, into `model`."""
    with torch.no_grad():
        for name, tensor in _tensors(model).items():
            tensor.copy_(values[name])


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All tensors of the state, as `NUMBER.NAME` of the parameters in order."""
    (group,) = optimizer.param_groups
    return {
        f"{i}.{name}": value.detach().clone()
        for i, p in enumerate(group["params"])
        for name, value in optimizer.state.get(p, {}).items()
    }


def set_optimizer_state(optimizer: torch.optim.Optimizer, values: Mapping[str, Tensor]) -> None:
    """Give `optimizer` the tensors that `optimizer_state` took."""
    (group,) = optimizer.param_groups
    for key, value in values.items():
        number, _, name = key.partition(".")
        p = group["params"][int(number)]
        # AdamW counts its steps on the CPU, whatever the parameter is on
        optimizer.state[p][name] = value if name == "step" else value.to(p.device)


def to_array(x: Tensor) -> np.ndarray:
    """The same bits for NumPy, which knows no bfloat16."""
    x = x.detach().cpu().contiguous()
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()


def from_array(x: np.ndarray, like: Tensor) -> Tensor:
    """What `to_array` was given, which was as `like`; raises ValueError if it was not."""
    found = torch.from_numpy(x.copy())
    if like.dtype == torch.bfloat16 and found.dtype == torch.int16:
        found = found.view(torch.bfloat16)
    if found.dtype != like.dtype or found.numel() != like.numel():
        raise ValueError(f"a tensor should be {like.dtype} of shape {tuple(like.shape)}")
    return found.reshape(like.shape)  # files know no tensors without an axis


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """By name, each once: also the buffers that a state dict leaves out."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
