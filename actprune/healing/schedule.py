"""Which rate, which samples and which random numbers a step has: functions of its number alone.

So a run that was stopped needs no generator's state to go on in the same bits.
"""

from __future__ import annotations

from math import cos, pi

import numpy as np
import torch
from torch import Tensor

from actprune.data.split import splitmix64
from actprune.healing.settings import HealSettings


def rate(step: int, settings: HealSettings) -> float:
    """The learning rate of `step`, 0 <= step < steps: a linear rise, then half a cosine to 0.

    The cosine is Loshchilov & Hutter (2017), ICLR, equation 5, in one cycle.
    """
    rise = round(settings.warmup * settings.steps)
    if step < rise:
        return settings.lr * (step + 1) / (rise + 1)
    return settings.lr * (1 + cos(pi * (step - rise) / (settings.steps - rise))) / 2


def chosen(step: int, samples: int, batch: int, *, seed: int, rank: int, ranks: int) -> Tensor:
    """int64 [batch]: which of `samples` this rank trains on in `step`.

    One endless stream, a fresh permutation of all samples after the other, is cut into steps of
    `batch` x `ranks`; each rank takes a run of `batch`, so all ranks together take what one would
    with the larger batch.
    """
    at = (step * ranks + rank) * batch
    parts, wanted = [], batch
    while wanted:
        epoch, first = divmod(at, samples)
        gen = torch.Generator().manual_seed(number(seed, 1, epoch))
        part = torch.randperm(samples, generator=gen)[first : first + wanted]
        parts.append(part)
        at, wanted = at + len(part), wanted - len(part)
    return torch.cat(parts)


def number(*keys: int) -> int:
    """A seed below 2^63 that differs between tuples of keys."""
    state = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = splitmix64(state ^ np.array([key & (2**64 - 1)], dtype=np.uint64))
    return int(state[0] >> np.uint64(1))
