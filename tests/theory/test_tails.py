"""Tails by hand, against `powerlaw`, against each other, and where there is none."""

import math
import warnings

import numpy as np
import pytest
from degenerate_counts import DEGENERATE
from scipy.stats import betabinom

from actprune.errors import ActpruneError
from actprune.theory import (
    TAIL_FAMILIES,
    alpha_beside_b,
    alpha_jackknife,
    choose_xmin,
    compare_tails,
    count_goodness,
    fit_family,
    fit_tail,
    tail_goodness,
)
from actprune.theory._exponential import maximize
from actprune.theory._tail_families import log_tail_law
from actprune.theory.tail_fit import TailFamily


def draw(seed: int, n: int, weight: np.ndarray) -> np.ndarray:
    """Counts 1, 2, ... with chances proportional to `weight`."""
    rng = np.random.default_rng(seed)
    return rng.choice(len(weight), n, p=weight / weight.sum()) + 1


def test_power_law_by_hand() -> None:
    # support 1..2: P(2)/P(1) = 2^-alpha = 1/4, and alpha ln 2 = -logit P(2) has variance 1/(n p q)
    fit = fit_tail(np.repeat([0, 1, 2], [5, 8, 2]), 2, "power law")
    assert fit.parameters == {"alpha": pytest.approx(2.0)}
    assert fit.stderr["alpha"] == pytest.approx((10 * 0.8 * 0.2) ** -0.5 / math.log(2))
    assert fit.log_likelihood == pytest.approx(8 * math.log(0.8) + 2 * math.log(0.2))
    assert fit.ks == pytest.approx(0.0, abs=1e-9)
    assert (fit.n, fit.working) == (10, 10)


def test_intervals_by_hand() -> None:
    z = 1.959963984540054
    fit = fit_tail(np.repeat([1, 2], [8, 2]), 2, "power law")
    error = (10 * 0.8 * 0.2) ** -0.5 / math.log(2)
    got = fit.interval("alpha")
    assert (got.low, got.high) == (pytest.approx(2 - z * error), pytest.approx(2 + z * error))
    spread = fit_tail(np.repeat([1, 2, 3], [40, 45, 10]), 3, "lognormal")
    sigma, error = (spread.parameters or {})["sigma"], spread.stderr["sigma"]
    assert error is not None
    got = spread.interval("sigma", level=0.5)
    assert got.high == pytest.approx(sigma * math.exp(0.6744897501960817 * error / sigma))
    assert fit.interval("sigma").reason is not None


def test_geometric_by_hand() -> None:
    # support 1..2: e^-rate = 1/3
    fit = fit_tail(np.repeat([1, 2], [6, 2]), 2, "geometric")
    assert fit.parameters == {"rate": pytest.approx(math.log(3))}
    # 1..3, mean 2: flat
    fit = fit_tail(np.array([1, 2, 3, 3, 1, 2]), 3, "geometric")
    assert fit.parameters == {"rate": pytest.approx(0.0, abs=1e-9)}
    assert fit.log_likelihood == pytest.approx(6 * math.log(1 / 3))


def test_two_parameter_tails_by_hand() -> None:
    # three points, two parameters: 4, 2, 1 of 7 are met exactly, by each family
    counts = np.repeat([1, 2, 3], [40, 20, 10])
    fit = fit_tail(counts, 3, "truncated power law")
    assert fit.parameters == {
        "alpha": pytest.approx(0.0, abs=1e-8),
        "rate": pytest.approx(math.log(2)),
    }
    exact = 70 * (4 / 7 * math.log(4 / 7) + 2 / 7 * math.log(2 / 7) + 1 / 7 * math.log(1 / 7))
    for family in ("truncated power law", "lognormal"):
        fit = fit_tail(counts, 3, family)
        assert fit.log_likelihood == pytest.approx(exact)
        assert fit.ks == pytest.approx(0.0, abs=1e-8)


