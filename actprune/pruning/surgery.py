"""The one place that changes a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from actprune.running.substitute import Affine
from actprune.sites.cut import Cut
from actprune.sites.site import AXES, Site


def shrink(model: nn.Module, sites: Sequence[Site], cut: Cut, maps: Mapping[str, Affine]) -> None:
    """Remove units from `model` in place: select what stays along every slot's axes.

    Args:
        maps: new weights per consumer in the dense shapes (see `refit.compensate`); a bias is
            added to a consumer that gets one and had none.
    """
    with torch.no_grad():
        for name, affine in maps.items():
            layer = model.get_submodule(name)
            _set(layer, "weight", affine.weight)
            if affine.bias is not None:
                _set(layer, "bias", affine.bias)
        for site in sites:
            if site.name not in cut.kept:
                continue
            for slot in site.slots:
                layer = model.get_submodule(slot.module)
                gone = set(slot.index(cut.removes(site)).tolist())
                for tensor, axis in AXES[slot.role].items():
                    value = getattr(layer, tensor, None)
                    if value is not None:
                        stay = [i for i in range(value.shape[axis]) if i not in gone]
                        index = torch.tensor(stay, device=value.device)
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
        learns = old.requires_grad if old is not None else True
        module._parameters[name] = nn.Parameter(value, requires_grad=learns)


def _restate_sizes(module: nn.Module) -> None:
    """Make the size attributes of a layer say what its tensors are."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv2d):
        module.out_channels, module.in_channels = module.weight.shape[:2]
        module.in_channels *= module.groups
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.weight is not None:
        module.num_features = len(module.weight)
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is not None:
        module.num_features = len(module.running_mean)
