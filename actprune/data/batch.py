"""One batch in one shape, whatever the loader yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from actprune.errors import ActpruneError

LABEL_KEYS = ("labels", "label", "y", "target")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # eq would compare tensors
class Batch:
    """Model inputs and labels of S samples; the first axis of every tensor is the sample.

    `ids` are the samples' indices in their data set: they alone decide which block, split and
    held-out part a sample belongs to, so batch size and sharding never matter.

    Packed text holds documents: there the rows are windows of T positions, `documents` says which
    document each position is from (non-decreasing in reading order), and `ids` are the documents
    at the rows' first positions. The model never sees either.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    labels: Tensor | None
    ids: Tensor  # int64 [S], on the CPU
    documents: Tensor | None = None  # int64 [S, T], on the CPU: of each token of packed windows

    def __len__(self) -> int:
        return self.ids.numel()

    def run(self, model: nn.Module) -> Any:
        """The model's raw output on this batch."""
        return model(*self.args, **self.kwargs)

    def select(self, index: Tensor) -> Batch:
        """The samples at `index` (int64 positions within the batch, or a bool mask [S])."""
        documents = None if self.documents is None else self.documents[index]
        return self._map(lambda x: x[index.to(x.device)], self.ids[index], documents)

    def shortened(self, tokens: int) -> Batch:
        """Packed windows cut to their first tokens; any other batch as it is."""
        if self.documents is None or self.documents.shape[1] <= tokens:
            return self
        shape = self.documents.shape

        def short(x: Tensor) -> Tensor:
            return x[:, :tokens] if x.shape[:2] == shape else x

        return self._map(short, self.ids, short(self.documents))

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        return self._map(lambda x: x.to(device), self.ids, self.documents)

    def _map(self, fn: Any, ids: Tensor, documents: Tensor | None) -> Batch:
        def each(x: Any) -> Any:
            return fn(x) if isinstance(x, Tensor) and x.ndim else x

        return Batch(
            args=tuple(each(a) for a in self.args),
            kwargs={k: each(v) for k, v in self.kwargs.items()},
            labels=None if self.labels is None else each(self.labels),
            ids=ids,
            documents=documents,
        )


def as_batch(raw: Any, first_id: int) -> Batch:
    """Read what a loader yielded.

    A tensor is one unlabelled input; a tuple or list is `(inputs..., labels)`, or `(input,)`
    without labels; a mapping holds keyword inputs, with labels under one of `LABEL_KEYS`; a Batch
    stays as it is.

    Raises:
        ActpruneError: if no input tensor is found, labels are no array, or the first axes disagree.
    """
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    labels: Tensor | None = None
    if isinstance(raw, Batch):
        return raw
    if isinstance(raw, Tensor):
        args = (raw,)
    elif isinstance(raw, Mapping):
        kwargs = dict(raw)
        for key in LABEL_KEYS:
            if key in kwargs:
                labels = kwargs.pop(key)
                break
    elif isinstance(raw, (tuple, list)) and raw:
        *inputs, last = raw
        args, labels = (tuple(inputs), last) if inputs else ((last,), None)
    tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.ndim]
    if not tensors:
        raise ActpruneError(
            f"A batch must be a tensor, a tuple (inputs..., labels) or a dict of tensors, "
            f"got {type(raw).__name__} without an input tensor."
        )
    if labels is not None:
        labels = _as_labels(labels)
    sizes = {x.shape[0] for x in (*tensors, *(() if labels is None else (labels,)))}
    if len(sizes) != 1:
        raise ActpruneError(
            f"Inputs and labels of a batch must agree in their first axis (samples), "
            f"got sizes {sorted(sizes)}."
        )
    ids = torch.arange(first_id, first_id + sizes.pop(), dtype=torch.int64)
    return Batch(args=args, kwargs=kwargs, labels=labels, ids=ids)


def _as_labels(labels: Any) -> Tensor:
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as e:
        raise ActpruneError(
            f"Labels must be a tensor or an array of numbers, got {type(labels).__name__}."
        ) from e
    if not found.ndim:
        raise ActpruneError(
            "Labels must have one entry a sample, got a single number; a batch is "
            "(inputs..., labels) with the samples along the first axis."
        )
    return found
