"""How much faster is a cut in fact? Dense and pruned in turn, on the same batch and threads.

    python -m benchmarks.speed [--rounds 31] [--net resnet56]

Half of the MACs are kept by the plainest plan there is (magnitude, no compensation): time depends
on the shapes alone. Each round runs both models once, every other round in the other order; a row
holds the median and the 20 % and 80 % quantiles of the rounds' ratios, dense / pruned. Both have
the same memory layout, contiguous or channels last, and the exported files run in onnxruntime with
as many threads. Rows go to benchmarks/results/speed.jsonl. Time on a machine that does nothing
else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

import actprune
from actprune.data.source import Arrays
from actprune.loading.data import load_data
from actprune.loading.model import load_model
from actprune.planning.result import Plan
from actprune.running.state import undisturbed
from actprune.verifying.latency import in_layout, interleaved
from benchmarks import cifar
from benchmarks.harness import append, begin, spread

THREADS = 2
BATCH = 128
TARGET = "macs=50%"
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# allocation, and the multiple of which units are kept
PLANS = (("uniform", 1), ("uniform", 8), ("global", 1), ("global", 8))
PATIENCE = 600.0  # seconds for the rounds of one row


def _images() -> Arrays:
    return cifar.train(BATCH)


NETWORKS: Mapping[str, Callable[[], tuple[nn.Module, Any]]] = {
    "mnist-cnn": lambda: (load_model("zoo:mnist-cnn").model, load_data("zoo:mnist-cnn")),
    "resnet20": lambda: (cifar.resnet20(), _images()),
    "resnet56": lambda: (cifar.resnet56(), _images()),
}


def halved(dense: nn.Module, data: Any, allocate: Any, round_to: int) -> tuple[nn.Module, Plan]:
    """`dense` with at most half of its MACs."""
    plan = actprune.plan(
        dense,
        actprune.profile(dense, data, samples=BATCH),
        TARGET,
        criterion="magnitude",
        compensation=actprune.Compensation(kind="none"),
        allocate=allocate,
        round_to=round_to,
    )
    return actprune.prune(dense, plan), plan


def in_torch(dense: nn.Module, small: nn.Module, x: torch.Tensor, layout: str, rounds: int) -> Any:
    """Seconds by model and round, everything in one memory layout."""
    models = [in_layout(model, layout) for model in (dense, small)]
    x = x.contiguous(memory_format=LAYOUTS[layout])

    def timed(model: nn.Module) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            model(x)
            return time.perf_counter() - start

        return run

    with undisturbed(models[0]), undisturbed(models[1]):
        return interleaved([timed(model) for model in models], rounds, most=PATIENCE)


def in_onnxruntime(dense: nn.Module, small: nn.Module, x: torch.Tensor, rounds: int) -> Any:
    """The same for the exported files."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # else a session's threads wait for work on the cores that the other one computes on
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def timed(path: Path) -> Callable[[], float]:
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        feeds = {session.get_inputs()[0].name: x.numpy()}

        def run() -> float:
            start = time.perf_counter()
            session.run(None, feeds)
            return time.perf_counter() - start

        return run

    with TemporaryDirectory() as folder:
        runs = []
        for name, model in (("dense", dense), ("small", small)):
            made = actprune.export(model, Path(folder) / f"{name}.onnx", [x])
            runs.append(timed(made.path))
        return interleaved(runs, rounds, most=PATIENCE)


def measure(net: str, rounds: int) -> Any:
    """One row for each plan and way of running it."""
    dense, data = NETWORKS[net]()
    x = next(iter(data.batches(BATCH))).args[0]
    for allocate, round_to in PLANS:
        small, plan = halved(dense, data, allocate, round_to)
        for way in (*LAYOUTS, "onnxruntime"):
            found = (
                in_onnxruntime(dense, small, x, rounds)
                if way == "onnxruntime"
                else in_torch(dense, small, x, way, rounds)
            )
            before, after = found
            yield {
                "net": net,
                "allocate": allocate,
                "round_to": round_to,
                "way": way,
                "macs_kept": plan.after.macs / plan.before.macs,
                "params_kept": plan.after.params / plan.before.params,
                "batch": len(x),
                "rounds": len(before),
                "threads_used": THREADS,
                "before_ms": 1e3 * median(before),
                "after_ms": 1e3 * median(after),
                **spread([b / a for b, a in zip(before, after, strict=True)]),
            }


def main() -> None:
    """Measure the networks and print one line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--net", choices=[*NETWORKS], action="append")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    if asked.net is None:
        begin("speed")
    for net in asked.net or NETWORKS:
        if net.startswith("resnet") and not cifar.assets().is_dir():
            print(f"{net:10} left out: the weights are not there")
            continue
        for row in measure(net, asked.rounds):
            append("speed", row)
            print(
                f"{net:10} {row['allocate']:8} round_to {row['round_to']} {row['way']:14} "
                f"{row['before_ms']:8.2f} to {row['after_ms']:8.2f} ms  x {row['ratio']:.2f} "
                f"[{row['ratio_p20']:.2f}, {row['ratio_p80']:.2f}]  MACs {row['macs_kept']:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
