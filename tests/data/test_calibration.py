from __future__ import annotations

import pytest
import torch

from actprune.data.calibration import read_again
from actprune.data.source import Arrays, Loader, fingerprint
from actprune.data.split import Part, heldout, in_parts
from actprune.errors import ActpruneError

X = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
SEED = 5


def origins(x: torch.Tensor, stop: int) -> list[tuple[str, int, int]]:
    return [(fingerprint(next(iter(Arrays.of(x).batches(1)))), 0, stop)]


def ids(batches: list) -> torch.Tensor:
    return torch.cat([b.ids for b in batches])


@pytest.mark.parametrize("source", [Arrays.of(X), Loader(iterable=list(X.split(13)))])
def test_the_asked_parts_come_back_without_the_held_out_third(source: Arrays | Loader) -> None:
    parts = (Part.FIT, Part.CHECK)
    found = read_again(source, origins=origins(X, 200), seed=SEED, leave_out=True, parts=parts)

    everything = torch.arange(200)
    expected = everything[in_parts(everything, SEED, *parts) & ~heldout(everything, SEED)]
    assert torch.equal(ids(found), expected)
    assert torch.equal(torch.cat([b.args[0] for b in found]), X[expected])


@pytest.mark.parametrize("seed", range(5))
def test_a_held_out_sample_is_never_read(seed: int) -> None:
    found = read_again(Arrays.of(X), origins=origins(X, 300), seed=seed, leave_out=True)
    assert not heldout(ids(found), seed).any()
    everything = read_again(Arrays.of(X), origins=origins(X, 300), seed=seed, leave_out=False)
    assert ids(everything).tolist() == list(range(300))


def test_samples_that_were_not_profiled_are_not_read() -> None:
    shards = [("0" * 16, 0, 300), (origins(X, 0)[0][0], 20, 30)]
    found = read_again(Arrays.of(X), origins=shards, seed=0, leave_out=False)
    assert ids(found).tolist() == list(range(20, 30))


def test_a_shuffled_loader_is_refused() -> None:
    shuffled = Loader(iterable=list(X.flip(0).split(10)), spec="train")
    with pytest.raises(ActpruneError, match=r"train: not the data that were profiled, or in ano"):
        read_again(shuffled, origins=origins(X, 300), seed=0, leave_out=True)


def test_other_data_and_empty_data_are_refused() -> None:
    with pytest.raises(ActpruneError, match="not the data that were profiled"):
        read_again(Arrays.of(X + 1), origins=origins(X, 300), seed=0, leave_out=True)
    with pytest.raises(ActpruneError, match="loader: the data are empty"):
        read_again(Loader(iterable=[]), origins=origins(X, 300), seed=0, leave_out=True)


def test_a_generator_says_that_it_cannot_be_read_again() -> None:
    source = Loader(iterable=iter(X.split(10)))
    list(source.batches())
    with pytest.raises(ActpruneError, match="needed more than once"):
        read_again(source, origins=origins(X, 300), seed=0, leave_out=True)


def test_all_shards_of_one_data_set_are_read_again() -> None:
    mark = origins(X, 0)[0][0]
    shards = [(mark, 20, 30), (mark, 0, 5), ("0" * 16, 0, 300)]
    found = read_again(Arrays.of(X), origins=shards, seed=0, leave_out=False)
    assert ids(found).tolist() == [*range(5), *range(20, 30)]
