"""A cut without compensation: zeros in the columns of what is removed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from actprune.running.substitute import Affine, linear_or_conv
from actprune.sites.cut import Cut
from actprune.sites.site import Site


def removed_entries(sites: Sequence[Site], cut: Cut) -> dict[str, Tensor]:
    """Per consumer that loses inputs: the entries removed, int64 ascending."""
    gone: dict[str, list[Tensor]] = {}
    for site in sites:
        units = cut.removes(site)
        for consumer in site.consumers if units else ():
            gone.setdefault(consumer.module, []).append(consumer.index(units))
    return {name: torch.cat(parts).sort().values for name, parts in gone.items()}


def without_compensation(model: nn.Module, sites: Sequence[Site], cut: Cut) -> dict[str, Affine]:
    """Each consumer with zeros in the columns of the removed units."""
    maps = {}
    for name, gone in removed_entries(sites, cut).items():
        layer = linear_or_conv(model, name)
        weight = layer.weight.detach().index_fill(1, gone.to(layer.weight.device), 0.0)
        maps[name] = Affine(weight=weight, bias=None if layer.bias is None else layer.bias.detach())
    return maps
