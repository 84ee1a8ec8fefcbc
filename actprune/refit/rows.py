"""Which rows of a layer's regression are used: all, or drawn positions of every sample."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

LEAST = 1 << 17  # rows that are always used where there are so many
A_COLUMN = 64  # rows a column, where that is more


def draw_positions(
    of_each: int, samples: int, columns: int, *, seed: int, layer: str, batch: int
) -> Tensor | None:
    """Positions to use of each sample in one batch, int64 ascending; None for all of them.

    Neighbouring positions say nearly the same, so a seeded few of each sample fit as well as all:
    max(2^17, 64 columns) rows over all samples (ours).

    Args:
        of_each: output positions a sample has.
        samples: in all batches together.
        columns: P of the regression.
        layer, batch: name and index, so that every layer and batch draws others.
    """
    wanted = math.ceil(max(LEAST, A_COLUMN * columns) / samples)
    if wanted >= of_each:
        return None
    key = hashlib.blake2b(f"{seed}/{layer}/{batch}".encode(), digest_size=7).digest()
    random = torch.Generator().manual_seed(int.from_bytes(key, "big"))
    return torch.randperm(of_each, generator=random)[:wanted].sort().values
