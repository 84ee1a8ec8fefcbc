"""Documents of tokens packed into windows of one length: nothing padded, nothing dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from actprune.data.batch import Batch
from actprune.data.source import Predicate
from actprune.errors import ActpruneError

WINDOW = 512  # tokens, unless the user or the model wants less
DEFAULT_WINDOWS = 8  # a forward pass: logits over a large vocabulary take most of the memory
TOGETHER = 1024  # documents that a predicate is asked about at a time


class Window(NamedTuple):
    """Consecutive tokens, and the document that each of them is from: both int64 [T]."""

    tokens: np.ndarray
    documents: np.ndarray


def pack(documents: Iterable[tuple[int, Sequence[int]]], length: int) -> Iterator[Window]:
    """Put documents end to end and cut the whole into windows of `length` tokens, at least 1.

    Args:
        documents: (id, tokens) of each, ids rising. A document may be empty.

    Yields:
        Windows in reading order, all full but possibly the last, none empty.
    """
    tokens: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    held = 0
    for document, found in documents:
        tokens.append(np.asarray(found, dtype=np.int64))
        owners.append(np.full(len(found), document, dtype=np.int64))
        held += len(found)
        if held < length:
            continue
        all_tokens, all_owners = np.concatenate(tokens), np.concatenate(owners)
        full = held - held % length
        for start in range(0, full, length):
            window = slice(start, start + length)
            yield Window(all_tokens[window], all_owners[window])
        tokens, owners, held = [all_tokens[full:]], [all_owners[full:]], held - full
    if held:
        yield Window(np.concatenate(tokens), np.concatenate(owners))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Text:
    """A source of packed windows; its samples are documents, numbered in reading order.

    `where` leaves documents out before they are packed, so a window never mixes documents that
    were kept with others, and a held-out third is a third of the documents.
    """

    documents: Sequence[Sequence[int]]  # the tokens of each, special ones included
    spec: str = "text"
    length: int = WINDOW  # tokens a window, at least 1
    filters: tuple[Predicate, ...] = ()

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ActpruneError(
                f"{self.spec}: a window must hold at least 1 token, got {self.length}."
            )

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """Windows in order, `size` a batch (default 8). The last window, where it is shorter, is a
        batch of its own."""
        rows: list[Window] = []
        for window in pack(self._kept(), self.length):
            if rows and len(window.tokens) < self.length:
                yield _batch(rows)
                rows = []
            rows.append(window)
            if len(rows) == (size or DEFAULT_WINDOWS):
                yield _batch(rows)
                rows = []
        if rows:
            yield _batch(rows)

    def where(self, keep: Predicate) -> Text:
        """The documents whose ids satisfy `keep`, under their original ids, packed anew."""
        return Text(
            documents=self.documents,
            spec=self.spec,
            length=self.length,
            filters=(*self.filters, keep),
        )

    def _kept(self) -> Iterator[tuple[int, Sequence[int]]]:
        for ids in torch.arange(len(self.documents)).split(TOGETHER):
            keep = torch.ones(len(ids), dtype=torch.bool)
            for predicate in self.filters:
                keep &= predicate(ids)
            for document in ids[keep].tolist():
                yield document, self.documents[document]


def _batch(rows: list[Window]) -> Batch:
    tokens = torch.from_numpy(np.stack([r.tokens for r in rows]))  # [S, T]
    documents: Tensor = torch.from_numpy(np.stack([r.documents for r in rows]))
    return Batch(
        args=(tokens,), kwargs={}, labels=None, ids=documents[:, 0].clone(), documents=documents
    )
