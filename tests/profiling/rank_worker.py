"""One of several processes: profiles in every way that test_distributed.py asks about.

Each case leaves `CASE.RANK.safetensors` in the folder, or `CASE.RANK.txt` with what was raised.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from exact_models import SAMPLES, exact_cnn, exact_mlp, whole_numbers, with_whole_weights
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from actprune.data.source import Arrays
from actprune.data.text import Text
from actprune.profiling.collect import profile
from actprune.profiling.ranks import team
from actprune.profiling.result import Profile
from actprune.profiling.store import save_profile

VECTORS = whole_numbers(SAMPLES, 4, seed=100)
IMAGES = whole_numbers(SAMPLES, 1, 4, 4, seed=101)


class Words(nn.Sequential):
    """What it makes of a token depends on no other token."""

    def __init__(self) -> None:
        super().__init__(nn.Embedding(9, 4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def labelled() -> Arrays:
    """Classes 0 and 1 in the first batch of 50, 2 in the second, 3 in the last."""
    return Arrays.of(VECTORS, labels=torch.cat([torch.arange(50) % 2, torch.arange(100) // 50 + 2]))


def documents(count: int) -> Text:
    lengths = torch.randint(1, 12, (count,), generator=torch.Generator().manual_seed(0)).tolist()
    return Text(
        documents=[(torch.arange(n) * (i + 1) % 9).tolist() for i, n in enumerate(lengths)],
        length=5,
    )


def once() -> Iterator[Tensor]:
    yield from VECTORS.split(40)


# what one process gives for it, two must give as well
EQUAL: dict[str, Callable[[], Profile]] = {
    "five batches": lambda: profile(
        exact_mlp(), VECTORS, batch_size=32, gram=True, histogram=True, leave_out=True
    ),
    "a generator": lambda: profile(exact_mlp(), once(), rule="positive"),
    "fewer batches than ranks": lambda: profile(exact_cnn(), IMAGES, batch_size=SAMPLES, gram=True),
    "strata": lambda: profile(exact_mlp(), labelled(), strata="labels", batch_size=50),
    "documents": lambda: profile(with_whole_weights(Words()), documents(40), leave_out=True),
    "one document": lambda: profile(with_whole_weights(Words()), documents(1)),
    "some samples": lambda: profile(exact_mlp(), VECTORS, batch_size=30, samples=100),
}


def spoilt(rank: int) -> list[Tensor]:
    """The fourth of five batches is not a number, on rank 1."""
    batches = list(VECTORS.split(30))
    return [x * float("nan") if i == 3 and rank == 1 else x for i, x in enumerate(batches)]


def broken(rank: int) -> Iterator[Tensor]:
    for i, x in enumerate(VECTORS.split(30)):
        if i == 3 and rank == 1:
            raise OSError("the disk is gone")
        yield x


def resumed(folder: Path) -> Profile:
    """Stopped after some batches, on both ranks; then to the end."""
    seen = 0

    def stop(samples: int) -> None:
        nonlocal seen
        seen += samples
        if seen > 100:
            raise OSError("no more")

    options: dict[str, Any] = {"checkpoint": folder / "half", "every": 1, "batch_size": 10}
    try:
        profile(exact_mlp(), VECTORS, progress=stop, **options)
    except OSError:
        return profile(exact_mlp(), VECTORS, resume=True, **options)
    raise AssertionError


def cases(rank: int, folder: Path) -> dict[str, Callable[[], Profile]]:
    half = VECTORS[75 * rank :][:75]
    sharded = DistributedSampler(TensorDataset(VECTORS), shuffle=False)
    other = exact_mlp()
    other.get_parameter("0.bias").data += rank
    return {
        **EQUAL,
        "resumed": lambda: resumed(folder),
        "wrapped": lambda: profile(DistributedDataParallel(exact_mlp()), VECTORS),
        "alone": lambda: profile(exact_mlp(), half, rule="positive", ranks="alone"),
        "an error on one rank": lambda: profile(exact_mlp(), spoilt(rank)),
        "a crash on one rank": lambda: profile(exact_mlp(), broken(rank)),
        "other data": lambda: profile(exact_mlp(), half),
        "other weights": lambda: profile(other, VECTORS),
        "other arguments": lambda: profile(exact_mlp(), VECTORS, seed=rank),
        "a shorter stream": lambda: profile(exact_mlp(), VECTORS[: 150 - rank]),
        "a sampler": lambda: profile(
            exact_mlp(), DataLoader(sharded.dataset, batch_size=5, sampler=sharded)
        ),
        "fsdp 1": lambda: profile(
            FullyShardedDataParallel(exact_mlp(), device_id=torch.device("cpu")), VECTORS
        ),
        "fsdp 2": lambda: profile(spread_out(), VECTORS),
        "a rank that does not come": lambda: only_on(0, rank),
    }


def spread_out() -> nn.Module:
    model = exact_mlp()
    fully_shard(model)
    return model


def only_on(wanted: int, rank: int) -> Profile:
    team.TIMEOUT = timedelta(seconds=1)
    return profile(exact_mlp(), VECTORS, ranks="together" if rank == wanted else "alone")


def main(rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size
    )
    for name, run in cases(rank, folder).items():
        place = folder / f"{name}.{rank}"
        try:
            save_profile(run(), place.with_suffix(f".{rank}.safetensors"))
        except Exception as e:
            place.with_suffix(f".{rank}.txt").write_text(f"{type(e).__name__}: {e}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
