"""One stream for several processes: all read the same one, and each runs its share of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch.utils.data import DataLoader, DistributedSampler

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.profiling.ranks.team import Team
from actprune.profiling.reading import Opened, Read, Reading
from actprune.profiling.rules import Rule

AGREE_EVERY = 8  # forward passes of a rank after which it asks how the others are
_SHARED = (
    "give every rank the same data in the same order, neither shuffled nor shared out; or, if each "
    "has samples of its own, profile with ranks='alone' and merge the profiles"
)
_REMEDY = {  # for each fact that all ranks must share
    "arguments": "call profile with the same ones on every rank",
    "model": "load the same weights on every rank",
    "data": _SHARED,
    "stream": _SHARED,
    "sites": "run the same versions on the same kind of device on every rank",
}


def check_plain(team: Team, batches: object) -> None:
    """Raises ActpruneError if a loader already shares the samples out among the ranks, whose ids
    could not be told apart any more."""
    loader = getattr(batches, "iterable", batches)
    if team.size == 1 or not isinstance(loader, DataLoader):
        return
    samplers = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    made = type(loader).__name__ + type(loader.batch_sampler).__name__
    if any(isinstance(s, DistributedSampler) for s in samplers) or "Shard" in made:
        raise ActpruneError(f"The loader gives each rank other samples; {_SHARED}.")


def check_alike(team: Team, **facts: str) -> None:
    """Raises the same TeamError on every rank if one of the facts, named in `_REMEDY`, differs."""
    if odd := odd_one(team, **facts):
        rank, name = odd
        team.refuse(f"Rank {rank} does not profile the same {name} as rank 0; {_REMEDY[name]}.")


def odd_one(team: Team, **facts: str) -> tuple[int, str] | None:
    """The first fact in which a rank differs from rank 0, and that rank; None if none does."""
    if team.size == 1:
        return None
    team.agree()
    marks = [hashlib.blake2b(x.encode(), digest_size=7).digest() for x in facts.values()]
    seen_RF = team.gather(torch.tensor([int.from_bytes(m) for m in marks]))
    for column, name in enumerate(facts):
        for rank in range(1, team.size):
            if seen_RF[rank, column] != seen_RF[0, column]:
                return rank, name
    return None


def agreed_rules(team: Team, fix: Callable[[], Mapping[str, Rule]]) -> dict[str, Rule]:
    """The rules as rank 0 has fixed them."""
    rules = dict(fix()) if team.rank == 0 else {}
    if team.size == 1:
        return rules
    team.agree()
    said = json.dumps({name: rule.model_dump() for name, rule in rules.items()})
    heard = json.loads(team.hear(said.encode(), 0))
    return {name: Rule.model_validate(rule) for name, rule in heard.items()}


def share(team: Team, reading: Reading, opened: Opened) -> Iterator[Read]:
    """This rank's part of an opened stream.

    Whole batches in turn, so that each forward pass is what it is in a single process; the others
    come without anything to calibrate on. Of packed text, the documents in turn, which are packed
    anew: other windows than those of a single process, so that activations differ where they depend
    on what stands before a document in its window.

    Raises:
        TeamError: if another rank has failed, or has read another stream.
    """
    if team.size == 1:
        yield from opened.stream
        return
    text = opened.first.documents is not None
    stream = _documents(team, reading) if text else _in_turn(team, opened.stream)
    number, last = 0, None
    for number, read in enumerate(stream, 1):
        last = read[0]
        if number % (AGREE_EVERY * (1 if text else team.size)) == 0:
            team.agree(working=True)
        yield read
    while team.agree():
        pass
    if not text:
        ids = "" if last is None else str(last.ids[-1:].tolist())
        check_alike(team, stream=f"{number} {ids}")


def _in_turn(team: Team, stream: Iterator[Read]) -> Iterator[Read]:
    for index, (whole, batch) in enumerate(stream):
        yield whole, batch if index % team.size == team.rank else None


def _documents(team: Team, reading: Reading) -> Iterator[Read]:
    for whole, batch in reading.documents(lambda ids: ids % team.size == team.rank):
        if not _all_mine(team, whole):
            raise ActpruneError(
                f"{reading.source.spec}: its `where` leaves documents in the windows that were not "
                f"asked for, so they cannot be shared out; leave them out before packing."
            )
        yield whole, batch


def _all_mine(team: Team, batch: Batch) -> bool:
    return batch.documents is not None and bool((batch.documents % team.size == team.rank).all())


def own_path(path: Path | str, rank: int, size: int) -> Path:
    """Where a rank keeps its checkpoint: `path`, followed by the rank if there are several."""
    path = Path(path)
    return path if size == 1 else path.with_name(f"{path.name}.{rank}of{size}")
