"""Which positions of a sample are drawn: decided by seed, sample and position alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from actprune.data.split import draw, splitmix64

STREAM = 3  # of `draw`: 1 and 2 are the held-out third and the blocks


def drawn_positions(ids: Tensor, positions: int, few: int, seed: int) -> Tensor:
    """`few` of the positions of each sample without replacement, ascending: int64 [S, few].

    Each position gets a hash of its own and the smallest win, whatever the batch (ours).

    Args:
        ids: the samples' indices in their data set, int64 [S].
        positions: of each sample, P > few.
    """
    own_S1 = draw(ids, seed, STREAM)[:, None]
    steps = np.arange(1, positions + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        key_SP = splitmix64(own_S1 + steps * np.uint64(0x9E3779B97F4A7C15))
    chosen = np.argpartition(key_SP, few - 1, axis=1)[:, :few]
    return torch.from_numpy(np.sort(chosen, axis=1).astype(np.int64))
