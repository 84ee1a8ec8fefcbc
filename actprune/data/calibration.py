"""The samples a profile was counted on, read again, part by part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.data.source import Source, fingerprint
from actprune.data.split import Part, heldout, in_parts
from actprune.errors import ActpruneError

ALL_PARTS = (Part.FIT, Part.SELECT, Part.CHECK)


def read_again(
    source: Source,
    *,
    origins: Sequence[tuple[str, int, int]],
    seed: int,
    leave_out: bool,
    parts: Sequence[Part] = ALL_PARTS,
    batch_size: int | None = None,
) -> list[Batch]:
    """The calibration samples in `parts`, never a held-out one.

    Args:
        origins: (fingerprint of the first sample, start, stop) of each shard profiled.
        seed, leave_out: as in the profile.

    Raises:
        ActpruneError: if `source` does not start with the sample that was profiled first, which is
            what happens when a loader shuffles: the parts could then no longer be told apart.
    """
    first = next(iter(source.batches(1)), None)
    if first is None:
        raise ActpruneError(f"{source.spec}: the data are empty; give at least one sample.")
    origin = fingerprint(first)
    ranges = [(start, stop) for known, start, stop in origins if known == origin]
    if not ranges:
        raise ActpruneError(
            f"{source.spec}: not the data that were profiled, or in another order; pass the same "
            f"data without shuffling."
        )

    def wanted(ids: Tensor) -> Tensor:
        inside = in_parts(ids, seed, *parts)
        if leave_out:
            inside &= ~heldout(ids, seed)
        counted = torch.zeros_like(inside)
        for start, stop in ranges:
            counted |= (ids >= start) & (ids < stop)
        return inside & counted

    return list(source.where(wanted).batches(batch_size))
