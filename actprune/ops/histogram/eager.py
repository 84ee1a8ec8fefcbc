"""Plain PyTorch: bins from bit patterns, one bincount for all units.

Shapes: S samples, U units, P positions a sample, R counted values a sample, B bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from actprune.ops.histogram.bins import BINS, bin_of


def magnitude_histograms(x_SUP: Tensor) -> tuple[Tensor, Tensor]:
    """As the definition."""
    bin_SUP = bin_of(x_SUP)
    # bins grow with |a|, so the largest bin is the bin of the largest |a|
    return count_bins(bin_SUP), count_bins(bin_SUP.amax(-1, keepdim=True))


def count_bins(bin_SUR: Tensor) -> Tensor:
    """How often each unit meets each bin, int64 [U, B]."""
    units = bin_SUR.shape[1]
    first_U1 = (torch.arange(units, device=bin_SUR.device) * BINS)[:, None]
    flat = (bin_SUR + first_U1).reshape(-1)
    return torch.bincount(flat, minlength=units * BINS).reshape(units, BINS)
