from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from actprune.data.source import Arrays, Loader, as_source, fingerprint
from actprune.errors import ActpruneError

X = torch.arange(40.0).reshape(20, 2)
Y = torch.arange(20)


def odd(ids: torch.Tensor) -> torch.Tensor:
    return ids % 2 == 1


def small(ids: torch.Tensor) -> torch.Tensor:
    return ids < 7


def ids_of(source: Any, size: int | None = None) -> list[int]:
    return [int(i) for b in source.batches(size) for i in b.ids]


def sources() -> list[Any]:
    return [
        Arrays.of(X, labels=Y),
        Loader(iterable=[(X[:3], Y[:3]), (X[3:13], Y[3:13]), (X[13:], Y[13:])]),
        Loader(iterable=DataLoader(TensorDataset(X, Y), batch_size=6)),
    ]


@pytest.mark.parametrize("source", sources(), ids=["arrays", "list", "dataloader"])
def test_samples_come_in_order_and_can_be_read_again(source: Any) -> None:
    for _ in range(2):
        batches = list(source.batches())
        assert torch.equal(torch.cat([b.args[0] for b in batches]), X)
        assert torch.equal(torch.cat([b.labels for b in batches]), Y)
        assert ids_of(source) == list(range(20))


@pytest.mark.parametrize("source", sources(), ids=["arrays", "list", "dataloader"])
def test_where_keeps_the_original_ids_and_can_be_repeated(source: Any) -> None:
    part = source.where(odd).where(small)

    assert ids_of(part) == [1, 3, 5]
    assert torch.cat([b.args[0] for b in part.batches()]).tolist() == X[[1, 3, 5]].tolist()
    assert torch.cat([b.labels for b in part.batches()]).tolist() == [1, 3, 5]
    assert ids_of(source) == list(range(20))  # the source itself is not narrowed


@pytest.mark.parametrize("size", [1, 7, 20, 1000])
def test_arrays_come_in_the_size_asked_for(size: int) -> None:
    lengths = [len(b) for b in Arrays.of(X).batches(size)]
    assert all(n == size for n in lengths[:-1])
    assert sum(lengths) == 20
    assert lengths[-1] <= size


def test_a_loader_never_yields_an_empty_batch() -> None:
    source = Loader(iterable=[X[:0], X[:3], X[3:5]]).where(lambda ids: ids >= 3)
    assert [len(b) for b in source.batches()] == [2]
    assert [len(b) for b in Loader(iterable=[X[:0], X[:3]]).batches()] == [3]


def generator() -> Iterator[torch.Tensor]:
    yield X[:10]
    yield X[10:]


def test_a_generator_can_be_read_once_and_says_so_the_second_time() -> None:
    source = Loader(iterable=generator(), spec="gen")
    assert ids_of(source) == list(range(20))

    with pytest.raises(ActpruneError, match=r"gen: the data are needed more than once.*generator"):
        ids_of(source)
    with pytest.raises(ActpruneError, match="only once"):
        ids_of(source.where(odd))


def test_what_can_be_wrapped_is_wrapped() -> None:
    arrays = Arrays.of(X)
    assert as_source(arrays) is arrays
    assert isinstance(as_source(X), Arrays)
    assert isinstance(as_source([X]), Loader)


def test_a_users_own_source_is_used_as_it_is() -> None:
    class Mine:
        spec = "mine"

        def batches(self, size: int | None = None) -> Iterator[Any]:
            return iter(())

        def where(self, keep: Any) -> Any:
            return self

    mine = Mine()
    assert as_source(mine) is mine


@pytest.mark.parametrize("data", ["file.npz", b"x", 3, None])
def test_what_is_no_data_is_refused(data: Any) -> None:
    expected = f"Data must be an iterable of batches .* got {type(data).__name__}"
    with pytest.raises(ActpruneError, match=expected):
        as_source(data)


def test_arrays_refuse_lengths_that_disagree_and_empty_data() -> None:
    with pytest.raises(ActpruneError, match=r"tensors: all arrays .* got \[19, 20\]"):
        Arrays.of(X, labels=Y[:19])
    with pytest.raises(ActpruneError, match=r"here: the data are empty; give at least one sample"):
        Arrays.of(X[:0], spec="here")
    with pytest.raises(ActpruneError, match="the first axis must be the samples"):
        Arrays.of(torch.tensor(1.0))


def first(source: Any, size: int | None = None) -> str:
    return fingerprint(next(iter(source.batches(size))))


def test_a_fingerprint_does_not_depend_on_the_batch_size_or_the_container() -> None:
    prints = {first(Arrays.of(X, labels=Y), n) for n in (1, 7, 20)}
    prints |= {first(Loader(iterable=[X[:5], X[5:]])), first(Loader(iterable=[(X, Y)]))}
    assert len(prints) == 1


def test_a_fingerprint_tells_another_order_type_or_shape() -> None:
    inputs = [X, X.flip(0), X.double(), X.reshape(20, 2, 1), X.bfloat16(), X > 3]
    assert len({first(Arrays.of(x)) for x in inputs}) == len(inputs)


def test_a_fingerprint_reads_every_input() -> None:
    assert first(Arrays.of(X, X)) != first(Arrays.of(X, X + 1))
