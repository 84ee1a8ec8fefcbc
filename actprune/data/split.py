"""Which part of the work a sample belongs to, decided by its id and a seed alone.

Every sample gets two independent uniform draws from a counter-based hash: one decides whether it
is held out (a third), the other its block (32 of them). Neither depends on the order of reading,
the batch size or the number of machines, so any later run can find the same parts again.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import torch
from torch import Tensor

BLOCKS = 32
HELDOUT_SHARE = 1 / 3
HELDOUT_RULE = "splitmix64(seed, id) < 2^64 / 3"


class Part(Enum):
    """A run of blocks: statistics are fitted on `FIT`, chosen on `SELECT`, forecast on `CHECK`."""

    FIT = range(0, 16)
    SELECT = range(16, 24)
    CHECK = range(24, 32)


def splitmix64(x: np.ndarray) -> np.ndarray:
    """Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, figure 16."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def draw(ids: Tensor, seed: int, stream: int) -> np.ndarray:
    """One uint64 per id, independent between seeds and streams."""
    key = splitmix64(np.array([seed & (2**64 - 1)], dtype=np.uint64) ^ np.uint64(stream << 32))
    return splitmix64(ids.cpu().numpy().astype(np.uint64) ^ key)


def heldout(ids: Tensor, seed: int) -> Tensor:
    """bool [S]: the seeded third of the samples that only `verify` may read."""
    return torch.from_numpy(draw(ids, seed, 1) < np.uint64(2**64 // 3))


def block_of(ids: Tensor, seed: int) -> Tensor:
    """int64 [S] in 0..31: the block a calibration sample is counted in."""
    return torch.from_numpy((draw(ids, seed, 2) % np.uint64(BLOCKS)).astype(np.int64))


def in_parts(ids: Tensor, seed: int, *parts: Part) -> Tensor:
    """bool [S]: whether a calibration sample lies in one of `parts`."""
    block = block_of(ids, seed)
    wanted = torch.zeros(BLOCKS, dtype=torch.bool)
    for part in parts:
        wanted[list(part.value)] = True
    return wanted[block]
