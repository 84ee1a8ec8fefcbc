"""Rarefaction against the enumeration of all subsets."""

from itertools import combinations

import numpy as np
import pytest

from actprune.errors import ActpruneError
from actprune.theory.rarefaction import expected_subset_working, log_grid, occupancy, rarefy


def test_rarefaction_by_hand() -> None:
    # D = 2: a unit of count 1 is in half of the subsets of one sample
    assert expected_subset_working([0, 1, 2], 2, [0, 1, 2]) == pytest.approx([0, 1.5, 2])


def test_rarefaction_is_the_mean_over_all_subsets() -> None:
    fires = np.random.default_rng(0).random((7, 12)) < np.linspace(0, 1, 12)
    for d in range(8):
        subsets = [fires[list(s)].any(0).sum() for s in combinations(range(7), d)]
        got = expected_subset_working(fires.sum(0), 7, d)
        assert float(got) == pytest.approx(np.mean(subsets))


def test_the_whole_sample_gives_the_observed_K_exactly() -> None:
    counts = np.random.default_rng(1).binomial(100_000, 1e-5, 500)
    assert float(expected_subset_working(counts, 100_000, 100_000)) == (counts > 0).sum()


def test_block_errors_by_hand() -> None:
    # K at d = D = 4 of two equal blocks; without one, 2 samples are left: K = 1 and 2 of 3
    # -> (1/2) ((1 - 1.5)^2 + (2 - 1.5)^2) = 1/4
    got = rarefy(np.array([[1, 2, 0], [0, 1, 0]]), np.array([2, 2]), [4])
    assert got.working == pytest.approx([2.0])
    assert got.stderr == pytest.approx([0.5])
    single = rarefy(np.array([[1, 2, 0], [0, 0, 0]]), np.array([2, 0]), [1, 2])
    assert single.stderr is None
    assert single.reason is not None


def test_occupancy_counts_the_counts() -> None:
    assert occupancy([0, 1, 1, 3], 4).tolist() == [1, 2, 0, 1, 0]


def test_grid_is_ascending_whole_and_ends_at_D() -> None:
    assert log_grid(0).tolist() == []
    assert log_grid(1).tolist() == [1]
    assert log_grid(5).tolist() == [1, 2, 3, 4, 5]
    grid = log_grid(60_000)
    assert (grid[0], grid[-1]) == (1, 60_000)
    assert (np.diff(grid) > 0).all()
    assert 30 <= len(grid) <= 40


def test_out_of_range_is_refused() -> None:
    with pytest.raises(ActpruneError, match=r"0\.\.D=3"):
        expected_subset_working([1], 3, [4])