def test_lognormal_errors_are_those_of_its_information() -> None:
    k = np.arange(1.0, 201)
    counts = draw(0, 3_000, np.exp(-((np.log(k) - 2.0) ** 2) / 2 / 0.7**2) / k)
    fit = fit_tail(counts, 200, "lognormal")
    assert fit.parameters is not None

    def value(mu: float, sigma: float) -> float:
        log_p = -np.log(k) - (np.log(k) - mu) ** 2 / (2 * sigma**2)
        return float((log_p - np.log(np.exp(log_p).sum()))[counts - 1].sum())

    mu, sigma, h = fit.parameters["mu"], fit.parameters["sigma"], 1e-3
    assert value(mu, sigma) == pytest.approx(fit.log_likelihood)
    hessian = np.empty((2, 2))
    for i, d in enumerate(np.eye(2) * h):
        for j, e in enumerate(np.eye(2) * h):
            hessian[i, j] = sum(
                s * t * value(mu + s * d[0] + t * e[0], sigma + s * d[1] + t * e[1])
                for s in (1, -1)
                for t in (1, -1)
            ) / (4 * h * h)
    error = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    # central differences: relative error of order h^2, here below 1e-4
    assert [fit.stderr["mu"], fit.stderr["sigma"]] == pytest.approx(error, rel=1e-3)


def test_beta_binomial_tail_recovers_the_urn() -> None:
    rng = np.random.default_rng(0)
    counts = rng.binomial(300, rng.beta(0.5, 9.5, 4_000))
    fit = fit_tail(counts, 300, "beta-binomial")
    for name, truth in (("b", 0.5), ("M", 10.0)):
        interval = fit.interval(name, level=0.9999)
        assert interval.low is not None
        assert interval.covers(truth)
    assert fit.parameters is not None
    at = fit.parameters
    law = betabinom.logpmf(np.arange(1, 301), 300, at["b"], at["M"] - at["b"])
    law -= np.log(1 - betabinom.pmf(0, 300, at["b"], at["M"] - at["b"]))
    assert log_tail_law(fit) == pytest.approx(law, abs=1e-8)


def test_agrees_with_the_powerlaw_package() -> None:
    powerlaw = pytest.importorskip("powerlaw")
    k = np.arange(1.0, 100_001)
    counts = draw(1, 3_000, k**-2.5)
    ours = fit_tail(counts, 100_000, "power law")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = powerlaw.Fit(counts, discrete=True, xmin=1, verbose=False)
        alpha = theirs.power_law.alpha
        truncated = powerlaw.Fit(
            draw(2, 3_000, (k**-0.7 * np.exp(-k / 100))[:2_000]), discrete=True, xmin=1,
            verbose=False,
        ).truncated_power_law  # fmt: skip
        cut = truncated.alpha, truncated.Lambda
    # bounded at 1e5 or not: P(k > 1e5) ~ 1e-7.5, and their search stops at a relative 1e-4 or so
    assert ours.alpha == pytest.approx(alpha, abs=5e-3)
    mine = fit_tail(
        draw(2, 3_000, (k**-0.7 * np.exp(-k / 100))[:2_000]), 2_000, "truncated power law"
    )
    assert mine.parameters is not None
    # theirs is a numerical search on an unbounded law; a standard error is the scale that matters
    error = mine.stderr["alpha"]
    assert error is not None
    assert abs(mine.parameters["alpha"] - cut[0]) < error
    assert mine.parameters["rate"] == pytest.approx(cut[1], rel=0.1)


def test_small_exponents_that_unbounded_estimators_miss() -> None:
    # alpha below 1 exists only on a bounded support
    k = np.arange(1.0, 2_001)
    fit = fit_tail(draw(3, 2_000, k**-0.7), 2_000, "power law")
    assert fit.interval("alpha").covers(0.7)
    assert fit.alpha is not None
    assert fit.alpha < 0.8


