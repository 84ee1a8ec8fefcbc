"""Which samples are read, and the error of their mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actprune.auditing.choosing import half_of, ids_of, mean_and_error, some
from actprune.data.batch import as_batch
from actprune.data.source import Arrays


def test_the_draw_does_not_depend_on_the_batch_size() -> None:
    source = Arrays.of(torch.arange(100.0)[:, None])
    few = [ids_of(some(list(source.batches(size)), 30, seed=3)) for size in (7, 100)]
    assert len(few[0]) == 30
    assert few[0].tolist() == few[1].tolist() == sorted(few[0].tolist())
    other = ids_of(some(list(source.batches(7)), 30, seed=4))
    assert few[0].tolist() != other.tolist()


def test_all_samples_where_they_are_few() -> None:
    assert len(ids_of(some(list(Arrays.of(torch.zeros(9, 1)).batches(4)), 9, seed=0))) == 9


def test_the_error_of_a_mean_by_hand() -> None:
    # mean 2, squares 1 + 0 + 1: s^2 = 2 / 2, so s / sqrt(3)
    assert mean_and_error(np.array([1.0, 2.0, 3.0]), np.arange(3)) == pytest.approx((2, 3**-0.5))
    # two documents, gaps (-1 + 0) and (+1): sqrt(2 / 1 * 2) / 3
    two = mean_and_error(np.array([1.0, 2.0, 3.0]), np.array([5, 5, 8]))
    assert two == pytest.approx((2, 2 / 3))
    assert mean_and_error(np.array([1.0, 2.0]), np.array([5, 5])) == (1.5, None)


def test_a_document_stays_in_one_half() -> None:
    batch = as_batch(torch.zeros(40, 1), 0)
    halves = half_of(batch, seed=0)
    assert set(halves.tolist()) == {0, 1}
    again = half_of(batch.select(torch.tensor([7, 7, 7])), seed=0)
    assert set(again.tolist()) == {int(halves[7])}
