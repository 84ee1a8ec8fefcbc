"""Prove a site by intervention instead of trusting the trace."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.hooks import changing_outputs
from actprune.running.outputs import primary
from actprune.sites.site import Site


def flows_only_through(model: nn.Module, batch: Batch, site: Site) -> bool:
    """Whether half of the site's units reach the output through the consumer's slots alone.

    The consumer's inputs are zeroed at these units, and the producer's outputs overwritten there
    once with zeros, once with noise: if every path runs through the zeroed slots the two outputs
    agree (ours). The tolerance is rounding: both runs add the same numbers in the same order.
    """
    generator = torch.Generator().manual_seed(0)
    units = torch.randperm(site.units, generator=generator)[: max(1, site.units // 2)]
    columns = site.consumer.index(units)
    axis = 1 if isinstance(model.get_submodule(site.producer.module), nn.Conv2d) else -1

    def run(noise: bool) -> Tensor:
        def disturb(_name: str, _input: Tensor, out: Tensor) -> Tensor:
            shape = list(out.shape)
            shape[axis] = len(units)
            value = torch.zeros(shape)
            if noise:
                value = torch.randn(shape, generator=torch.Generator().manual_seed(1))
            return out.index_copy(axis, units.to(out.device), value.to(out.device, out.dtype))

        with (
            changing_outputs(model, [site.producer.module], disturb),
            _zeroing(model, site.consumer.module, columns),
        ):
            return primary(batch.run(model)).double()

    quiet, loud = run(noise=False), run(noise=True)
    eps = torch.finfo(primary(batch.run(model)).dtype).eps
    scale = quiet.abs().amax().clamp(min=1e-30)
    return bool((quiet - loud).abs().amax() <= 1e3 * eps * scale)


class _zeroing:
    """Zero the given input columns of a module while the block runs."""

    def __init__(self, model: nn.Module, name: str, columns: Tensor) -> None:
        self._module, self._columns = model.get_submodule(name), columns

    def __enter__(self) -> None:
        axis = 1 if isinstance(self._module, nn.Conv2d) else -1

        def hook(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = args[0].index_fill(axis, self._columns.to(args[0].device), 0.0)
            return (x, *args[1:])

        self._handle = self._module.register_forward_pre_hook(hook)

    def __exit__(self, *_: object) -> None:
        self._handle.remove()