def test_many_at_once_is_one_by_one() -> None:
    k = np.arange(1.0, 51)
    T = np.stack([np.log(k), k], axis=1)
    observed = np.array(
        [T[draw(s, 40, k**-1.0 * np.exp(-k / (5 + s))) - 1].mean(0) for s in range(9)]
    )
    together = maximize(T, observed)
    assert together.found.all()
    for i, row in enumerate(observed):
        alone = maximize(T, row[None])
        assert together.theta[i] == pytest.approx(alone.theta[0], rel=1e-8)
    law = np.exp(together.theta @ T.T - together.log_z[:, None])
    assert law.sum(1) == pytest.approx(np.ones(9))
    assert law @ T == pytest.approx(observed, rel=1e-7)


def test_nested_tails_by_hand() -> None:
    counts = np.repeat([1, 2, 3], [40, 20, 10])
    simple, rich = fit_tail(counts, 3, "power law"), fit_tail(counts, 3, "truncated power law")
    got = compare_tails(counts, simple, rich)
    assert simple.log_likelihood is not None
    assert rich.log_likelihood is not None
    ratio = 2 * (rich.log_likelihood - simple.log_likelihood)
    assert (got.test, got.statistic) == ("likelihood ratio", pytest.approx(ratio))
    assert got.p == pytest.approx(math.erfc((ratio / 2) ** 0.5))  # chi2(1)
    edge = compare_tails(counts, simple, fit_tail(counts, 3, "lognormal"))
    assert edge.p == pytest.approx(math.erfc(((edge.statistic or 0) / 2) ** 0.5) / 2)
    # the order of the two does not matter
    assert compare_tails(counts, rich, simple).statistic == got.statistic


def test_vuong_by_hand() -> None:
    counts = np.repeat([1, 2, 3], [50, 20, 10])
    a, b = fit_tail(counts, 3, "power law"), fit_tail(counts, 3, "geometric")
    got = compare_tails(counts, a, b)
    d = (log_tail_law(a) - log_tail_law(b))[counts - 1]
    assert got.statistic == pytest.approx(d.sum() / (d.std() * 80**0.5))
    assert got.gap == pytest.approx(d.sum())
    assert compare_tails(counts, b, a).statistic == pytest.approx(-(got.statistic or 0))


def test_xmin_is_found_where_the_law_begins() -> None:
    k = np.arange(1.0, 1_001)
    weight = np.where(k < 8, 8.0**-2.2, k**-2.2)  # flat below 8
    fit = choose_xmin(draw(5, 6_000, weight), 1_000)
    assert 6 <= fit.xmin <= 16
    assert fit.interval("alpha", level=0.999).covers(2.2)
    assert fit.n < fit.working == 6_000


def test_goodness_with_a_chosen_xmin_is_seeded_and_draws_the_whole() -> None:
    k = np.arange(1.0, 301)
    counts = draw(6, 300, np.where(k < 5, 5.0**-1.5, k**-1.5))
    fit = choose_xmin(counts, 300)
    first, again = (
        tail_goodness(counts, fit, replicates=30, seed=4, xmin_chosen=True) for _ in range(2)
    )
    assert first == again
    assert first.p is not None
    assert first.p > 0.05
    bent = draw(7, 800, np.exp(-((k - 150) ** 2) / 800))
    got = tail_goodness(bent, fit_tail(bent, 300, "power law"), replicates=40)
    assert got.p == 1 / 41


def test_beta_binomial_goodness() -> None:
    rng = np.random.default_rng(8)
    counts = rng.binomial(60, rng.beta(0.8, 4.0, 150))
    got = tail_goodness(counts, fit_tail(counts, 60, "beta-binomial"), replicates=19)
    assert got.p is not None
    assert got.p > 0.05
    fit = fit_family(counts, 60, "beta-binomial")
    whole = count_goodness(counts, 60, fit, replicates=19)
    assert whole.p > 0.05
    assert whole == count_goodness(counts, 60, fit, replicates=19)


