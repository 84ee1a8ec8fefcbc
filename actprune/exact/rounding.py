"""How far arithmetic in floating point may be from real numbers.

Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., lemma 3.1 and equation (3.5): an
inner product of n terms in any order of summation, fused or not, errs by at most
gamma_n sum |w_i| |x_i|, gamma_n = n u / (1 - n u).
"""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

DOUBLE = 2.0**-53
WEIGHTS = 8  # units of rounding by which stored weights may be off and a proof still hold
LEAST = 2.0**-50  # u is never taken to be less: combinations of weights are solved in float64 too
TINY = 1e-300  # below it products of float64 bounds may vanish


def unit_roundoff(x: Tensor) -> float:
    """u of the arithmetic in which the model computes on `x`; TensorFloat-32 where it is allowed.

    A convolution by Winograd's or Fourier's transform obeys no such bound; on a CPU torch uses
    direct ones.
    """
    if x.device.type == "cuda" and x.dtype == torch.float32:
        backends = torch.backends
        if backends.cuda.matmul.allow_tf32 or backends.cudnn.allow_tf32:
            return 2.0**-11
    return stored_roundoff(x.dtype) if x.dtype.is_floating_point else LEAST


def stored_roundoff(dtype: torch.dtype) -> float:
    """u of numbers stored as `dtype`, at least `LEAST`."""
    return max(torch.finfo(dtype).eps / 2, LEAST)


def gamma(n: int, u: float) -> float:
    """gamma_n; infinite where n u >= 1 and the bound says nothing."""
    return n * u / (1 - n * u) if n * u < 1 else inf


def margin(n: int, u: float, size: Tensor) -> Tensor:
    """What to widen a bound of a sum of `n` products by, on both sides.

    It covers the model's own arithmetic in `u`, weights that are off by `WEIGHTS` u, and the
    float64 arithmetic of the bound itself: of its centre, its radius and of `size` (each at most
    gamma_n of `size`, hence four). Zero where `size` is zero: nothing is added there.

    Args:
        size: float64, an upper bound of sum |w_i| |x_i| but for rounding.
    """
    share = gamma(n + WEIGHTS, u) + 4 * gamma(n + WEIGHTS, DOUBLE)
    wide = size * (share * (1 + 1e-6)) + TINY
    return torch.where(size > 0, wide, torch.zeros_like(size))
