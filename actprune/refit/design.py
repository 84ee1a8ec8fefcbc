"""A consumer as a linear regression: its inputs as columns, its outputs as rows.

Shapes: S samples, L output positions of each, R rows (samples, then positions), P columns (input
entries and, for a convolution, its taps), D outputs, E input entries (features or channels).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def entries(layer: nn.Linear | nn.Conv2d) -> int:
    """E: input features or channels, of a grouped convolution those of one group."""
    return layer.weight.shape[1]


def groups(layer: nn.Linear | nn.Conv2d) -> int:
    """How many groups of outputs there are, each with inputs of its own; 1 where all are shared."""
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def taps(layer: nn.Linear | nn.Conv2d) -> int:
    """Columns an entry: 1, or the kernel's positions."""
    return layer.weight[0, 0].numel()


def columns_of(layer: nn.Linear | nn.Conv2d, entry: Tensor) -> Tensor:
    """The columns of the given entries: int64 [len(entry) * taps]."""
    k = taps(layer)
    return (entry[:, None] * k + torch.arange(k)).reshape(-1)


def inputs(
    layer: nn.Linear | nn.Conv2d,
    x: Tensor,
    entry: Tensor,
    *,
    at: Tensor | None = None,
    samples: int | None = None,
) -> Tensor:
    """The regression's inputs for the given entries: [R, len(entry) * taps].

    A convolution's rows are its unfolded patches, padding included, so that borders are
    treated as the layer treats them.

    Args:
        at: int64, the output positions of each sample to use; None for all.
        samples: S, where a Linear reads samples and positions as one axis.
    """
    chosen = entry.to(x.device)
    if isinstance(layer, nn.Linear):
        x_SLE = x.reshape(samples or len(x), -1, x.shape[-1])
        return _at(x_SLE, at).index_select(-1, chosen).reshape(-1, len(entry))
    padded = _padded(layer, x.index_select(1, chosen))
    if at is None:
        patches_SPL = F.unfold(
            padded, layer.kernel_size, dilation=layer.dilation, stride=layer.stride
        )
        return patches_SPL.transpose(1, 2).reshape(-1, patches_SPL.shape[1])
    index_LT = _places_of_taps(layer, padded.shape[-2:], at.to(x.device))
    patches_SELT = padded.flatten(2)[:, :, index_LT]
    return patches_SELT.transpose(1, 2).reshape(len(x) * len(at), -1)


def outputs(
    z: Tensor,
    layer: nn.Linear | nn.Conv2d,
    *,
    at: Tensor | None = None,
    samples: int | None = None,
) -> Tensor:
    """A consumer's output as [R, D], rows in the order of `inputs`, which explains the rest."""
    if isinstance(layer, nn.Linear):
        return _at(z.reshape(samples or len(z), -1, z.shape[-1]), at).reshape(-1, z.shape[-1])
    return _at(z.flatten(2).transpose(1, 2), at).reshape(-1, z.shape[1])


def positions(z: Tensor, layer: nn.Linear | nn.Conv2d, samples: int) -> int:
    """L: output positions of each sample."""
    outputs_a_position = z.shape[-1] if isinstance(layer, nn.Linear) else z.shape[1]
    return z.numel() // (samples * outputs_a_position)


def matrix(layer: nn.Linear | nn.Conv2d, weight: Tensor) -> Tensor:
    """A weight of the layer's shape as float64 [D, P]."""
    return weight.detach().double().reshape(weight.shape[0], -1)


def _at(x_SLE: Tensor, at: Tensor | None) -> Tensor:
    return x_SLE if at is None else x_SLE.index_select(1, at.to(x_SLE.device))


def _places_of_taps(layer: nn.Conv2d, size: torch.Size, at: Tensor) -> Tensor:
    """Where in a padded image, rows joined, the taps of each output position lie: [len(at), T]."""
    width = size[1]
    (kh, kw), (sh, sw), (dh, dw) = layer.kernel_size, layer.stride, layer.dilation
    across = (width - dw * (kw - 1) - 1) // sw + 1  # output positions in a row
    corner_L = (at // across) * sh * width + (at % across) * sw
    down, right = torch.arange(kh, device=at.device), torch.arange(kw, device=at.device)
    tap_T = (down[:, None] * dh * width + right * dw).reshape(-1)
    return corner_L[:, None] + tap_T


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """As the layer pads; 'same' may pad one side more than the other."""
    sides = layer._reversed_padding_repeated_twice
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, sides, mode=mode) if any(sides) else x
