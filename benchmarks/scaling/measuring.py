"""One run, from its description to its row."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import rankdata
from torch import Tensor

from benchmarks.scaling import counting
from benchmarks.scaling.grid import Run
from benchmarks.scaling.images import Images
from benchmarks.scaling.training import BATCH, WINDOW, Trained, new_net, train


def measure(run: Run, images: Images) -> dict[str, Any]:
    """Train the net and keep what the questions need, layer by layer."""
    start = time.perf_counter()
    trained = train(run, images)
    trained.net.eval()
    between = time.perf_counter()
    other = images.other_x
    shuffled = counting.windows(trained.net, other, counting.WINDOW)
    by_class = counting.windows(trained.net, _by_class(images), counting.WINDOW)
    on_training = counting.windows(trained.net, trained.x, counting.WINDOW)
    fresh = _untrained_spikes(run, images) if run.arm == "labels" else [{}] * run.layers
    layers = []
    for i in range(run.layers):
        counts = shuffled[i].sum(0)
        per_block = len(shuffled[i]) // counting.BLOCKS
        blocks = shuffled[i].reshape(counting.BLOCKS, per_block, -1).sum(1)
        sizes = np.full(counting.BLOCKS, per_block * counting.WINDOW, dtype=np.int64)
        seen = on_training[i].sum(0)
        layers.append(
            {
                "untrained": {**counting.state(trained.untrained[i], len(other)), **fresh[i]},
                "test": {
                    **counting.state(counts, len(other)),
                    "growth": counting.growth(counts, len(other)),
                    "laws": counting.laws(blocks, sizes),
                    "tails": counting.tails(counts, len(other)),
                    "spikes": counting.spikes(shuffled[i], counting.WINDOW, "shuffled"),
                    "spikes_by_class": counting.spikes(by_class[i], counting.WINDOW, "by class"),
                },
                "train": {
                    **counting.state(seen, run.samples),
                    "fits": counting.plain_laws(seen, run.samples),
                    "spikes": counting.spikes(
                        on_training[i], min(counting.WINDOW, run.samples), "shuffled"
                    ),
                },
                "live": _live(trained, i, counts),
                **(_units(trained, i, counts) if run.arm.startswith("orders") else {}),
            }
        )
    row = {
        **asdict(run),
        "steps": trained.steps,
        "reached": trained.reached,
        "train_loss": trained.train_loss,
        "looks": trained.looks,
        "layer_results": layers,
        "train_seconds": round(between - start, 2),
        "seconds": round(time.perf_counter() - start, 2),
    }
    return {name: short(value) for name, value in row.items()}


def short(value: Any) -> Any:
    """`value` with every real number in it to eight digits: rows by the hundred stay small."""
    if isinstance(value, dict):
        return {name: short(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [short(inner) for inner in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value


def _by_class(images: Images) -> Tensor:
    return images.other_x[images.other_y.argsort(stable=True)]


def _untrained_spikes(run: Run, images: Images) -> list[dict[str, Any]]:
    """The spike statistics of the net before its first step, layer by layer."""
    net = new_net(run)
    shuffled = counting.windows(net, images.other_x, counting.WINDOW)
    by_class = counting.windows(net, _by_class(images), counting.WINDOW)
    return [
        {
            "spikes": counting.spikes(a, counting.WINDOW, "shuffled"),
            "spikes_by_class": counting.spikes(b, counting.WINDOW, "by class"),
        }
        for a, b in zip(shuffled, by_class, strict=True)
    ]


def _live(trained: Trained, i: int, counts: np.ndarray) -> dict[str, Any]:
    """Counts of the passes of the training itself, whose weights change."""
    active = trained.windows.sites[i].samples_active
    even = trained.windows.sites[i].even
    so_far = active.cumsum(0)
    V = len(active)  # windows
    at = np.unique(np.rint(np.geomspace(1, V, 20)).astype(int)) - 1
    samples = trained.windows.sites[i].samples
    first, last = active[: max(1, V // 10)].sum(0), active[-max(1, V // 10) :].sum(0)
    return {
        "samples": samples.cumsum()[at].tolist(),
        "working": (so_far[at] > 0).sum(1).tolist(),
        "active": counting.rounded((active.sum(1) / samples)[at]),  # units a sample in that window
        "first_epoch_working": int(
            (so_far[min(V, max(1, len(trained.x) // (BATCH * WINDOW))) - 1] > 0).sum()
        ),
        "spikes": counting.spikes(active[even], int(samples.max()), "training"),
        "rank_first_last": _rank(first, last),  # first and last tenth of the training
        "rank_untrained_test": _rank(trained.untrained[i], counts),
    }


def _units(trained: Trained, i: int, counts: np.ndarray) -> dict[str, Any]:
    """The counts of every unit, where runs are compared unit by unit."""
    return {
        "counts_untrained": trained.untrained[i].tolist(),
        "counts_test": counts.tolist(),
        "counts_live": trained.windows.sites[i].samples_active.sum(0).tolist(),
        "samples_live": int(trained.windows.sites[i].samples.sum()),
    }


def _rank(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's correlation over units; None where one side is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
