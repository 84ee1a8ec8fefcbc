"""The same reduction in C: every activation is read once, straight into the page.

Shapes: S samples, U units, P positions a sample.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from actprune.ops import native
from actprune.ops.stats.eager import float32_below

SOURCE = Path(__file__).with_name("native.c")
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_SIGNED, _SIZE = 0xFFFFFFFF, 0x7FFFFFFF  # bits of a float that the threshold is held against


def available() -> bool:
    """Whether there is a compiler, or was one; the first call may compile for half a second."""
    return native.library(SOURCE) is not None


def takes(x_SUP: Tensor) -> bool:
    """Whether units or positions lie side by side, in a precision that is exact in float32."""
    _, stride_u, stride_p = x_SUP.stride()
    side_by_side = 1 in (stride_u, stride_p) or x_SUP.shape[-1] == 1
    plain = x_SUP.device.type == "cpu" and x_SUP.dtype in DTYPES and not x_SUP.is_neg()
    return plain and side_by_side


def unit_stats_into(out: Tensor, x_SUP: Tensor, threshold: float, magnitude: bool) -> None:
    """As the definition, into `out`, float64 [5, S, U] with its units side by side; sums in
    float32 over at most 4,096 positions a lane, in float64 beyond."""
    library = native.library(SOURCE)
    assert library is not None, "ask `available` first"
    assert takes(x_SUP)
    assert out.dtype == torch.float64
    assert out.stride(2) == 1
    integers = (ctypes.c_int64(n) for n in (*x_SUP.shape, *x_SUP.stride()))
    status = getattr(library, DTYPES[x_SUP.dtype])(
        ctypes.c_void_p(x_SUP.data_ptr()),
        *integers,
        ctypes.c_float(float32_below(threshold)),
        ctypes.c_uint32(_SIZE if magnitude else _SIGNED),
        ctypes.c_void_p(out.data_ptr()),
        ctypes.c_int64(out.stride(0)),
        ctypes.c_int64(out.stride(1)),
        ctypes.c_int(torch.get_num_threads()),
    )
    assert status == 0, "strides that `takes` should have refused"
