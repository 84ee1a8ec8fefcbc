"""Prove a site by intervention instead of trusting the trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.hooks import changing_outputs
from actprune.running.outputs import every_tensor
from actprune.sites.site import AXES, Site


def fits(model: nn.Module, site: Site) -> bool:
    """Whether every slot of `site` lies within its module's tensors."""
    for slot in site.slots:
        module = model.get_submodule(slot.module)
        end = slot.offset + site.units * slot.repeat
        for name, axis in AXES[slot.role].items():
            tensor = getattr(module, name, None)
            if tensor is not None and end > tensor.shape[axis]:
                return False
    return True


def flows_only_through(model: nn.Module, batch: Batch, site: Site) -> bool:
    """Whether half of the site's units reach the output through the consumers' slots alone.

    The consumers' inputs are zeroed at these units, and the outputs of all producers overwritten
    there once with zeros, once with noise: if every path runs through the zeroed slots, all tensors
    of the two outputs agree (ours). The tolerance is rounding: both runs add the same numbers in
    the same order.
    """
    generator = torch.Generator().manual_seed(0)
    units = torch.randperm(site.units, generator=generator)[: max(1, site.units // 2)]
    made = {  # by layer: a fused gate and its value are of one
        name: torch.cat([p.index(units) for p in site.producers if p.module == name])
        for name in dict.fromkeys(p.module for p in site.producers)
    }
    seed_of = {name: 1 + i for i, name in enumerate(made)}

    def run(noise: bool) -> list[Tensor]:
        def disturb(name: str, _input: Tensor, out: Tensor) -> Tensor:
            axis = _axis(model.get_submodule(name))
            entries = made[name]
            shape = list(out.shape)
            shape[axis] = len(entries)
            value = torch.zeros(shape)
            if noise:
                value = torch.randn(shape, generator=torch.Generator().manual_seed(seed_of[name]))
            return out.index_copy(axis, entries.to(out.device), value.to(out.device, out.dtype))

        with changing_outputs(model, made, disturb), zeroing(model, site, units):
            return list(every_tensor(batch.run(model)))

    quiet, loud = run(noise=False), run(noise=True)
    return agree(quiet, loud, lambda eps: 1e3 * eps)


def agree(a: list[Tensor], b: list[Tensor], tolerance: Callable[[float], float]) -> bool:
    """Whether two outputs are the same up to tolerance(eps of the dtype) x the largest value.

    False where there is nothing to compare, shapes differ or either is not a number.
    """
    if not a or [x.shape for x in a] != [x.shape for x in b]:
        return False
    for x, y in zip(a, b, strict=True):
        differs = x != y
        if differs.any():
            scale = x[x.isfinite()].double().abs().max() if x.isfinite().any() else 0.0
            distance = (x[differs].double() - y[differs].double()).abs().max()
            if not bool(distance <= tolerance(torch.finfo(x.dtype).eps) * scale):
                return False
    return True


@contextmanager
def zeroing(model: nn.Module, site: Site, units: Tensor) -> Iterator[None]:
    """Zero the consumers' inputs at the given units of a site while the block runs."""
    entries_of = {slot.module: slot.index(units) for slot in site.consumers}
    with ExitStack() as hooks:
        for name, entries in entries_of.items():
            hook = partial(_without, entries)
            hooks.callback(model.get_submodule(name).register_forward_pre_hook(hook).remove)
        yield


def _without(entries: Tensor, layer: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    x = args[0].index_fill(_axis(layer), entries.to(args[0].device), 0.0)
    return (x, *args[1:])


def _axis(layer: nn.Module) -> int:
    """Of its inputs' and outputs' channels or features."""
    return 1 if isinstance(layer, nn.Conv2d) else -1
