"""The exact cost of a model, dense or cut, from shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from actprune.data.batch import Batch
from actprune.running.offloaded import identities
from actprune.sites.cut import Cut
from actprune.sites.flops import counting_flops
from actprune.sites.site import AXES, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a model costs: learnt parameters, multiply-accumulates a sample, tensor bytes."""

    params: int
    macs: float
    bytes: int


class Layer(BaseModel):
    """One module's own tensors (name -> shape, bytes an element, is a parameter) and MACs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensors: Mapping[str, tuple[tuple[int, ...], int, bool]]
    macs: float  # multiply-accumulates a sample


class Census(BaseModel):
    """Cost of the dense model and of the layers that sites touch; enough to price any cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    params: int
    macs: float
    bytes: int
    layers: Mapping[str, Layer]

    def cost(self, sites: Sequence[Site], cut: Cut, *, adds_bias: bool = False) -> Cost:
        """Price `cut` exactly.

        MACs are those of convolutions, linear layers, matrix products and attention, as
        `counting_flops` counts them (half its FLOPs); kernels that it does not know, such as
        those of flash-attn or of a quantized layer, count nothing. `adds_bias`: the compensation
        gives each consumer of a cut site a bias where it has none and no batch normalization
        behind it takes up what would be its bias.
        """
        params, macs, size = self.params, self.macs, self.bytes
        after = self._shapes_after(sites, cut)
        for name, shapes in after.items():
            layer = self.layers[name]
            for tensor, shape in shapes.items():
                before, width, learnt = layer.tensors[tensor]
                gone = prod(before) - prod(shape)
                size -= gone * width
                params -= gone * learnt
            weight = layer.tensors["weight"][0] if "weight" in layer.tensors else ()
            if layer.macs and "weight" in shapes:
                macs -= layer.macs * (1 - prod(shapes["weight"]) / prod(weight))
        if adds_bias:
            # several sites may share a consumer (a concatenation), which gets one bias
            consumers = [c for site in sites if cut.removes(site) for c in site.consumers]
            for name in {c.module for c in consumers if not c.norms_after}:
                tensors = self.layers[name].tensors
                if "bias" not in tensors:
                    rows = after[name]["weight"][0]
                    params += rows
                    size += rows * tensors["weight"][1]
        return Cost(params=params, macs=macs, bytes=size)

    @property
    def dense(self) -> Cost:
        return Cost(params=self.params, macs=self.macs, bytes=self.bytes)

    def _shapes_after(self, sites: Sequence[Site], cut: Cut) -> dict[str, dict[str, list[int]]]:
        """Shapes of the tensors that `cut` shrinks, per module."""
        after: dict[str, dict[str, list[int]]] = {}
        for site in sites:
            gone = site.units - len(cut.keeps(site))
            if not gone:
                continue
            for slot in site.slots:
                tensors = self.layers[slot.module].tensors
                shapes = after.setdefault(slot.module, {})
                for tensor, axis in AXES[slot.role].items():
                    if tensor in tensors:
                        shape = shapes.setdefault(tensor, list(tensors[tensor][0]))
                        shape[axis] -= gone * slot.repeat
        return after


def take_census(model: nn.Module, batch: Batch, names: Sequence[str]) -> Census:
    """Count the model's cost on `batch` (per sample) and the layers `names`.

    The model must already be in evaluation mode. Shared tensors count once.
    """
    calls: dict[str, float] = {}

    def count(name: str) -> None:
        def hook(module: nn.Module, _: object, out: torch.Tensor) -> None:
            weight = module.get_parameter("weight")
            fan_in = weight[0].numel()
            calls[name] = calls.get(name, 0.0) + out.numel() * fan_in / len(batch)

        handles.append(model.get_submodule(name).register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for name in names:
            if isinstance(model.get_submodule(name), (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                count(name)
        with counting_flops() as counter:
            batch.run(model)
    finally:
        for handle in handles:
            handle.remove()
    cost = static_cost(model)
    return Census(
        params=cost.params,
        bytes=cost.bytes,
        macs=counter.get_total_flops() / 2 / len(batch),
        layers={name: _layer(model, name, calls.get(name, 0.0)) for name in names},
    )


def static_cost(model: nn.Module) -> Cost:
    """Parameters and bytes of `model`, MACs left 0; tensors shared between modules count once."""
    identity = identities(model)
    params = {identity[name]: p for name, p in model.named_parameters()}
    saved = model.state_dict(keep_vars=True).keys()
    buffers = {identity[name]: b for name, b in model.named_buffers() if name in saved}
    size = sum(t.numel() * t.element_size() for t in (*params.values(), *buffers.values()))
    return Cost(params=sum(p.numel() for p in params.values()), macs=0.0, bytes=size)


def _layer(model: nn.Module, name: str, macs: float) -> Layer:
    module = model.get_submodule(name)
    learnt = {n for n, _ in module.named_parameters(recurse=False)}
    tensors = {
        n: (tuple(t.shape), t.element_size(), n in learnt)
        for n, t in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    }
    return Layer(tensors=tensors, macs=macs)
