"""The definition, in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def gram(x_RC: Tensor, y_RD: Tensor) -> Tensor:
    """X^T Y over rows, float64 [C, D]."""
    return torch.mm(x_RC.double().T, y_RD.double())
