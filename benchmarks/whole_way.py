"""How long the whole way takes: profile, plan and prune, with 2,048 images.

    python -m benchmarks.whole_way [--nets resnet20 resnet56] [--threads 2]

Half of the MACs are kept; ranking, allocation, refit and forecast included, and no gradient step.
Rows go to benchmarks/results/whole_way.jsonl, one for each way of allocating. Time on a machine
that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any, Literal

import torch

import actprune
from benchmarks.harness import append
from benchmarks.rivalry.material import material
from benchmarks.score import score

TARGET = "macs=50%"
WAYS: tuple[Literal["global", "uniform"], ...] = ("global", "uniform")


def measure(net: str, allocate: Literal["global", "uniform"]) -> dict[str, Any]:
    """Seconds of each stage, and the accuracy on the whole test set."""
    given = material(net, 0, 10_000)
    load = os.getloadavg()[0]
    start = time.perf_counter()
    profile = actprune.profile(given.dense, given.calibration)
    profiled = time.perf_counter()
    plan = actprune.plan(
        given.dense, profile, TARGET, allocate=allocate,
        batches=given.calibration, check=given.check,
    )  # fmt: skip
    planned = time.perf_counter()
    small = actprune.prune(given.dense, plan, batches=given.calibration)
    pruned = time.perf_counter()
    return {
        "net": net,
        "allocate": allocate,
        "images": len(given.calibration.ids),
        "profile_s": profiled - start,
        "plan_s": planned - profiled,
        "prune_s": pruned - planned,
        "macs_kept": plan.after.macs / plan.before.macs,
        "load": load,  # of the machine before the start: 1 is one busy core
        **score(small, given.test),
    }


def main() -> None:
    """All rows asked for, anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for net in asked.nets:
        for allocate in WAYS:
            row = measure(net, allocate)
            append("whole_way", row)
            total = row["profile_s"] + row["plan_s"] + row["prune_s"]
            print(f"{net} {allocate}: {total:.0f} s, accuracy {row['accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    main()
