"""What does a Profiler cost along a training? Paired rounds of training steps with it and without.

    python -m benchmarks.live_overhead [--rounds 20]

Each round runs the same ten steps of SGD on three copies of one network, in turn and beginning with
another one each time: alone, with every forward pass counted, and with each tenth one counted. The
sites are found beforehand. Rows (medians of the paired ratios) go to
benchmarks/results/live_overhead.jsonl.
"""

from __future__ import annotations

import argparse
import copy
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.loading.data import load_data
from actprune.profiling.live.profiler import Profiler
from actprune.zoo.mnist_cnn import MnistCNN
from benchmarks import cifar
from benchmarks.harness import append, begin, spread

THREADS = 2
BATCH = 64
STEPS = 10  # a round
WARM = 2  # rounds that are not measured
WAYS = {"alone": None, "every=1": 1, "every=10": 10}  # which passes are counted


def networks() -> dict[str, tuple[nn.Module, list[tuple[Tensor, Tensor]]]]:
    """Models with the batches of a round; the ResNet only where its images are."""
    torch.manual_seed(0)
    found: dict[str, tuple[nn.Module, list[tuple[Tensor, Tensor]]]] = {
        "mnist-cnn": (MnistCNN(), batches(load_data("zoo:mnist-cnn")))
    }
    if cifar.assets().is_dir():
        found["resnet20"] = (cifar.resnet20(), batches(cifar.train(STEPS * BATCH)))
    return found


def batches(source: Any) -> list[tuple[Tensor, Tensor]]:
    """The first batches of labelled images."""
    assert isinstance(source, Arrays)
    read = source.batches(BATCH)
    found = []
    for _ in range(STEPS):
        batch = next(read)
        assert batch.labels is not None
        found.append((batch.args[0], batch.labels))
    return found


class Training:
    """A copy of a network and its optimizer."""

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).train()
        self._optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def seconds(self, data: list[tuple[Tensor, Tensor]]) -> float:
        """Take one step a batch."""
        start = time.perf_counter()
        for x, y in data:
            loss = nn.functional.cross_entropy(self.model(x), y)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        return time.perf_counter() - start


def measure(
    net: str, model: nn.Module, data: list[tuple[Tensor, Tensor]], rounds: int
) -> list[dict[str, Any]]:
    """Median ratios of paired rounds."""
    trainings = {way: Training(model) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        for way, every in WAYS.items():
            if every is not None:
                watched = trainings[way].model
                stack.enter_context(Profiler(watched, example=data[0], every=every))
        for round_ in range(rounds + WARM):
            order = [*WAYS][round_ % len(WAYS) :] + [*WAYS][: round_ % len(WAYS)]
            for way in order:
                took = trainings[way].seconds(data)
                if round_ >= WARM:
                    seconds[way].append(took)
    found = []
    for way, times in seconds.items():
        ratios = [t / p for t, p in zip(times, seconds["alone"], strict=True)]
        found.append(
            {
                "net": net,
                "way": way,
                "batch": BATCH,
                "rounds": rounds,
                "device": "cpu",
                "step_ms": 1e3 * median(times) / STEPS,
                **spread(ratios),
            }
        )
    return found


def main() -> None:
    """Measure every network and print one line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(THREADS)
    begin("live_overhead")
    for net, (model, data) in networks().items():
        for row in measure(net, model, data, rounds):
            append("live_overhead", row)
            print(
                f"{net:12} {row['way']:10} {row['step_ms']:8.2f} ms a step  x {row['ratio']:.3f} "
                f"[{row['ratio_p20']:.3f}, {row['ratio_p80']:.3f}]"
            )


if __name__ == "__main__":
    main()
