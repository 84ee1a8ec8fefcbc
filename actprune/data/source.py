"""Where batches come from: arrays in memory, or any loader that can be iterated again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from actprune.data.batch import Batch, as_batch
from actprune.errors import ActpruneError

Predicate: TypeAlias = Callable[[Tensor], Tensor]  # ids int64 [S] -> bool [S]


class Source(Protocol):
    """Samples in a fixed order, readable as often as needed."""

    @property
    def spec(self) -> str:
        """How the user named these data."""
        ...

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """All samples in order, `size` at a time where the source can choose (default 128)."""
        ...

    def where(self, keep: Predicate) -> Source:
        """The samples whose ids satisfy `keep`, under their original ids."""
        ...


DEFAULT_BATCH = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrays:
    """Tensors in memory: `inputs` each [n, ...], optional `labels` [n, ...], `ids` int64 [n]."""

    inputs: tuple[Tensor, ...]
    labels: Tensor | None
    ids: Tensor
    spec: str

    @classmethod
    def of(cls, *inputs: Tensor, labels: Tensor | None = None, spec: str = "tensors") -> Arrays:
        """Number the samples 0, 1, ...; raises ActpruneError where lengths disagree or are 0."""
        if any(x.ndim == 0 for x in inputs):
            raise ActpruneError(f"{spec}: the first axis must be the samples, got a single number.")
        lengths = {len(x) for x in inputs} | (set() if labels is None else {len(labels)})
        if len(lengths) != 1:
            raise ActpruneError(
                f"{spec}: all arrays must have the same number of samples, got {sorted(lengths)}."
            )
        (n,) = lengths
        if n == 0:
            raise ActpruneError(f"{spec}: the data are empty; give at least one sample.")
        return cls(inputs=inputs, labels=labels, ids=torch.arange(n), spec=spec)

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        for ids in torch.arange(len(self.ids)).split(size or DEFAULT_BATCH):
            yield Batch(
                args=tuple(x[ids] for x in self.inputs),
                kwargs={},
                labels=None if self.labels is None else self.labels[ids],
                ids=self.ids[ids],
            )

    def where(self, keep: Predicate) -> Arrays:
        mask = keep(self.ids)
        return Arrays(
            inputs=tuple(x[mask] for x in self.inputs),
            labels=None if self.labels is None else self.labels[mask],
            ids=self.ids[mask],
            spec=self.spec,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loader:
    """A DataLoader, list or other iterable of batches, in its own batch sizes."""

    iterable: Iterable[Any]
    spec: str = "loader"
    filters: tuple[Predicate, ...] = ()
    _used: list[bool] = field(default_factory=lambda: [False])

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        single_pass = isinstance(self.iterable, Iterator)
        if single_pass and self._used[0]:
            raise ActpruneError(
                f"{self.spec}: the data are needed more than once, but a generator can be read "
                f"only once; pass a list, a DataLoader or an object with __iter__."
            )
        self._used[0] = True
        first = 0
        for raw in self.iterable:
            batch = as_batch(raw, first)
            first += len(batch)
            keep = torch.ones(len(batch), dtype=torch.bool)
            for predicate in self.filters:
                keep &= predicate(batch.ids)
            if keep.any():  # never an empty batch
                yield batch if keep.all() else batch.select(keep)

    def where(self, keep: Predicate) -> Loader:
        return Loader(
            iterable=self.iterable,
            spec=self.spec,
            filters=(*self.filters, keep),
            _used=self._used,
        )


def as_source(data: Source | Iterable[Any], spec: str | None = None) -> Source:
    """A Source as it is; a bare tensor or any iterable of batches wrapped as one."""
    if isinstance(data, (Arrays, Loader)):
        return data
    if isinstance(data, Tensor):
        return Arrays.of(data, spec=spec or "tensor")
    if hasattr(data, "batches") and hasattr(data, "where"):
        return data  # pyright: ignore[reportReturnType]  # a user's own Source
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise ActpruneError(
            f"Data must be an iterable of batches (tensor, tuple or dict), "
            f"got {type(data).__name__}."
        )
    return Loader(iterable=data, spec=spec or "loader")


def fingerprint(batch: Batch) -> str:
    """16 hex digits of the first sample's inputs: tells one ordering of one data set from another.

    It does not depend on the batch size. A loader that shuffles changes it.
    """
    digest = hashlib.blake2b(digest_size=8)
    inputs: Sequence[Any] = (*batch.args, *batch.kwargs.values())
    for x in inputs:
        if isinstance(x, Tensor) and x.ndim:
            first = x[:1].detach().cpu().contiguous()
            digest.update(f"{first.dtype}{tuple(first.shape)}".encode())
            digest.update(first.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
