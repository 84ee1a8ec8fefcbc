"""Forecasts of K(D'): by hand, consistent with each other, and stated where they cannot be."""

import math

import numpy as np
import pytest
from scipy.stats import betabinom, nbinom

from actprune.errors import ActpruneError
from actprune.theory import (
    METHODS,
    backtest,
    chao2,
    chao2_interval,
    chao_working,
    extrapolate_working,
    fit_family,
    good_toulmin_working,
    linear_bound,
    predictive_working,
    urn_working,
)
from actprune.theory.count_fit import CountFit

COUNTS = np.repeat([0, 1, 2, 3, 10], [40, 8, 4, 2, 6])  # K = 20, Q_1 = 8, Q_2 = 4; D = 10


def law(b: float, M: float, pi0: float, *, N: int, D: int) -> CountFit:
    return CountFit(
        family="inflated", mean=b / M, b=b, M=M, pi0=pi0, pi1=0.0, stderr={}, log_likelihood=0.0,
        D=D, N=N, converged=True,
    )  # fmt: skip


def test_predictive_by_hand() -> None:
    # b = 1, M = 2, D = 3: a silent unit is live with w = (1/4)/(1 + 1/4) = 1/5 at pi0 = 1/2;
    # live and silent on 3, its rate is Beta(1, 4), silent on 3 more with 4/7: p = 1/5 * 3/7
    counts = np.array([0] * 35 + [1, 2, 3])
    got = predictive_working(counts, 3, 6, law(1.0, 2.0, 0.5, N=38, D=3))
    assert got.working == pytest.approx(3 + 35 * 3 / 35)
    assert got.low is not None
    assert 3 <= got.low <= got.working


def test_urn_by_hand() -> None:
    # E[K(d)] = N (1 - pi0 - q/(d + 1)) at b = 1, M = 2
    counts = np.array([0] * 30 + [1, 2, 3, 3, 2, 1, 1, 3])
    got = urn_working(counts, 3, 7, law(1.0, 2.0, 0.5, N=38, D=3))
    assert got.working == pytest.approx(38 * (0.5 - 0.5 / 8))


def test_intervals_of_one_rate_by_hand() -> None:
    # 40 units, 10 samples, rate .1: in the logit of the rate one unit has information D p (1 - p)
    counts = np.repeat([0, 1, 2, 3], [14, 16, 6, 4])
    N, D, more = 40, 10, 15
    p = counts.sum() / (N * D)
    fit = fit_family(counts, D, "binomial")
    information = D * p * (1 - p)

    new, slope = 1 - (1 - p) ** more, more * (1 - p) ** more * p
    got = predictive_working(counts, D, D + more, fit)
    size = new * (1 - new) / (slope**2 / (N * information)) - 1
    law = betabinom(14, new * size, (1 - new) * size)
    assert (got.low, got.high) == (26 + law.ppf(0.025), 26 + law.ppf(0.975))

    P = 1 - (1 - p) ** (D + more)
    g, h = (D + more) * (1 - p) ** (D + more) * p, (1 - p) ** D * slope
    variance = N * P * (1 - P) - N * (g * g - 2 * g * h) / information
    urn = urn_working(counts, D, D + more, fit)
    assert urn.working == pytest.approx(N * P)
    assert urn.low == pytest.approx(N * P - 1.959963984540054 * variance**0.5, rel=1e-6)


def test_the_rate_s_own_error_widens_the_forecast() -> None:
    # few firings: the rate is known to a fifth of itself, far more than 400 silent units scatter
    counts = np.repeat([0, 1], [400, 25])
    fit = fit_family(counts, 10, "binomial")
    got = predictive_working(counts, 10, 200, fit)
    p = (got.working - 25) / 400
    assert got.low is not None
    assert got.high is not None
    assert got.high - got.low > 1.5 * 3.92 * (400 * p * (1 - p)) ** 0.5


def test_predictive_and_urn_agree_where_the_zero_class_is_fitted_exactly() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(2.0, 3.0, 400)
    p[:80] = 0
    counts = rng.binomial(20, p)
    fit = fit_family(counts, 20, "inflated")
    assert fit.pi0 > 0
    urn, predictive = (f(counts, 20, 60, fit) for f in (urn_working, predictive_working))
    assert urn.working == pytest.approx(predictive.working, rel=1e-6)


def test_chao_by_hand() -> None:
    f0 = 0.9 * 64 / 8
    assert chao2(COUNTS, 10) == pytest.approx(f0)
    got = chao_working(COUNTS, 10, 15)
    assert got.working == pytest.approx(20 + f0 * (1 - (1 - 8 / (10 * f0 + 8)) ** 5))
    # Chao (1987): Q_2 (A/2 r^2 + A^2 r^3 + A^2/4 r^4), r = Q_1/Q_2 = 2, A = (D - 1)/D
    variance = 4 * (0.45 * 4 + 0.81 * 8 + 0.81 / 4 * 16)
    factor = math.exp(1.959963984540054 * math.log1p(variance / f0**2) ** 0.5)
    interval = chao2_interval(COUNTS, 10)
    assert interval.low == pytest.approx(f0 / factor, rel=1e-6)
    assert interval.high == pytest.approx(f0 * factor, rel=1e-6)
    far = chao_working(COUNTS, 10, 10**7)
    assert far.working == pytest.approx(20 + f0)
    assert far.low == pytest.approx(20 + f0 / factor, rel=1e-6)


