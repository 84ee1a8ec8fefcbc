"""Spike statistics: by hand, and stated where they do not exist. Levels: test_calibration.py."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2

from actprune.errors import ActpruneError
from actprune.theory import interval_chi2, interval_permutation, intervals_of, spike_statistics
from actprune.theory.intervals_between import _survival


def test_spike_statistics_by_hand() -> None:
    # counts of 3 windows of 4: mean 2, variance 1; never; always; mean 1, variance 1
    got = spike_statistics([[1, 0, 4, 0], [2, 0, 4, 1], [3, 0, 4, 2]], 4, order="shuffled")
    assert got.rate == pytest.approx([0.5, 0, 1, 0.25])
    assert got.mean_rate == pytest.approx(1.75 / 4)
    assert got.rate_variance == pytest.approx(np.var([0.5, 0, 1, 0.25], ddof=1))
    assert got.units.tolist() == [0, 2, 3]
    assert got.fano == pytest.approx([0.5, 0, 1])
    assert (got.mean_fano, got.fano_variance) == pytest.approx((0.5, 0.25))
    assert got.excess == pytest.approx([0.0, 0.0, 0.25])
    assert got.testable.tolist() == [0, 3]
    assert got.relative == pytest.approx([1.0, 4 / 3])
    assert got.dispersion is not None
    assert got.dispersion.statistic == pytest.approx([2.0, 8 / 3])
    assert got.dispersion.p_over == pytest.approx(chi2.sf([2.0, 8 / 3], 2))
    assert got.dispersion.p_over + got.dispersion.p_under == pytest.approx([1, 1])
    assert got.dispersion.sparse.all()
    assert got.order == "shuffled"


def test_mean_of_fano_given_the_total_is_exact() -> None:
    # all placements of 4 firings on 3 windows of 3 samples
    w, L, T = 3, 3, 4
    placed = [np.bincount(np.array(c) // L, minlength=w) for c in combinations(range(w * L), T)]
    fano = spike_statistics(np.array(placed).T, L, order="all").fano
    rate = T / (w * L)
    assert fano.mean() == pytest.approx((1 - rate) * w * L / (w * L - 1))


@pytest.mark.parametrize(
    ("windows", "length"),
    [
        ([[0, 0]], 1),
        ([[1, 0]], 1),
        ([[0, 0], [0, 0]], 5),
        ([[5, 5], [5, 5]], 5),
        ([[0], [1]], 5),
        ([[2], [2]], 5),
        ([[0, 5], [0, 5]], 5),
    ],
)
@pytest.mark.filterwarnings("error")
def test_degenerate_windows_have_a_stated_answer(windows: list[list[int]], length: int) -> None:
    got = spike_statistics(windows, length, order="any")
    for values in (got.rate, got.fano, got.excess, got.relative):
        assert np.isfinite(values).all()
    if got.dispersion is None:
        assert got.reason
    else:
        assert np.isfinite(got.dispersion.p_over).all()


def test_wrong_windows_are_refused() -> None:
    for windows, length, what in [
        ([1, 2], 5, "shape"),
        ([[6]], 5, r"0\.\.5"),
        ([[-1]], 5, r"0\.\.5"),
        ([[1]], 0, "length >= 1"),
        (np.zeros((0, 3)), 5, "shape"),
    ]:
        with pytest.raises(ActpruneError, match=what):
            spike_statistics(windows, length, order="any")


def test_intervals_by_hand() -> None:
    assert intervals_of([0, 1, 0, 0, 1, 1, 0]).tolist() == [3, 1]
    assert intervals_of([0, 1, 0]).tolist() == []


def test_interval_law_is_that_of_random_placements() -> None:
    D, T = 8, 3
    gaps = np.concatenate([np.diff(c) for c in combinations(range(D), T)])
    survival = [(gaps > g).mean() for g in range(D - T + 2)]
    assert _survival(D, T) == pytest.approx(survival)


def test_interval_chi2_by_hand() -> None:
    train = np.random.default_rng(0).random(60) < 0.5
    got = interval_chi2(train)
    gaps = intervals_of(train)
    T, D = int(train.sum()), train.size
    survival = [math.comb(D - g, T) / math.comb(D, T) for g in range(3)]
    # 12.6 of length 1, 6.8 of length 2 and 7.6 longer ones are expected: three bins
    hoped = len(gaps) * np.array([1 - survival[1], survival[1] - survival[2], survival[2]])
    seen = np.array([np.sum(gaps == 1), np.sum(gaps == 2), np.sum(gaps > 2)])
    statistic = float(((seen - hoped) ** 2 / hoped).sum())
    assert (got.intervals, got.bins) == (len(gaps), 3)
    assert got.statistic == pytest.approx(statistic)
    assert got.p == pytest.approx(chi2.sf(statistic, 1))


def test_permutation_by_hand() -> None:
    # 3 firings on 5 samples: the two gaps differ most in 11001 and 10011, so both tails of the
    # ten placements are known
    values = sorted(
        np.var(np.diff(c)) / np.mean(np.diff(c)) ** 2 for c in combinations(range(5), 3)
    )
    got = interval_permutation(np.array([1, 1, 0, 0, 1], dtype=bool), permutations=4_999)
    assert got.statistic == pytest.approx(values[-1])
    share = float(np.mean(np.array(values) >= values[-1] - 1e-12))
    # 4.5 binomial errors of 4,999 permutations
    assert got.p == pytest.approx(2 * share, abs=9 * (share * (1 - share) / 4_999) ** 0.5 + 1e-3)
    assert got == interval_permutation(np.array([1, 1, 0, 0, 1], dtype=bool), permutations=4_999)


@pytest.mark.parametrize(
    "train", [[0], [1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 1], [1] * 30, [1, 0] * 50]
)
@pytest.mark.filterwarnings("error")
def test_degenerate_trains_have_a_stated_answer(train: list[int]) -> None:
    for got in (interval_chi2(train), interval_permutation(train, permutations=99)):
        assert got.reason if got.p is None else 0 < got.p <= 1
    if train == [1, 0] * 50:  # as regular as can be
        assert (interval_permutation(train).p or 1) < 0.01


def test_wrong_trains_are_refused() -> None:
    with pytest.raises(ActpruneError, match="spike train"):
        intervals_of([[1, 0]])
    with pytest.raises(ActpruneError, match="permutation"):
        interval_permutation([1, 0, 1, 1], permutations=0)
