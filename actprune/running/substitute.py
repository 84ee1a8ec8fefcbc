"""Let layers compute with other weights for a while, without touching the model's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from actprune.running.fastpath import module_by_module
from actprune.running.shadow import shadowed


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

    Parameters, and so the state dict, stay as they are (see `shadowed`).
    """
    forwards: dict[nn.Module, partial[Tensor]] = {}
    for name, affine in maps.items():
        layer = linear_or_conv(model, name)
        forwards[layer] = partial(compute, layer, affine)
    with shadowed(forwards), module_by_module():
        yield


def linear_or_conv(model: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    """The consumer called `name`."""
    layer = model.get_submodule(name)
    assert isinstance(layer, (nn.Linear, nn.Conv2d)), name
    return layer
