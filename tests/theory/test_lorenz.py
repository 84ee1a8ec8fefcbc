"""Concentration of activations: by hand and against simulated fresh samples."""

import numpy as np
import pytest

from actprune.errors import ActpruneError
from actprune.theory.lorenz import lorenz_curve, removed_share, true_rate_lorenz


def test_lorenz_by_hand() -> None:
    got = lorenz_curve([3, 0, 1, 0], [0, 0.5, 0.75, 0.875, 1])
    assert got.shares == pytest.approx([0, 0, 0.25, 0.625, 1])
    # area below the curve: (0 + 0 + 1/8 + 5/8)/4 = 3/16
    assert got.gini == pytest.approx(1 - 2 * 3 / 16)
    assert got.effective_units == pytest.approx(1 / (9 / 16 + 1 / 16))


def test_lorenz_extremes() -> None:
    even = lorenz_curve([2, 2, 2, 2], [0.25])
    assert (even.gini, even.effective_units) == pytest.approx((0.0, 4.0))
    one = lorenz_curve([0, 0, 0, 5], [0.75])
    assert (one.gini, one.effective_units) == pytest.approx((0.75, 1.0))
    none = lorenz_curve([0, 0], [0.5, 1.0])
    assert (none.gini, none.effective_units, none.shares.tolist()) == (None, None, [0, 0])
    assert none.reason is not None
    with pytest.raises(ActpruneError, match="at least one unit"):
        lorenz_curve([], [0.5])


def test_removed_share_by_hand() -> None:
    # (b + D_i)/(M + D): 1, 1, 3, 5 over 10
    got = removed_share([0, 0, 2, 4], [True, True, False, False], D=4, b=1.0, M=3.0)
    assert got.share == pytest.approx(0.2)
    # variances p(1-p)/8 with p = 1, 1, 3, 5 sevenths; total rate 10/7
    p, weight = np.array([1, 1, 3, 5]) / 7, np.array([0.8, 0.8, -0.2, -0.2])
    assert got.stderr == pytest.approx((weight**2 @ (p * (1 - p) / 8)) ** 0.5 / (10 / 7))
    # b = 1, M = 2, D = 3: a silent unit is live with probability w = (1/4)/(1 + 1/4) = 1/5
    got = removed_share([0, 1], [True, False], D=3, b=1.0, M=2.0, pi0=0.5)
    assert got.share == pytest.approx((0.2 * 1 / 5) / (0.2 * 1 / 5 + 2 / 5))


def test_all_dead_units_carry_nothing() -> None:
    assert removed_share([0, 0], [True, False], D=3, b=1.0, M=2.0, pi0=1.0).share == 0.0
    assert true_rate_lorenz([0.3, 1.0], b=1.0, M=2.0, pi0=1.0) == pytest.approx([0, 0])
    assert true_rate_lorenz([0.3, 1.0], b=1.0, M=2.0, pi1=1.0) == pytest.approx([0.3, 1])


@pytest.mark.parametrize("weights", [(0.0, 0.0), (0.25, 0.05)])
def test_removed_share_predicts_fresh_samples(weights: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    N, D, b, M, trials = 300, 12, 0.6, 3.0, 800
    pi0, pi1 = weights
    gap, true_gap, ranked, stated, naive = (np.empty(trials) for _ in range(5))
    for t in range(trials):
        p, kind = rng.beta(b, M - b, N), rng.random(N)
        p[kind < pi0], p[kind >= 1 - pi1] = 0.0, 1.0
        counts = rng.binomial(D, p)
        removed = np.zeros(N, dtype=bool)
        removed[np.argsort(counts, kind="stable")[: N // 2]] = True
        got = removed_share(counts, removed, D=D, b=b, M=M, pi0=pi0, pi1=pi1)
        fresh = rng.binomial(D, p)
        gap[t] = fresh[removed].sum() / fresh.sum() - got.share
        true_gap[t] = p[removed].sum() / p.sum() - got.share
        ranked[t] = np.sort(p)[: N // 2].sum() / p.sum()
        stated[t] = got.stderr
        naive[t] = counts[removed].sum() / counts.sum() - got.share
    # a ratio of sums over 300 units is biased by order 1/300 of itself, the share being < .15
    slack = 0.15 / N
    assert abs(gap.mean()) <= 4.5 * gap.std(ddof=1) / trials**0.5 + slack
    # the stated error is that of the true share: 800 squares know it to 1/sqrt(1600) = 2.5 %
    spread = (true_gap**2).mean() ** 0.5 / (stated**2).mean() ** 0.5
    assert spread == pytest.approx(1.0, abs=4.5 / 1_600**0.5 + 2 / N)
    # counts themselves miss most of what the silent units will do
    assert naive.mean() < -10 * naive.std(ddof=1) / trials**0.5
    # and the closed form is right for units ranked by their true rates
    closed = float(true_rate_lorenz(0.5, b=b, M=M, pi0=pi0, pi1=pi1))
    assert abs(ranked.mean() - closed) <= 4.5 * ranked.std(ddof=1) / trials**0.5 + slack


def test_closed_lorenz_form_by_hand() -> None:
    # uniform rates: L(f) = f^2
    assert true_rate_lorenz([0, 0.5, 1], b=1.0, M=2.0) == pytest.approx([0, 0.25, 1])
    # a quarter dead, a quarter always on, the rest uniform: total rate .25 + .25
    got = true_rate_lorenz([0.25, 0.5, 0.75, 0.875, 1], b=1.0, M=2.0, pi0=0.25, pi1=0.25)
    assert got == pytest.approx([0, 0.125, 0.5, 0.75, 1])
    with pytest.raises(ActpruneError, match="0 < b < M"):
        true_rate_lorenz(0.5, b=2.0, M=1.0)
    with pytest.raises(ActpruneError, match="0 < b < M"):
        removed_share([1], [True], D=2, b=2.0, M=1.0)
