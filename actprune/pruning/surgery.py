"""The one place that changes a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.running.substitute import Affine
from actprune.sites.cut import Cut, removals
from actprune.sites.site import Site


def shrink(model: nn.Module, sites: Sequence[Site], cut: Cut, maps: Mapping[str, Affine]) -> None:
    """Remove units from `model` in place: select what stays along every slot's axes.

    Args:
        maps: new weights per layer in the dense shapes (see `refit.compensate`). A layer that gets
            a bias and had none hands it to the batch normalization behind, whose running mean
            falls by it, or keeps it where there is none.
    """
    with torch.no_grad():
        for name, affine in maps.items():
            layer = model.get_submodule(name)
            _set(layer, "weight", affine.weight)
            if affine.bias is None:
                continue
            if affine.norm is not None and layer.bias is None:
                norm = model.get_submodule(affine.norm)
                _set(norm, "running_mean", norm.get_buffer("running_mean") - affine.bias)
            else:
                _set(layer, "bias", affine.bias)
        for (name, tensor, axis), gone in removals(sites, cut).items():
            layer = model.get_submodule(name)
            value = getattr(layer, tensor, None)
            if value is not None:
                stay = [i for i in range(value.shape[axis]) if i not in gone]
                index = torch.tensor(stay, dtype=torch.int64, device=value.device)
                _set(layer, tensor, value.index_select(axis, index))
    for module in model.modules():
        _restate_sizes(module)


def add_biases(model: nn.Module, consumers: Sequence[str]) -> None:
    """Give the named layers a bias of zeros where they have none."""
    for name in consumers:
        layer = model.get_submodule(name)
        if layer.bias is None:
            weight = layer.get_parameter("weight")
            _set(layer, "bias", torch.zeros(len(weight), dtype=weight.dtype, device=weight.device))


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    """Store `value` under `name`, contiguous, keeping what kind of tensor it was."""
    value = value.detach().clone(memory_format=torch.contiguous_format)
    old = module._parameters.get(name)
    if name in module._buffers:
        module._buffers[name] = value
    else:
        like = module._parameters["weight"] if old is None else old
        learns = like is None or like.requires_grad
        module._parameters[name] = nn.Parameter(value, requires_grad=learns)


def _restate_sizes(module: nn.Module) -> None:
    """Make the size attributes of a layer say what its tensors are."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv2d):
        if module.groups > 1:  # whole groups go: each has as many outputs as before
            module.groups = len(module.weight) // (module.out_channels // module.groups)
        module.out_channels, module.in_channels = module.weight.shape[:2]
        module.in_channels *= module.groups
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.weight is not None:
        module.num_features = len(module.weight)
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is not None:
        module.num_features = len(module.running_mean)
