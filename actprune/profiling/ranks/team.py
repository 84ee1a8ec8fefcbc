"""Processes that work on one profile, and end together: with a result, or with one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, NoReturn, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.running.forward import in_one_line

Ranks: TypeAlias = Literal["together", "alone"]
TIMEOUT = timedelta(minutes=10)  # that one rank waits for another


class TeamError(ActpruneError):
    """Raised on every rank, with the same message."""


@contextmanager
def joined(ranks: Ranks) -> Iterator[Team]:
    """The team of all ranks of torch.distributed for the block, or of this process alone if it is
    not initialized, has one rank, or `ranks` is "alone".

    The team has a group of its own, gloo on the CPU, which works beside NCCL and on any machine.
    A rank that raises in the block tells the others, who raise the same at their next `agree`.

    Raises:
        ActpruneError: if a rank does not come within `TIMEOUT`; and as above.
    """
    if ranks not in ("together", "alone"):
        raise ActpruneError(f"ranks must be 'together' or 'alone', got {ranks!r}.")
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    if ranks == "alone" or not several:
        yield Team(None, 0, 1)
        return
    try:
        group: Any = dist.new_group(timeout=TIMEOUT, backend="gloo")
    except RuntimeError as e:
        raise _lost(e) from e
    team = Team(group, dist.get_rank(), dist.get_world_size())
    try:
        yield team
    except Exception as e:
        team.fail(e)
    finally:
        dist.destroy_process_group(group)


@contextmanager
def agreeing() -> Iterator[None]:
    """A block at whose end all ranks know that none has raised in it; raises as `joined`."""
    with joined("together") as team:
        yield
        team.agree()


class Team:
    """The ranks that have joined. All must call the same methods in the same order; a team of one
    has nobody to wait for."""

    def __init__(self, group: Any, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._group = group
        self._over = False  # nobody listens any more

    def agree(self, *, working: bool = False) -> bool:
        """Learn whether all ranks are well, and say so oneself; whether any is still `working`.

        Ranks may call it a different number of times while they work, if each goes on calling it
        until nobody does.

        Raises:
            TeamError: if a rank has failed.
        """
        if self.size == 1:
            return working
        failed, busy = self._exchange(failed=False, working=working)
        if failed:
            self._end(failed, b"")
        return busy > 0

    def fail(self, e: Exception) -> NoReturn:
        """Tell the others that this rank has failed, and raise: what all of them raise or, if this
        is no mistake of the user's, `e` itself."""
        if self._over or self.size == 1:
            raise e
        said = str(e) if isinstance(e, ActpruneError) else in_one_line(e)
        failed, _ = self._exchange(failed=True, working=False)
        try:
            self._end(failed, said.encode())
        except TeamError as agreed:
            if isinstance(e, ActpruneError):
                raise agreed from e.__cause__ or e
            raise e from None

    def refuse(self, message: str) -> NoReturn:
        """Raise what every rank raises here, since all of them know it."""
        self._over = True
        raise TeamError(message)

    def reduce(self, tensor: Tensor, op: dist.ReduceOp.RedOpType) -> Tensor:
        """The sum, least or greatest over all ranks of each entry, on the CPU."""
        if self.size == 1:
            return tensor
        whole = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        try:
            dist.all_reduce(whole, op, group=self._group)
        except RuntimeError as e:
            self._over = True
            raise _lost(e) from e
        return whole

    def gather(self, row_N: Tensor) -> Tensor:
        """What each rank gave, int64 [ranks, N]."""
        rows_RN = row_N.new_zeros((self.size, len(row_N)))
        rows_RN[self.rank] = row_N
        return self.reduce(rows_RN, dist.ReduceOp.SUM)

    def hear(self, said: bytes, speaker: int) -> bytes:
        """What rank number `speaker` said."""
        length = int(self.gather(torch.tensor([len(said)]))[speaker])
        letters = torch.zeros(length, dtype=torch.int64)
        if self.rank == speaker:
            letters += torch.tensor(list(said), dtype=torch.int64)
        return bytes(self.reduce(letters, dist.ReduceOp.SUM).tolist())

    def finish(self) -> None:
        """Nothing is left to be agreed on: what a rank raises from now on is its own affair."""
        self._over = True

    def _exchange(self, *, failed: bool, working: bool) -> tuple[list[int], int]:
        rows = self.gather(torch.tensor([int(failed), int(working)]))
        return rows[:, 0].nonzero().flatten().tolist(), int(rows[:, 1].sum())

    def _end(self, failed: list[int], said: bytes) -> NoReturn:
        message = self.hear(said, failed[0]).decode()
        self.refuse(message if len(failed) == self.size else f"Rank {failed[0]}: {message}")


def _lost(e: Exception) -> ActpruneError:
    return ActpruneError(
        f"A rank was lost, or did not come within {TIMEOUT} ({in_one_line(e)}); start all of them "
        f"again, or, to profile on this rank only, say ranks='alone'."
    )
