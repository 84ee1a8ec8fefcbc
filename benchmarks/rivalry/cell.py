"""One cell: a network, a share of its MACs, a seed and a method, in a process of its own."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.costs import cost_of
from benchmarks.rivalry.material import material, published
from benchmarks.rivalry.methods import METHODS
from benchmarks.score import score

BUSY = 3.0  # a load average above which seconds say little


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`target`: percent of the whole model's MACs that may be kept; 100 for the dense network.

    test_images: 0 for a net of the zoo, which is measured on all of its held-out images.
    """

    net: str
    target: int
    seed: int
    method: str
    test_images: int

    @property
    def key(self) -> tuple[str, int, int, str, int]:
        return self.net, self.target, self.seed, self.method, self.test_images


def measure(cell: Cell) -> dict[str, Any]:
    """Prune and score; the memory is the process's own peak up to the pruned model."""
    busy = os.getloadavg()[0] > BUSY
    given = material(cell.net, cell.seed, cell.test_images)
    example = next(iter(given.test.batches(1)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = METHODS[cell.method].cut(given, cell.target / 100)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    after, dense = cost_of(made.model, example), cost_of(given.dense, example)
    return {
        **score(made.model, given.test),
        "macs_kept": after.macs / dense.macs,
        "params_kept": after.params / dense.params,
        "setting": made.setting,
        "seconds": made.seconds,
        "busy": busy,
        "peak_mb": peak / 1024,  # Linux counts in KiB
        "start_mb": before / 1024,
        "calibration_images": len(given.calibration.ids),
        "tested_images": len(given.test.ids),
        "torch_kirigami": _version("torch-kirigami"),
    }


def run_apart(cell: Cell, *, timeout: float, threads: int) -> dict[str, Any]:
    """`measure` in a fresh process; a failure or a timeout becomes a row with `error`, one line."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(sender, cell, threads), daemon=True)
    child.start()
    sender.close()
    try:
        if not receiver.poll(timeout):
            found: dict[str, Any] = {"error": f"not done after {timeout:g} s"}
        else:
            found = receiver.recv()
    except EOFError:
        child.join()
        found = {"error": f"its process died with exit code {child.exitcode}"}
    finally:
        if child.is_alive():
            child.join(1.0)
        if child.is_alive():
            child.kill()
        child.join()
        receiver.close()
    named = {"net": cell.net, "target": cell.target, "seed": cell.seed, "method": cell.method}
    return {**named, "test_images": cell.test_images, "timeout": timeout, **found}


def _send(sender: Connection, cell: Cell, threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        found = {**measure(cell), "cell_threads": threads}
    except Exception as e:
        found = {"error": f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"}
    sender.send(found)
    sender.close()


def cells_of(
    nets: list[str], targets: list[int], seeds: list[int], methods: list[str], test_images: int
) -> list[Cell]:
    """All cells asked for, what matters most first: seed by seed, target by target, net by net;
    the dense networks before the cuts."""
    found = []
    for seed in seeds:
        for i, target in enumerate(targets):
            for net in nets:
                images = test_images if published(net) else 0
                for method in (m for m in methods if METHODS[m].applies(net, seed)):
                    dense = METHODS[method].side == "dense"
                    if dense and i:
                        continue
                    share = 100 if dense else target
                    found.append(
                        Cell(net=net, target=share, seed=seed, method=method, test_images=images)
                    )
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
