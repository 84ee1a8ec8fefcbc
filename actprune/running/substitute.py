"""Let layers compute with other weights for a while, without touching the model's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from actprune.running.fastpath import module_by_module


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Affine:
    """Weights of a Linear or Conv2d: `weight` shaped as the layer's, `bias` [outputs] or None.

    norm: a batch normalization straight behind the layer whose mean can take up the bias, if any.
    """

    weight: Tensor
    bias: Tensor | None
    norm: str | None = None


def compute(layer: nn.Linear | nn.Conv2d, affine: Affine, x: Tensor) -> Tensor:
    """What `layer` would return for `x` if it had the weights `affine`."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, affine.weight, affine.bias)
    padding = layer.padding
    if layer.padding_mode != "zeros":  # the functional form knows no other
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
        padding = 0
    return F.conv2d(
        x,
        affine.weight,
        affine.bias,
        stride=layer.stride,
        padding=padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )


@contextmanager
def substituted(model: nn.Module, maps: Mapping[str, Affine]) -> Iterator[None]:
    """Within the block each named layer computes with the given weights.

    Parameters, and so the state dict, stay as they are; only the layers' `forward` is shadowed,
    and what it was before (blocks may be nested) comes back after the block, also when it raises.
    """
    layers = {name: linear_or_conv(model, name) for name in maps}
    before = {name: layer.__dict__.get("forward") for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.__dict__["forward"] = partial(compute, layer, maps[name])
        with module_by_module():
            yield
    finally:
        for name, layer in layers.items():
            if before[name] is None:
                layer.__dict__.pop("forward", None)
            else:
                layer.__dict__["forward"] = before[name]


def linear_or_conv(model: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    """The consumer called `name`."""
    layer = model.get_submodule(name)
    assert isinstance(layer, (nn.Linear, nn.Conv2d)), name
    return layer
