"""In what precision products are multiplied and summed, and how far off that is at most.

The bounds are those of every summation order, relative to the sum of the products' sizes
(Higham 2002, Accuracy and Stability of Numerical Algorithms, eq. 3.4: n terms are off by
g(n, u) = n u / (1 - n u)); what comes about is nearer to its root. `ROWS` rows are summed in the
working precision, and blocks of rows in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor

from actprune.errors import ActpruneError

Precision = Literal["float64", "float32", "tf32", "bfloat16"]
ROWS = 4096  # summed in the working precision

_U64, _U32 = 2.0**-53, 2.0**-24
_INPUT = {"float64": 0.0, "float32": _U32, "tf32": 2.0**-10, "bfloat16": 2.0**-8}  # of each factor


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ActpruneError unless `precision` exists and `device` has it."""
    if precision not in get_args(Precision):
        raise ActpruneError(
            f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}."
        )
    if precision in ("tf32", "bfloat16") and device.type != "cuda":
        raise ActpruneError(
            f"precision={precision!r} needs a CUDA device, got {device}; use 'float32'."
        )


def relative_error(precision: Precision, rows: int) -> float:
    """Bound on |result - X^T Y| relative to |X|^T |Y|, entry by entry, barring over- and underflow.

    With i the rounding of a factor (0 where the activations are no wider than the precision), s
    that of a sum's step, k = min(rows, 4096): (1 + i)^2 (1 + g(k, s)) (1 + o) - 1, plus
    g(rows, 2^-53) for the sum of the blocks.

    float64: i = 0, s = 2^-53. float32: i = s = 2^-24. tf32: i = 2^-10 and s = 2^-23, as hardware
    may truncate instead of rounding. bfloat16: i = 2^-8, s = 2^-23, and a block's result may be
    rounded to bfloat16 again, o = 2^-8; o = 0 otherwise.
    """
    if precision == "float64":
        return _g(rows, _U64)
    step = _U32 if precision == "float32" else 2 * _U32
    out = 2.0**-8 if precision == "bfloat16" else 0.0
    block = (1 + _INPUT[precision]) ** 2 * (1 + _g(min(rows, ROWS), step)) * (1 + out) - 1
    return block + (1 + block) * _g(rows, _U64)


def multiply(x_RA: Tensor, y_RB: Tensor, precision: Precision) -> Tensor:
    """X^T Y over at most `ROWS` rows, float64 [A, B]."""
    if precision == "float64":
        return torch.mm(x_RA.double().T, y_RB.double())
    if precision == "bfloat16":
        return torch.mm(x_RA.bfloat16().T, y_RB.bfloat16()).double()
    with _float32_products("high" if precision == "tf32" else "highest"):
        return torch.mm(x_RA.float().T, y_RB.float()).double()


@contextmanager
def _float32_products(wanted: str) -> Iterator[None]:
    """What torch multiplies float32 in is a setting of the process: put back afterwards."""
    before = torch.get_float32_matmul_precision()
    if before == wanted:
        yield
        return
    torch.set_float32_matmul_precision(wanted)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _g(terms: int, u: float) -> float:
    return terms * u / (1 - terms * u)