def test_good_toulmin_by_hand() -> None:
    # t = 1/2 over counts up to D/2: 8/2 - 4/4 + 2/8
    got = good_toulmin_working(COUNTS, 10, 15)
    new = 4 - 1 + 0.25
    assert got.working == pytest.approx(20 + new)
    reach = 1.959963984540054 * (8 / 4 + 4 / 16 + 2 / 64 + new) ** 0.5
    assert got.high == pytest.approx(20 + new + reach)
    assert good_toulmin_working(COUNTS, 10, 20).working == pytest.approx(20 + 8 - 4 + 2)
    # t = 2 smoothed: n = 22, r = floor(log_3(22 * 4)/2) = 2, L ~ Bin(2, 1/2): 2 * 3/4 Q_1 - 4/4 Q_2
    got = good_toulmin_working(COUNTS, 10, 30)
    assert got.working == pytest.approx(20 + 2 * 0.75 * 8 - 4 * 0.25 * 4)
    assert "smoothed" in got.note


def test_linear_bound_by_hand() -> None:
    # t = 1: the new units exceed the 95 % point of NB(Q_1 + 1, 1/2)
    assert linear_bound(COUNTS, 10, 20) == 20 + nbinom.ppf(0.95, 9, 0.5)
    assert linear_bound([0] * 50 + [3], 10, 20) == 1 + 4  # Q_1 = 0: 2^-(n+1) <= .05 at n = 4


def test_linear_bound_is_a_theorem_about_the_means() -> None:
    p = np.geomspace(1e-4, 0.99, 200)
    for D, more in ((5, 1), (5, 20), (100, 300)):
        new = ((1 - p) ** D * (1 - (1 - p) ** more)).sum()
        assert new <= more / D * (D * p * (1 - p) ** (D - 1)).sum()


def test_predictive_interval_is_the_beta_binomials() -> None:
    rng = np.random.default_rng(3)
    counts = rng.binomial(30, rng.beta(0.6, 5.0, 300))
    fit = fit_family(counts, 30, "beta-binomial")
    got = predictive_working(counts, 30, 60, fit)
    free = int((counts == 0).sum())
    assert got.low is not None
    assert got.high is not None
    assert fit.b is not None
    assert fit.M is not None
    p = (got.working - (300 - free)) / free
    # a unit silent on 30 samples is Beta(b, M - b + 30)
    silent = betabinom.pmf(0, 30, fit.b, fit.M - fit.b + 30)
    assert p == pytest.approx(1 - silent)
    # no narrower than the counting noise alone, and whole units
    assert got.high - got.low >= 3.9 * (free * p * (1 - p)) ** 0.5 - 2
    assert got.low == int(got.low)


def test_backtest_judges_on_blocks_held_back() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(0.5, 5.0, 400)
    samples = np.full(16, 10)
    active = rng.binomial(10, p, (16, 400))
    got = backtest(active, samples)
    assert set(got) == {(share, m) for share in (0.5, 0.25) for m in METHODS}
    truth = (active.sum(0) > 0).sum()
    for (share, method), held in got.items():
        assert (held.truth, held.forecast.D, held.forecast.D_new) == (truth, 160 * share, 160)
        assert held.error == held.forecast.working - truth
        if method == "predictive":
            assert held.covered
    assert backtest(active[:1], samples[:1]) == {}


DEGENERATE = [
    ([0, 0, 0], 20),
    ([20, 20], 20),
    ([0, 0, 20], 20),
    ([0, 1, 1], 1),
    ([0], 1),
    ([1], 1),
    ([7], 20),
    ([7] * 30, 20),
    ([0, 0, 0, 1], 20),
    ([0, 0, 1, 2], 20),
    ([0, 0, 1, 1], 20),
    ([0, 2, 2], 20),
]


@pytest.mark.parametrize(("counts", "D"), DEGENERATE)
@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.filterwarnings("error")
def test_degenerate_counts_have_a_stated_answer(counts: list[int], D: int, times: int) -> None:
    N, K = len(counts), sum(k > 0 for k in counts)
    for family in ("binomial", "beta-binomial", "inflated"):
        fit = fit_family(np.array(counts), D, family)
        for method, got in extrapolate_working(np.array(counts), D, times * D, fit).items():
            assert got.method == method
            assert (0 if method == "urn" else K) <= got.working <= N + 1e-9
            if got.low is None or got.high is None:
                assert got.note
            else:
                assert K <= got.low <= got.high <= N
            if times == 1 and method != "urn":
                assert (got.working, got.low, got.high) == (K, K, K)
    assert K <= linear_bound(np.array(counts), D, times * D) <= N
    interval = chao2_interval(counts, D)
    assert interval.low is not None or interval.reason


def test_wrong_questions_are_refused() -> None:
    fit = fit_family(COUNTS, 10, "urn")
    with pytest.raises(ActpruneError, match="sparse limit"):
        predictive_working(COUNTS, 10, 20, fit)
    with pytest.raises(ActpruneError, match="1 <= D <= D'"):
        chao_working(COUNTS, 10, 9)
    with pytest.raises(ActpruneError, match="1 <= D <= D'"):
        good_toulmin_working(COUNTS, 10, 9)
    with pytest.raises(ActpruneError, match="60 units over 10"):
        urn_working(COUNTS[1:], 10, 20, fit_family(COUNTS, 10, "binomial"))
