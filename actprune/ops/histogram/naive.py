"""The definition, by comparing with the edges in float64. Slow on purpose.

Shapes: S samples, U units, P positions a sample, R counted values a unit, B bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from actprune.ops.histogram.bins import BINS, edges


def magnitude_histograms(x_SUP: Tensor) -> tuple[Tensor, Tensor]:
    """Counts of |a| over positions, and of max |a| over samples; int64 [U, B] each."""
    size_SUP = x_SUP.double().abs()
    return _count(size_SUP.transpose(0, 1).flatten(1)), _count(size_SUP.amax(-1).T)


def _count(size_UR: Tensor) -> Tensor:
    bin_UR = torch.bucketize(size_UR.contiguous(), edges().to(size_UR.device), right=True)
    counts_UB = bin_UR.new_zeros(len(bin_UR), BINS)
    return counts_UB.scatter_add_(1, bin_UR, torch.ones_like(bin_UR))
