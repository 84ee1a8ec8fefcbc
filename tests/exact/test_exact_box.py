"""Boxes as the user writes them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from actprune.data.batch import Batch
from actprune.errors import ActpruneError
from actprune.exact.box import read_box


def batches() -> list[Batch]:
    x = torch.tensor([[0.0, -1.0, 2.0], [0.5, 3.0, 2.0]])
    return [
        Batch(args=(v[None],), kwargs={}, labels=None, ids=torch.tensor([i]))
        for i, v in enumerate(x)
    ]


def test_a_range_holds_for_every_feature() -> None:
    box = read_box("-1:2.5e0", batches())
    low, high = box.bounds
    assert low.tolist() == [-1.0] * 3
    assert high.tolist() == [2.5] * 3
    assert box.words == "the box [-1, 2.5]"
    assert [bool(box.contains(b)) for b in batches()] == [True, False]


def test_data_means_the_extremes_of_each_feature() -> None:
    box = read_box("data", batches())
    low, high = box.bounds
    assert low.tolist() == [0.0, -1.0, 2.0]
    assert high.tolist() == [0.5, 3.0, 2.0]
    assert all(bool(box.contains(b)) for b in batches())


def test_a_file_gives_a_bound_for_each_feature(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", low=np.zeros(3), high=np.array([1.0, 2.0, 3.0]))
    assert read_box(f"npz:{tmp_path}/b.npz", batches()).bounds[1].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("1:0", "--box: low must not be above high, got 1 and 0."),
        ("zero:one", "--box: written LOW:HIGH as in 0:1, data, or npz:FILE with arrays low and"),
        ("0:nan", "--box: written LOW:HIGH"),
        ("npz:nowhere.npz", "--box: nowhere.npz cannot be read as an npz file of numbers."),
    ],
)
def test_a_malformed_box_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ActpruneError) as e:
        read_box(spec, batches())
    assert str(e.value).startswith(message)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (np.zeros(4), np.ones(3), "low has shape (4,), a sample has (3,); give one number"),
        (np.zeros(3), np.array([1, np.nan, 1]), "high must be finite numbers, got nan."),
        (np.zeros(3), np.array([1, -2.0, 1]), "low must not be above high, got 0 and -2."),
    ],
)
def test_bounds_that_are_no_box_are_refused(
    tmp_path: Path, low: np.ndarray, high: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "b.npz", low=low, high=high)
    with pytest.raises(ActpruneError) as e:
        read_box(f"npz:{tmp_path}/b.npz", batches())
    assert message in str(e.value)


def test_a_file_without_the_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", lower=np.zeros(3), high=np.ones(3))
    with pytest.raises(ActpruneError, match="must hold the arrays low and high"):
        read_box(f"npz:{tmp_path}/b.npz", batches())
