"""How long a batch takes: two models in turn, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch
from torch import nn

from actprune.data.batch import Batch
from actprune.running.state import device_of, undisturbed

ROUNDS = 15
SECONDS = 10.0  # at most, in all


def latencies(models: Sequence[nn.Module], batch: Batch) -> list[float]:
    """Median milliseconds of a forward pass of each model on `batch`, run in turn.

    One warm-up each, then up to `ROUNDS` rounds within `SECONDS`.
    """
    times: list[list[float]] = [[] for _ in models]
    start = time.perf_counter()
    for round_ in range(ROUNDS + 1):
        for model, seen in zip(models, times, strict=True):
            seconds = _once(model, batch)
            if round_:
                seen.append(seconds)
        if round_ and time.perf_counter() - start > SECONDS:
            break
    return [1e3 * statistics.median(seen) for seen in times]


def _once(model: nn.Module, batch: Batch) -> float:
    device = device_of(model)
    moved = batch.to(device)
    with undisturbed(model):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        moved.run(model)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start