def test_alpha_beside_b_says_how_far_the_power_law_reaches() -> None:
    rng = np.random.default_rng(9)
    counts = rng.binomial(2_000, rng.beta(0.3, 40.0, 3_000))
    tail, fit = (
        fit_tail(counts, 2_000, "truncated power law"),
        fit_family(counts, 2_000, "beta-binomial"),
    )
    got = alpha_beside_b(tail, fit)
    assert got.one_minus_b == pytest.approx(0.7, abs=4.5 * (got.one_minus_b_stderr or 0))
    # k^(b-1) is the limit of G(k + b)/k!, which is 10 % below it at k = 1, 5 % at 2, 2 % at 5: a
    # slope of .05 over the small counts, by which alpha comes out low
    assert got.alpha == pytest.approx(0.7, abs=0.05 + 3 * (got.alpha_stderr or 0))
    assert (got.family, got.xmin) == ("beta-binomial", 1)
    assert "k* =" in got.note
    dense = fit_family(rng.binomial(50, rng.beta(2.0, 0.5, 300)), 50, "beta-binomial")
    assert "no power law there" in alpha_beside_b(tail, dense).note
    assert alpha_beside_b(tail, fit_family(counts, 2_000, "binomial")).one_minus_b is None


def test_alpha_jackknife() -> None:
    rng = np.random.default_rng(10)
    p = rng.beta(0.4, 3.0, 500)
    active = rng.binomial(40, p, (8, 500))
    got = alpha_jackknife(active, np.full(8, 40), "truncated power law")
    assert got.value == fit_tail(active.sum(0), 320, "truncated power law").alpha
    assert got.stderr is not None
    assert 0 < got.stderr < 0.2
    short = alpha_jackknife(np.array([[1, 1], [1, 0]]), np.array([1, 1]))
    assert short.value is None
    assert short.reason is not None
    with pytest.raises(ActpruneError, match="no alpha"):
        alpha_jackknife(active, np.full(8, 40), "geometric")


CASES = {
    **DEGENERATE,
    "an outlier": ([1] * 999 + [10_000], 10_000),
    "both ends of the range": ([1, 1, 20, 20], 20),
}


@pytest.mark.parametrize("family", TAIL_FAMILIES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("error")
def test_degenerate_counts_have_a_stated_answer(case: str, family: TailFamily) -> None:
    counts, D = np.array(CASES[case][0]), CASES[case][1]
    for fit in (fit_tail(counts, D, family), choose_xmin(counts, D, family, least=2)):
        if fit.parameters is None:
            assert fit.note
            assert (fit.ks, fit.log_likelihood) == (None, None)
            with pytest.raises(ActpruneError, match="no parameters"):
                log_tail_law(fit)
        else:
            assert np.isfinite(list(fit.parameters.values())).all()
            assert fit.ks is not None
            assert fit.log_likelihood is not None
            assert np.isfinite([fit.ks, fit.log_likelihood]).all()
        got = tail_goodness(counts, fit, replicates=5)
        assert (got.p is None) == (fit.parameters is None)
        assert got.note


def test_wrong_questions_are_refused() -> None:
    counts = np.array([1, 2, 3, 5])
    with pytest.raises(ActpruneError, match="Unknown tail"):
        fit_tail(counts, 5, "pareto")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ActpruneError, match="1 <= xmin <= xmax"):
        fit_tail(counts, 5, "power law", xmin=0)
    a = fit_tail(counts, 5, "power law")
    with pytest.raises(ActpruneError, match="one range"):
        compare_tails(counts, a, fit_tail(counts, 5, "geometric", xmin=2))
    with pytest.raises(ActpruneError, match="units"):
        compare_tails(counts[:2], a, fit_tail(counts, 5, "geometric"))
    with pytest.raises(ActpruneError, match="at least one replicate"):
        tail_goodness(counts, a, replicates=0)
