"""Which samples a profile reads: the first so many, less those left for `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.data.source import Predicate, Source
from actprune.data.split import heldout
from actprune.errors import ActpruneError

Read = tuple[Batch, Batch | None]  # as it was read, and what of it is calibrated on, if anything


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A stream that has begun: what lies at its head, and all of it."""

    first: Batch  # as it was read
    head: tuple[Batch, ...]  # the first batches to calibrate on
    stream: Iterator[Read]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A source and what of it is read: in its order, the same samples every time."""

    source: Source
    samples: int | None = None  # of the source, before leaving out; documents of a text
    batch_size: int | None = None
    leave_out: bool = False
    seed: int = 0

    def open(self, samples: int) -> Opened:
        """Read on until the head holds so many samples to calibrate on. The source is read once,
        so it may be a generator.

        Raises:
            ActpruneError: if there are no data, or none to calibrate on.
        """
        raw = self.source.batches(self.batch_size)
        first = next(raw, None)
        if first is None:
            raise ActpruneError(
                f"{self.source.spec}: the data are empty; give at least one sample."
            )
        if first.documents is None:
            stream = self._samples(_again([first], raw))
        else:
            stream = self._documents()
        taken: list[Read] = []
        usable = 0
        for read in stream:
            taken.append(read)
            usable += len(read[1] or ())
            if usable >= samples:
                break
        head = tuple(batch for _, batch in taken if batch is not None)
        if not head:
            raise ActpruneError(
                f"{self.source.spec}: no calibration sample is left; give more data."
            )
        return Opened(first=first, head=head, stream=_again(taken, stream))

    def documents(self, keep: Predicate) -> Iterator[Read]:
        """Of a text, the documents to calibrate on that `keep` wants too, packed by themselves."""
        return replace(self, source=self.source.where(keep))._documents()

    def _samples(self, raw: Iterator[Batch]) -> Iterator[Read]:
        left = self.samples
        for batch in raw:
            if left is not None and len(batch) > left:
                batch = batch.select(torch.arange(left))
            if not self.leave_out:
                yield batch, batch
            else:
                keep = ~heldout(batch.ids, self.seed)
                yield batch, batch.select(keep) if keep.any() else None
            if left is not None:
                left -= len(batch)
                if left <= 0:
                    return

    def _documents(self) -> Iterator[Read]:
        """Documents are chosen before they are packed: no window holds one that is left out."""

        def wanted(ids: Tensor) -> Tensor:
            keep = torch.ones_like(ids, dtype=torch.bool)
            if self.samples is not None:
                keep &= ids < self.samples
            return keep & ~heldout(ids, self.seed) if self.leave_out else keep

        for batch in self.source.where(wanted).batches(self.batch_size):
            yield batch, batch


def _again(taken: list, rest: Iterator) -> Iterator:
    yield from taken
    yield from rest


def last_sample(batch: Batch) -> int:
    """The id of the last sample that a batch holds, or a piece of it."""
    return int(batch.ids[-1] if batch.documents is None else batch.documents[-1, -1])
