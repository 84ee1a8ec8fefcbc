"""Cut one unit of a site for a moment, and see whether the model does what was promised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from actprune.data.batch import Batch
from actprune.running.forward import in_one_line
from actprune.running.offloaded import brought_in
from actprune.running.outputs import every_tensor
from actprune.sites.census import Census
from actprune.sites.cut import Cut, removals
from actprune.sites.flops import counting_flops
from actprune.sites.proof import agree, zeroing
from actprune.sites.site import Site


def objection(model: nn.Module, batch: Batch, site: Site, census: Census) -> str | None:
    """Why `site` cannot be cut although its units flow through the consumers alone, or None.

    One unit is taken out of every tensor: the number left then shares no factor with the dense
    number, so that sizes fixed in the model's code show. The output must be that of the dense model
    with the unit zeroed, up to the square root of the machine epsilon (the sums run over fewer
    terms, in another order), and the multiply-accumulates those of the census.
    """
    unit = torch.tensor([site.units // 2])
    with zeroing(model, site, unit):
        expected = list(every_tensor(batch.run(model)))
    cut = Cut.removing([site], {site.name: unit.tolist()})
    try:
        layers = [slot.module for slot in site.slots]
        with brought_in(model, layers), without(model, site, cut), counting_flops() as counter:
            found = list(every_tensor(batch.run(model)))
    except Exception as e:  # the user's own forward may raise anything
        return f"the model's code fixes their number ({in_one_line(e)})"
    if not agree(expected, found, lambda eps: eps**0.5):
        return "cutting one of them is not the same as zeroing it"
    macs = counter.get_total_flops() / 2 / len(batch)
    if abs(macs - census.cost([site], cut).macs) > 1e-9 * census.macs:
        return "operations without weights work on them, so that the cost of a cut is not known"
    return None


@contextmanager
def without(model: nn.Module, site: Site, cut: Cut) -> Iterator[None]:
    """The model without the units that `cut` removes of `site` while the block runs; its own
    tensors come back."""
    swapped: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for slot in site.slots:
            if slot.role == "grouped":
                module = model.get_submodule(slot.module)
                assert isinstance(module, nn.Conv2d)
                swapped.append((module.__dict__, "groups", module.groups))
                made = module.out_channels // module.groups
                module.groups -= len(cut.removes(site)) * slot.repeat // made
        for (layer, name, axis), gone in removals([site], cut).items():
            module = model.get_submodule(layer)
            learnt = module._parameters.get(name) is not None
            registry: dict[str, Any] = module._parameters if learnt else module._buffers
            tensor = registry.get(name)
            if tensor is None:
                continue
            stay = torch.ones(tensor.shape[axis], dtype=torch.bool)
            stay[list(gone)] = False
            index = stay.nonzero().squeeze(1).to(tensor.device)
            smaller = tensor.detach().index_select(axis, index)
            swapped.append((registry, name, tensor))
            registry[name] = nn.Parameter(smaller, requires_grad=False) if learnt else smaller
        yield
    finally:
        for registry, name, tensor in reversed(swapped):
            registry[name] = tensor
