"""The samples that healing trains on and looks at, any of them at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.data.calibration import read_again
from actprune.data.source import Source, as_source
from actprune.data.split import Part, in_parts
from actprune.errors import ActpruneError
from actprune.planning.result import Plan


def pools(batches: Source | Iterable[Any], plan: Plan | None, seed: int) -> tuple[Batch, Batch]:
    """All samples of the fit part, and all of the select part, as one batch each.

    With a plan, the parts are the plan's, of the samples it was made on; else `seed` decides them.

    Raises:
        ActpruneError: if a part is empty, the data are not the plan's, or samples differ in shape.
    """
    source = as_source(batches)

    def read(part: Part) -> list[Batch]:
        if plan is not None:
            return read_again(
                source,
                origins=plan.data.origins,
                seed=plan.data.seed,
                leave_out=plan.data.heldout,
                parts=[part],
            )
        return list(source.where(lambda ids: in_parts(ids, seed, part)).batches())

    found = []
    for part in (Part.FIT, Part.SELECT):
        read_of_part = [b for b in read(part) if len(b)]
        if not read_of_part:
            raise ActpruneError(
                f"{source.spec}: no calibration sample falls into the {part.name.lower()} part, "
                f"which healing needs; give more data."
            )
        found.append(joined_batch(read_of_part, source.spec))
    return found[0], found[1]


def joined_batch(batches: Sequence[Batch], spec: str) -> Batch:
    """All samples of `batches` in one; raises ActpruneError where that cannot be."""
    first = batches[0]
    names = list(first.kwargs)
    if any(len(b.args) != len(first.args) or list(b.kwargs) != names for b in batches):
        raise ActpruneError(f"{spec}: batches differ in their inputs; give the same in each.")
    if any((b.labels is None) != (first.labels is None) for b in batches):
        raise ActpruneError("Some batches have labels and some have none; give all or none.")

    def join(values: Sequence[Any]) -> Any:
        known = values[0]
        if not isinstance(known, Tensor) or not known.ndim:
            if any(not _same(known, v) for v in values):
                raise ActpruneError(
                    f"{spec}: an input that is no array of samples differs between batches; "
                    f"healing mixes the batches, so it must be the same in all."
                )
            return known
        if any(v.shape[1:] != known.shape[1:] or v.dtype != known.dtype for v in values):
            shapes = sorted({tuple(v.shape[1:]) for v in values})
            raise ActpruneError(
                f"{spec}: samples differ in shape or type {shapes[:3]}, and healing mixes them "
                f"into new batches; pad or crop them to one shape."
            )
        return torch.cat(list(values))

    labels = [b.labels for b in batches]
    documents = [b.documents for b in batches]
    return Batch(
        args=tuple(join([b.args[i] for b in batches]) for i in range(len(first.args))),
        kwargs={k: join([b.kwargs[k] for b in batches]) for k in names},
        labels=None if first.labels is None else join(labels),
        ids=torch.cat([b.ids for b in batches]),
        documents=None if first.documents is None else join(documents),
    )


def pieces(batch: Batch, size: int) -> Iterator[Batch]:
    """`batch` in order, `size` samples at a time."""
    for index in torch.arange(len(batch)).split(size):
        yield batch.select(index)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b)
    return type(a) is type(b) and bool(a == b)
