"""The bins of a magnitude histogram: two an octave, by exponent and first mantissa bit.

Bin 0 holds everything below 2^-20, zeros included; bins 1 to 64 the half octaves
[2^e, 1.5 x 2^e) and [1.5 x 2^e, 2^(e+1)) for e = -20, ..., 11; bin 65 everything from 2^12 on,
infinity and NaN included. Being fields of the bit pattern, the bins are exact: no logarithm is
rounded.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST, HIGHEST = -20, 12  # exponents
BINS = 2 * (HIGHEST - LOWEST) + 2
SHIFT = 22  # bits below the first mantissa bit of a float32
FIRST = (LOWEST + 127) * 2 - 1  # (bits >> SHIFT) - FIRST is the bin, before clamping
_SHIFT_64 = 51  # the same for a float64
_FIRST_64 = (LOWEST + 1023) * 2 - 1


def edges() -> Tensor:
    """Lower edges of bins 1 to 65, float64 [65]: 2^-20, 1.5 x 2^-20, ..., 2^12."""
    e = torch.arange(LOWEST, HIGHEST, dtype=torch.float64)
    pairs = torch.stack([2.0**e, 1.5 * 2.0**e], dim=1).reshape(-1)
    return torch.cat([pairs, torch.tensor([2.0**HIGHEST], dtype=torch.float64)])


def bin_of(x: Tensor) -> Tensor:
    """The bin of each |x|, int64, of the shape of x."""
    if x.dtype == torch.float64:  # rounded to float32 it could cross an edge
        field = (x.view(torch.int64) & torch.iinfo(torch.int64).max) >> _SHIFT_64
        return (field - _FIRST_64).clamp_(0, BINS - 1)
    field = (x.float().view(torch.int32) & torch.iinfo(torch.int32).max) >> SHIFT
    return (field - FIRST).clamp_(0, BINS - 1).long()
