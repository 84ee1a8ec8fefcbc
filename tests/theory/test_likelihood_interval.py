"""Profile-likelihood intervals: by hand, against a grid, and at the edges."""

import math

import numpy as np
import pytest
from degenerate_counts import DEGENERATE
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import betabinom

from actprune.errors import ActpruneError
from actprune.theory import FAMILIES, fit_family, profile_interval
from actprune.theory._mixture import best_weights, likelihood
from actprune.theory._tied import tie

CUT = 1.959963984540054**2 / 2  # nats


def test_silence_by_hand() -> None:
    # 5 units silent on 8 samples: 40 ln(1 - p) = -CUT
    counts = np.zeros(5, dtype=int)
    got = profile_interval(counts, 8, fit_family(counts, 8, "binomial"), "mean")
    assert got.low == 0.0
    assert got.high == pytest.approx(1 - math.exp(-CUT / 40), rel=1e-4)
    full = profile_interval(counts + 8, 8, fit_family(counts + 8, 8, "binomial"), "mean")
    assert (full.low, full.high) == (pytest.approx(math.exp(-CUT / 40), rel=1e-4), 1.0)


def test_binomial_mean_by_roots() -> None:
    counts = np.array([0, 1, 2, 3, 1, 2])  # 9 of 30
    got = profile_interval(counts, 5, fit_family(counts, 5, "binomial"), "mean")

    def fallen(p: float) -> float:
        return 9 * math.log(p / 0.3) + 21 * math.log((1 - p) / 0.7) + CUT

    assert got.low == pytest.approx(brentq(fallen, 1e-6, 0.3), rel=1e-4)
    assert got.high == pytest.approx(brentq(fallen, 0.3, 0.999), rel=1e-4)


@pytest.mark.parametrize("name", ["mean", "b", "M"])
def test_beta_binomial_by_another_optimizer(name: str) -> None:
    counts = np.random.default_rng(0).binomial(40, np.random.default_rng(1).beta(0.7, 2.0, 150))
    fit = fit_family(counts, 40, "beta-binomial")
    got = profile_interval(counts, 40, fit, name)

    def profile(held: float) -> float:
        def loss(x: float) -> float:
            if name == "mean":
                mean, M = held, math.exp(x)
            else:
                mean = 1 / (1 + math.exp(-x))
                M = held if name == "M" else held / mean
            return -betabinom.logpmf(counts, 40, mean * M, (1 - mean) * M).sum()

        bounds = (-3, 5) if name == "mean" else (-4, 3)
        found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
        return -float(found.fun)  # pyright: ignore[reportAttributeAccessIssue]

    for end in (got.low, got.high):
        assert end is not None
        assert profile(end) == pytest.approx(fit.log_likelihood - CUT, abs=2e-3)


def test_weights_with_one_held_are_the_best() -> None:
    tied = tie(np.repeat([0, 3, 5, 9, 10], [6, 4, 5, 2, 3]), 10)
    for held in (0.0, 0.05, 0.4):
        pi0, pi1 = best_weights(tied, 0.4, 3.0, pi0=held)
        assert pi0 == held
        grid = np.linspace(0, 0.99 - held, 2_001)
        best = max(likelihood(tied, 0.4, 3.0, held, r)[0] for r in grid)
        assert likelihood(tied, 0.4, 3.0, pi0, pi1)[0] >= best - 1e-9
        pi0, pi1 = best_weights(tied, 0.4, 3.0, pi1=held)
        best = max(likelihood(tied, 0.4, 3.0, r, held)[0] for r in grid)
        assert likelihood(tied, 0.4, 3.0, pi0, pi1)[0] >= best - 1e-9


def test_inflated_ends_lie_on_the_cut() -> None:
    rng = np.random.default_rng(2)
    p = rng.beta(2.0, 3.0, 300)
    p[:45], p[-15:] = 0.0, 1.0
    counts = rng.binomial(50, p)
    fit, tied = fit_family(counts, 50, "inflated"), tie(counts, 50)
    for name, at in (("pi0", 0), ("pi1", 1)):
        got = profile_interval(counts, 50, fit, name)
        wald = fit.interval(name)
        assert wald is not None
        assert got.low is not None
        assert got.high is not None
        # first order: both agree to a fraction of their width
        width = wald[1] - wald[0]
        assert abs(got.low - wald[0]) + abs(got.high - wald[1]) < 0.2 * width
        held = {name: got.high}
        best = -math.inf
        for mean in np.linspace(0.3, 0.5, 41):
            for M in np.geomspace(3, 9, 41):
                weights = best_weights(tied, mean, M, **held)
                assert weights[at] == got.high
                best = max(best, likelihood(tied, mean, M, *weights)[0])
        # the grid misses the maximum by at most half a step each way: well below .05 nats
        assert best == pytest.approx(fit.log_likelihood - CUT, abs=0.05)


def test_edges_are_stated() -> None:
    same = np.repeat([9, 10, 11], [30, 40, 30])  # less spread than any binomial
    got = profile_interval(same, 20, fit_family(same, 20, "beta-binomial"), "b")
    assert got.low is not None
    assert got.low > 10
    assert got.high is None
    assert got.reason is not None
    assert "not excluded" in got.reason
    fit = fit_family(same, 20, "inflated")
    assert profile_interval(same, 20, fit, "pi0").low == 0.0
    assert profile_interval(same, 20, fit_family(same, 20, "urn"), "mean").reason is not None


CASES = {**DEGENERATE, "a single firing": ([0, 0, 0, 1], 20)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("error")
def test_degenerate_counts_have_a_stated_answer(case: str, family: str) -> None:
    counts, D = np.array(CASES[case][0]), CASES[case][1]
    fit = fit_family(counts, D, family)  # pyright: ignore[reportArgumentType]
    for name in ("mean", "b", "M", "pi0", "pi1"):
        got = profile_interval(counts, D, fit, name)
        ends = [end for end in (got.low, got.high) if end is not None]
        assert all(math.isfinite(end) for end in ends)
        assert len(ends) == 2 or got.reason, (name, got)
        value = getattr(fit, name)
        if len(ends) == 2 and value is not None:
            assert ends[0] <= value * (1 + 1e-9) + 1e-12
            assert value <= ends[1] * (1 + 1e-9) + 1e-12


def test_wrong_questions_are_refused() -> None:
    counts = np.array([1, 2, 0])
    fit = fit_family(counts, 5, "binomial")
    with pytest.raises(ActpruneError, match="needs one of"):
        profile_interval(counts, 5, fit, "alpha")
    with pytest.raises(ActpruneError, match="3 units over 5"):
        profile_interval(counts, 6, fit, "mean")
