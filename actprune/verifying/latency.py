"""How long a batch takes: two models in turn, round by round."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.state import device_of, undisturbed
from actprune.verifying.result import Latency

ROUNDS = 25
SECONDS = 10.0  # at most, in all


def latency(dense: nn.Module, small: nn.Module, batch: Batch, *, rounds: int = ROUNDS) -> Latency:
    """Time a forward pass of both models on `batch`, in the memory layout of the dense one.

    Surgery leaves contiguous weights: where those of `dense` are channels last, a copy of `small`
    in that layout is timed. After one warm-up each, up to `rounds` rounds within `SECONDS`, at
    least 3.
    """
    layout = layout_of(dense, batch)
    if layout != layout_of(small, batch):
        small = in_layout(small, layout)
    seconds = interleaved([_pass(dense, batch), _pass(small, batch)], rounds)
    return Latency(
        before_ms=1e3 * statistics.median(seconds[0]),
        after_ms=1e3 * statistics.median(seconds[1]),
        **paired(*seconds),
        rounds=len(seconds[0]),
        batch=len(batch),
        threads=torch.get_num_threads(),
        layout=layout,
        device=str(device_of(dense)),
    )


def interleaved(
    runs: Sequence[Callable[[], float]], rounds: int, *, most: float = SECONDS
) -> list[list[float]]:
    """Seconds of each run in each round, after a warm-up round; `most` seconds in all.

    Every other round goes through the runs backwards, so that none always follows the same one: the
    paired times of a round share what else the machine was doing, and no run inherits more warm
    caches than another. At least 3 rounds.
    """
    seen: list[list[float]] = [[] for _ in runs]
    start = time.perf_counter()
    for run in runs:
        run()
    for round_ in range(rounds):
        order = range(len(runs)) if round_ % 2 else reversed(range(len(runs)))
        for i in order:
            seen[i].append(runs[i]())
        if round_ >= 2 and time.perf_counter() - start > most:
            break
    return seen


def paired(before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """Ratios before / after of the same round: median, and 20 % and 80 % quantiles."""
    ratios = [x / y for x, y in zip(before, after, strict=True)]
    low, *_, high = statistics.quantiles(ratios, n=5, method="inclusive")
    return {"ratio": statistics.median(ratios), "ratio_p20": low, "ratio_p80": high}


def layout_of(model: nn.Module, batch: Batch) -> str:
    """`channels_last` if weights or inputs of 2-d convolutions are, else `contiguous`."""
    given = (*model.parameters(), *batch.args, *batch.kwargs.values())
    last = any(isinstance(x, Tensor) and x.ndim == 4 and _is_last(x) for x in given)
    return "channels_last" if last else "contiguous"


def in_layout(model: nn.Module, layout: str) -> nn.Module:
    """A copy of `model` with its weights in a layout of `layout_of`."""
    formats = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    return copy.deepcopy(model).to(memory_format=formats[layout])  # pyright: ignore


def _is_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _pass(model: nn.Module, batch: Batch) -> Callable[[], float]:
    device = device_of(model)
    moved = batch.to(device)

    def run() -> float:
        with undisturbed(model):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            moved.run(model)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return time.perf_counter() - start

    return run
