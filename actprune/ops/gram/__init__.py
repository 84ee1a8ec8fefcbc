"""Second moments across units: X^T X."""

from __future__ import annotations

import torch
from torch import Tensor

from actprune.errors import ActpruneError


def gram(x_RC: Tensor, y_RD: Tensor | None = None) -> Tensor:
    """X^T Y (or X^T X) over rows, float64 [C, D].

    Args:
        x_RC: rows (samples and positions) by columns, any floating type.
        y_RD: the same rows; x itself when left out.

    Raises:
        ActpruneError: if the shapes do not fit.

    The product runs in float64: normal equations square the condition number, and float32 input
    is exact in float64, so the only rounding left is that of the sum.
    """
    y_RD = x_RC if y_RD is None else y_RD
    if x_RC.ndim != 2 or y_RD.ndim != 2 or len(x_RC) != len(y_RD):
        raise ActpruneError(
            f"Expected two matrices with the same rows, got {tuple(x_RC.shape)} "
            f"and {tuple(y_RD.shape)}."
        )
    return torch.mm(x_RC.double().T, y_RD.double())
