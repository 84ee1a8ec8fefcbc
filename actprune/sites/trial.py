"""Cut one unit of some sites for a moment, and see whether the model does what was promised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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


def objections(
    model: nn.Module, batch: Batch, sites: Sequence[Site], census: Census
) -> dict[str, str]:
    """By name, why sites cannot be cut although their units flow through the consumers alone.

    All sites are tried at once; where that does not work out, each half is tried by itself.
    """
    if not sites:
        return {}
    reason = objection(model, batch, sites, census)
    if reason is None:
        return {}
    if len(sites) == 1:
        return {sites[0].name: reason}
    half = len(sites) // 2
    halves = sites[:half], sites[half:]
    found = [objections(model, batch, some, census) for some in halves]
    return found[0] | found[1]


def objection(model: nn.Module, batch: Batch, sites: Sequence[Site], census: Census) -> str | None:
    """Why `sites` cannot be cut together although their units flow through the consumers alone, or
    None.

    One unit of each is taken out of every tensor: the number left then shares no factor with the
    dense number, so that sizes fixed in the model's code show. The output must be that of the dense
    model with the units zeroed, up to the square root of the machine epsilon (the sums run over
    fewer terms, in another order), and the multiply-accumulates those of the census.
    """
    gone = {site.name: [site.units // 2] for site in sites}
    with ExitStack() as zeroed:
        for site in sites:
            zeroed.enter_context(zeroing(model, site, torch.tensor(gone[site.name])))
        expected = list(every_tensor(batch.run(model)))
    cut = Cut.removing(sites, gone)
    try:
        layers = [slot.module for site in sites for slot in site.slots]
        with brought_in(model, layers), without(model, sites, cut), counting_flops() as counter:
            found = list(every_tensor(batch.run(model)))
    except Exception as e:  # the user's own forward may raise anything
        return f"the model's code fixes their number ({in_one_line(e)})"
    if not agree(expected, found, lambda eps: eps**0.5):
        return "cutting one of them is not the same as zeroing it"
    macs = counter.get_total_flops() / 2 / len(batch)
    if abs(macs - census.cost(sites, cut).macs) > 1e-9 * census.macs:
        return "operations without weights work on them, so that the cost of a cut is not known"
    return None


@contextmanager
def without(model: nn.Module, sites: Sequence[Site], cut: Cut) -> Iterator[None]:
    """The model without the units that `cut` removes of `sites` while the block runs; its own
    tensors come back."""
    swapped: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for layer, gone in _channels_gone(sites, cut).items():
            module = model.get_submodule(layer)
            assert isinstance(module, nn.Conv2d)
            swapped.append((module.__dict__, "groups", module.groups))
            module.groups -= gone * module.groups // module.out_channels
        for (layer, name, axis), gone in removals(sites, cut).items():
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


def _channels_gone(sites: Sequence[Site], cut: Cut) -> dict[str, int]:
    """How many channels each grouped convolution loses, in whole groups."""
    found: dict[str, int] = {}
    for site in sites:
        for slot in site.slots:
            if slot.role == "grouped":
                gone = len(cut.removes(site)) * slot.repeat
                found[slot.module] = found.get(slot.module, 0) + gone
    return found
