"""Documents into windows: no token lost, doubled, padded or given to another document."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from actprune.data.batch import as_batch
from actprune.data.source import as_source, fingerprint
from actprune.data.split import heldout
from actprune.data.text import DEFAULT_WINDOWS, Text, pack
from actprune.errors import ActpruneError

DOCUMENTS = st.lists(st.lists(st.integers(0, 99), max_size=9), max_size=12)


def read(text: Text, size: int | None = None) -> list[tuple[int, int]]:
    """(document, token) of every position, in reading order."""
    found = []
    for batch in text.batches(size):
        assert batch.documents is not None
        found += zip(batch.documents.flatten().tolist(), batch.args[0].flatten().tolist(),
                     strict=True)  # fmt: skip
    return found


def pairs(documents: list[list[int]], ids: list[int] | None = None) -> list[tuple[int, int]]:
    return [(d, t) for d in (range(len(documents)) if ids is None else ids) for t in documents[d]]


@given(documents=DOCUMENTS, length=st.integers(1, 7), size=st.integers(1, 4))
def test_tokens_and_documents_survive_in_order(
    documents: list[list[int]], length: int, size: int
) -> None:
    text = Text(documents=documents, length=length)
    batches = list(text.batches(size))
    assert read(text, size) == pairs(documents)
    lengths = [batch.args[0].shape[1] for batch in batches for _ in range(len(batch))]
    assert all(n == length for n in lengths[:-1])
    assert all(1 <= n <= length for n in lengths[-1:])
    for batch in batches:
        assert batch.documents is not None
        assert batch.documents.dtype == batch.args[0].dtype == batch.ids.dtype == torch.int64
        assert torch.equal(batch.ids, batch.documents[:, 0])
        assert len(batch) <= size
        assert batch.kwargs == {}
        assert batch.labels is None


@given(documents=DOCUMENTS, length=st.integers(1, 7), seed=st.integers(0, 5))
def test_a_filter_chooses_documents_and_packs_them_anew(
    documents: list[list[int]], length: int, seed: int
) -> None:
    ids = torch.arange(len(documents))
    out = heldout(ids, seed)

    def held(ids: Tensor) -> Tensor:
        return heldout(ids, seed)

    text = Text(documents=documents, length=length)
    assert read(text.where(held)) == pairs(documents, ids[out].tolist())
    assert read(text.where(lambda ids: ~held(ids))) == pairs(documents, ids[~out].tolist())
    assert read(text.where(held).where(lambda ids: ~held(ids))) == []


@given(documents=DOCUMENTS.filter(any), length=st.integers(1, 7))
def test_the_fingerprint_does_not_depend_on_the_batch_size(
    documents: list[list[int]], length: int
) -> None:
    text = Text(documents=documents, length=length)
    assert len({fingerprint(next(text.batches(n))) for n in (1, 2, 5, None)}) == 1


def test_by_hand() -> None:
    windows = list(pack([(4, [1, 2, 3]), (5, []), (7, [4]), (9, [5, 6, 7, 8])], 3))
    assert [w.tokens.tolist() for w in windows] == [[1, 2, 3], [4, 5, 6], [7, 8]]
    assert [w.documents.tolist() for w in windows] == [[4, 4, 4], [7, 9, 9], [9, 9]]


def test_the_last_window_is_a_batch_of_its_own_where_it_is_shorter() -> None:
    text = Text(documents=[list(range(11))], length=3)
    assert [tuple(b.args[0].shape) for b in text.batches(2)] == [(2, 3), (1, 3), (1, 2)]
    assert [tuple(b.args[0].shape) for b in text.batches(8)] == [(3, 3), (1, 2)]
    many = Text(documents=[list(range(2 * DEFAULT_WINDOWS))], length=1)
    assert [len(b) for b in many.batches()] == [DEFAULT_WINDOWS] * 2


def test_only_documents_that_are_kept_are_read() -> None:
    asked: list[int] = []

    class Lazy(list):
        def __getitem__(self, index: int) -> list[int]:  # pyright: ignore
            asked.append(index)
            return [index]

    text = Text(documents=Lazy([None] * 9), length=2)
    assert read(text.where(lambda ids: ids % 4 == 1)) == [(1, 1), (5, 5)]
    assert asked == [1, 5]


def test_documents_follow_their_rows_and_stay_away_from_the_model() -> None:
    batch = next(Text(documents=[[1, 2, 3], [4, 5, 6]], length=2).batches())
    part = batch.select(torch.tensor([2, 0]))
    assert part.documents is not None
    assert part.documents.tolist() == [[1, 1], [0, 0]]
    assert part.args[0].tolist() == [[5, 6], [1, 2]]
    by_mask = batch.select(torch.tensor([False, True, False])).documents
    assert by_mask is not None
    assert by_mask.tolist() == [[0, 1]]
    moved = batch.to(torch.device("cpu"))
    assert moved.documents is not None
    assert torch.equal(moved.documents, torch.tensor([[0, 0], [0, 1], [1, 1]]))
    assert as_batch(batch, 7) is batch
    assert batch.run(torch.nn.Identity()).tolist() == [[1, 2], [3, 4], [5, 6]]


def test_a_text_is_a_source_and_needs_a_length() -> None:
    text = Text(documents=[[1]])
    assert as_source(text) is text
    with pytest.raises(ActpruneError, match=r"^text: a window must hold at least 1 token, got 0\."):
        Text(documents=[[1]], length=0)
