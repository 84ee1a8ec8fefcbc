"""Under torchrun: meet the other processes, and let the first alone write and speak."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from actprune.errors import ActpruneError

from ._console import is_first, note

MISTAKE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """This process among those that torchrun started; 0 of 1 without torchrun."""

    number: int
    size: int

    @property
    def first(self) -> bool:
        return self.number == 0

    def own(self, path: Path) -> Path:
        """Where this rank keeps what it has counted, if all of them are told `path`."""
        from actprune.profiling.ranks.sharing import own_path

        return own_path(path, self.number, self.size)

    def agreeing(self) -> AbstractContextManager[None]:
        """A block that fails on all ranks if it fails on one."""
        from actprune.profiling.ranks.team import agreeing

        return agreeing()


@contextmanager
def launched() -> Iterator[Rank]:
    """Join the processes that torchrun started, if it did, for the block.

    They meet through gloo, whatever the models run on: only counts are exchanged, and these are on
    the CPU. What all ranks raise together the first one alone reports.

    Raises:
        ActpruneError: if the environment has a WORLD_SIZE, but the processes cannot meet.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Rank(number=0, size=1)
        return
    import torch.distributed as dist

    from actprune.profiling.ranks.team import TeamError

    try:
        dist.init_process_group("gloo")
    except (ValueError, RuntimeError) as e:
        said = str(e).splitlines()[0]
        raise ActpruneError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but the processes cannot meet ({said}); "
            f"start them with torchrun, or unset WORLD_SIZE."
        ) from None
    try:
        yield Rank(number=dist.get_rank(), size=dist.get_world_size())
    except TeamError as e:
        if is_first():
            note(str(e))
        with suppress(RuntimeError):
            dist.barrier()  # torchrun ends all as soon as one has ended
        raise typer.Exit(MISTAKE) from None
    finally:
        dist.destroy_process_group()


def own_device(device: str) -> str:
    """`cuda` under torchrun means the rank's own device of its machine."""
    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{local}" if device == "cuda" and local is not None else device


def unless(skip: bool, block: AbstractContextManager[None]) -> AbstractContextManager[None]:
    """`block`, or nothing."""
    return nullcontext() if skip else block
