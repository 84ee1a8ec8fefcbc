"""Plain PyTorch in the activation's own precision, with the reductions that are vectorized.

Shapes: S samples, U units, P positions a sample.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def unit_stats(x_SUP: Tensor, threshold: float, magnitude: bool) -> tuple[Tensor, ...]:
    """As the definition. Counts are exact below 2^24 positions; sums carry float32 rounding."""
    a_SUP = x_SUP if x_SUP.dtype == torch.float64 else x_SUP.float()
    if a_SUP.dtype == torch.float32:
        threshold = float32_below(threshold)
    if a_SUP.shape[-1] == 1:
        a_SU = a_SUP.squeeze(-1)
        active_SU = (a_SU.abs() if magnitude else a_SU) > threshold
        wide_SU = a_SU.double()
        return active_SU.long(), wide_SU, wide_SU.square(), wide_SU, wide_SU
    # the sum of a float tensor of zeros and ones is vectorized, that of a bool tensor is not
    flags_SUP = torch.empty_like(a_SUP)
    torch.gt(a_SUP.abs() if magnitude else a_SUP, threshold, out=flags_SUP)
    return (
        flags_SUP.sum(-1).long(),
        a_SUP.sum(-1).double(),
        a_SUP.square().sum(-1).double(),
        a_SUP.amin(-1).double(),
        a_SUP.amax(-1).double(),
    )


def float32_below(threshold: float) -> float:
    """The largest float32 <= threshold: a float32 exceeds the one where it exceeds the other."""
    with np.errstate(over="ignore"):  # beyond the largest float32 the nearest is infinite
        nearest = np.float32(threshold)
    below = np.nextafter(nearest, np.float32(-np.inf)) if float(nearest) > threshold else nearest
    return float(below)
