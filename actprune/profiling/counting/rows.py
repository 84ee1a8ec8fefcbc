"""Which samples a batch holds: one a row, or pieces of documents packed into windows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from actprune.data.batch import Batch

ALL = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A rectangle of activations [samples, units, positions] and the page rows it fills."""

    samples: slice
    positions: slice
    rows: slice
    width: int | None = None  # of the window that `positions` are of

    def of(self, a_SUP: Tensor) -> Tensor:
        """The rectangle; a site may have several values at each position of the window."""
        if self.positions == ALL or self.width is None:
            return a_SUP[self.samples, :, self.positions]
        each = a_SUP.shape[2] // self.width
        positions = slice(each * self.positions.start, each * self.positions.stop)
        return a_SUP[self.samples, :, positions]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The page rows of one batch, in reading order.

    A sample that spans several windows has several rows, one after the other, under one id; with
    `packed`, the last of them may go on in the next batch.
    """

    ids: Tensor  # int64 [R]
    pieces: tuple[Piece, ...]
    packed: bool

    @classmethod
    def of(cls, batch: Batch) -> Rows:
        """One row a sample, or, of packed documents [S, T], one row a document and window."""
        if batch.documents is None:
            whole = Piece(samples=ALL, positions=ALL, rows=ALL)
            return cls(ids=batch.ids, pieces=(whole,), packed=False)
        ids: list[int] = []
        pieces: list[Piece] = []
        for window, documents_T in enumerate(batch.documents.cpu()):
            found, lengths = torch.unique_consecutive(documents_T, return_counts=True)
            start = 0
            for document, length in zip(found.tolist(), lengths.tolist(), strict=True):
                pieces.append(
                    Piece(
                        samples=slice(window, window + 1),
                        positions=slice(start, start + length),
                        rows=slice(len(ids), len(ids) + 1),
                        width=documents_T.shape[0],
                    )
                )
                ids.append(document)
                start += length
        return cls(ids=torch.tensor(ids), pieces=_joined(pieces, batch.documents), packed=True)

    def __len__(self) -> int:
        return len(self.ids)


def _joined(pieces: list[Piece], documents_ST: Tensor) -> tuple[Piece, ...]:
    """Windows that follow each other and hold one document each are one rectangle."""
    width = documents_ST.shape[1]
    joined: list[Piece] = []
    for piece in pieces:
        whole = piece.positions == slice(0, width)
        if whole and joined and joined[-1].positions == ALL:
            before = joined.pop()
            piece = Piece(
                samples=slice(before.samples.start, piece.samples.stop),
                positions=ALL,
                rows=slice(before.rows.start, piece.rows.stop),
            )
        elif whole:
            piece = Piece(samples=piece.samples, positions=ALL, rows=piece.rows)
        joined.append(piece)
    return tuple(joined)
