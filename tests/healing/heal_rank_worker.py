"""One of several processes: heals in every way that test_heal_ranks.py asks about.

Each case leaves `CASE.RANK.safetensors` in the folder, or `CASE.RANK.txt` with what was raised.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from heal_models import data, dense, narrow, quick, state_of
from safetensors.torch import save_file

from actprune.data.batch import Batch
from actprune.healing.heal import heal
from actprune.healing.result import Healed

STEPS, RATE = 6, 1e-2


def alone(batch: int) -> Healed:
    """In double precision, so that rounding stays far below what a step changes."""
    return heal(
        narrow().double(),
        dense().double(),
        data(wide=True),
        settings=quick(steps=STEPS, lr=RATE, batch=batch, every=3),
    )


def resumed(folder: Path) -> Healed:
    path, settings = folder / "half", quick(steps=20, every=5, batchnorm="update")
    taken = 0

    def stop(_: str) -> None:
        nonlocal taken
        taken += 1
        if taken == 12:
            raise OSError("no more")

    model, whole = narrow(dropout=0.2), dense()
    try:
        heal(model, whole, data(), settings=settings, checkpoint=path, progress=stop)
    except OSError:
        return heal(model, whole, data(), settings=settings, checkpoint=path, resume=True)
    raise AssertionError


def broken(rank: int) -> Healed:
    def augment(batch: Batch) -> Batch:
        if rank == 1:
            raise OSError("the disk is gone")
        return batch

    return heal(narrow(), dense(), data(), settings=quick(), augment=augment)


def cases(rank: int, folder: Path) -> dict[str, Callable[[], Healed]]:
    update = quick(steps=20, every=5, batchnorm="update")
    return {
        "together": lambda: alone(8),
        "whole": lambda: heal(narrow(dropout=0.2), dense(), data(), settings=update),
        "resumed": lambda: resumed(folder),
        "another rate": lambda: heal(narrow(), dense(), data(), settings=quick(lr=0.1 + rank)),
        "a crash": lambda: broken(rank),
    }


def main(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size
    )
    for name, run in cases(rank, folder).items():
        try:
            save_file(state_of(run().model), folder / f"{name}.{rank}.safetensors")
        except Exception as e:
            (folder / f"{name}.{rank}.txt").write_text(f"{type(e).__name__}: {e}")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
