"""Let the kept units say what the removed ones said: coefficients that a plan holds, no data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from actprune.errors import ActpruneError
from actprune.refit.channel import absorb
from actprune.refit.masks import without_compensation
from actprune.refit.settings import Compensation
from actprune.running.substitute import Affine, linear_or_conv
from actprune.sites.cut import Cut
from actprune.sites.site import Site


def compensate_exactly(
    model: nn.Module, sites: Sequence[Site], cut: Cut, settings: Compensation
) -> dict[str, Affine]:
    """W'_k = W_k + W_r P and bias += W_r c per consumer, for removed a_r = P a_k + c.

    Serra, Kumar and Ramalingam 2020, arXiv 2001.00218, equation (3).

    Raises:
        ActpruneError: if a merge names a unit that the cut removes.
    """
    maps = without_compensation(model, sites, cut)
    for site in sites:
        merges = {m.unit: m for m in settings.merges.get(site.name, ())}
        removed = [u for u in cut.removes(site) if u in merges]
        kept = {u: i for i, u in enumerate(cut.keeps(site))}
        coefficients = torch.zeros(len(removed), len(kept), dtype=torch.float64)
        for r, unit in enumerate(removed):
            for source, value in zip(merges[unit].units, merges[unit].coefficients, strict=True):
                if source not in kept:
                    raise ActpruneError(
                        f"Site {site.name!r}: unit {unit} is merged into unit {source}, which is "
                        f"removed; plan again."
                    )
                coefficients[r, kept[source]] = value
        constants = torch.tensor([merges[u].constant for u in removed], dtype=torch.float64)
        for slot in site.consumers:
            name, norm = slot.module, slot.norms_after[0] if slot.norms_after else None
            if name in maps and settings.adds_bias and maps[name].bias is None:
                weight = maps[name].weight
                maps[name] = Affine(weight=weight, bias=weight.new_zeros(len(weight)), norm=norm)
            if not removed:
                continue
            layer = linear_or_conv(model, name)
            merged = absorb(
                layer, maps[name], site, slot, torch.tensor(list(kept)), torch.tensor(removed),
                coefficients, constants,
            )  # fmt: skip
            bias = merged.bias if maps[name].bias is not None else None
            maps[name] = Affine(weight=merged.weight, bias=bias, norm=norm)
    return maps
