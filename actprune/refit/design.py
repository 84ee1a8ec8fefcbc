"""A consumer as a linear regression: its inputs as columns, its outputs as rows.

Shapes: R rows (samples and output positions), P columns (input entries and, for a convolution,
its taps), D outputs, E input entries (features or channels).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def entries(layer: nn.Linear | nn.Conv2d) -> int:
    """E: input features or channels."""
    return layer.weight.shape[1]


def taps(layer: nn.Linear | nn.Conv2d) -> int:
    """Columns an entry: 1, or the kernel's positions."""
    return layer.weight[0, 0].numel()


def columns_of(layer: nn.Linear | nn.Conv2d, entry: Tensor) -> Tensor:
    """The columns of the given entries: int64 [len(entry) * taps]."""
    k = taps(layer)
    return (entry[:, None] * k + torch.arange(k)).reshape(-1)


def inputs(layer: nn.Linear | nn.Conv2d, x: Tensor, entry: Tensor) -> Tensor:
    """The regression's inputs for the given entries: [R, len(entry) * taps].

    A convolution's rows are its unfolded patches, zero padding included, so that borders are
    treated as the layer treats them.
    """
    if isinstance(layer, nn.Linear):
        return x.index_select(-1, entry.to(x.device)).reshape(-1, len(entry))
    patches_SPL = F.unfold(
        _padded(layer, x.index_select(1, entry.to(x.device))),
        layer.kernel_size,
        dilation=layer.dilation,
        stride=layer.stride,
    )
    return patches_SPL.transpose(1, 2).reshape(-1, patches_SPL.shape[1])


def outputs(z: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
    """A consumer's output as [R, D], rows in the order of `inputs`."""
    if isinstance(layer, nn.Linear):
        return z.reshape(-1, z.shape[-1])
    return z.flatten(2).transpose(1, 2).reshape(-1, z.shape[1])


def matrix(layer: nn.Linear | nn.Conv2d, weight: Tensor) -> Tensor:
    """A weight of the layer's shape as float64 [D, P]."""
    return weight.detach().double().reshape(weight.shape[0], -1)


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Zero padding as the layer pads; 'same' may pad one side more than the other."""
    sides = layer._reversed_padding_repeated_twice
    return F.pad(x, sides) if any(sides) else x
