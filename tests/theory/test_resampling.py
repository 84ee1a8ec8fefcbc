"""The grouped jackknife: by hand, and against what theory says it must give."""

import numpy as np
import pytest

from actprune.theory.resampling import delete_block_stderr, jackknife


def mean_count(counts: np.ndarray, D: int) -> float:
    return float(counts.sum() / D)


def working(counts: np.ndarray, D: int) -> float:
    return float((counts > 0).sum())


def test_equal_blocks_by_hand() -> None:
    # a mean over g equal blocks: the standard deviation of the block means over root g
    active, samples = np.array([[0], [2], [4]]), np.array([4, 4, 4])
    got = jackknife(mean_count, active, samples)
    assert (got.value, got.stderr) == pytest.approx((0.5, 0.5 / 3**0.5))


def test_unequal_blocks_by_hand() -> None:
    # sizes 1 and 2, block means 0 and 3: the pseudo-values are the block means, t = t_J = 2,
    # h = 3 and 3/2, variance ((0 - 2)^2/2 + (3 - 2)^2/(1/2))/2 = 2
    assert float(delete_block_stderr(2.0, [3.0, 0.0], [1, 2])) == pytest.approx(2**0.5)


def test_working_units_by_hand() -> None:
    # K = 4; units seen in one block only: 2, 1, 0 -> (2/3) sum (q - 1)^2 = 4/3
    active = np.array([[1, 2, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 0]])
    got = jackknife(working, active, np.array([3, 3, 3]))
    assert (got.value, got.stderr) == pytest.approx((4.0, (4 / 3) ** 0.5))


def test_variance_of_working_units_has_its_expectation() -> None:
    # With q_j the units seen in block j only, E[(g-1)/g sum (q_j - mean)^2] = (g-1)^2/g sum_i pi_i,
    # pi_i = (1 - r) r^(g-1), r = (1 - p_i)^m: a unit is at most in one q_j, units independent.
    rng = np.random.default_rng(0)
    g, m, trials = 8, 5, 2_000
    p = rng.beta(0.4, 12.0, 200)
    r = (1 - p) ** m
    expected = (g - 1) ** 2 / g * ((1 - r) * r ** (g - 1)).sum()
    samples = np.full(g, m)

    estimates = [
        jackknife(working, rng.binomial(m, p, (g, len(p))), samples).stderr for _ in range(trials)
    ]
    variances = np.array([e**2 for e in estimates if e is not None])

    error = variances.std(ddof=1) / trials**0.5
    assert abs(variances.mean() - expected) <= 4.5 * error
    true = ((1 - r**g) * r**g).sum()
    assert true < expected < 1.6 * true  # conservative, as Efron and Stein (1981) prove


def test_blocks_that_cannot_give_an_error_are_stated() -> None:
    empty = jackknife(working, np.zeros((2, 3), dtype=int), np.zeros(2, dtype=int))
    assert (empty.value, empty.stderr, empty.reason) == (None, None, "no samples")
    single = jackknife(working, np.array([[1, 0], [0, 0]]), np.array([4, 0]))
    assert (single.value, single.stderr) == (1.0, None)
    assert single.reason is not None
