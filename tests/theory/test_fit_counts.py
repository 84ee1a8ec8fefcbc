"""The count fits: by hand, covering the truth, and honest about boundaries."""

import numpy as np
import pytest
from degenerate_counts import DEGENERATE
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.stats import nbinom

from actprune.errors import ActpruneError
from actprune.theory.count_fit import FAMILIES, CountFit, Family
from actprune.theory.count_law import count_log_pmf, predictive_log_pmf
from actprune.theory.fit_counts import fit_family


def draw(
    rng: np.random.Generator, *, N: int, D: int, b: float, M: float, pi0: float = 0, pi1: float = 0
) -> np.ndarray:
    """Counts from Beta rates and binomial firings: nothing of the package is used."""
    p = rng.beta(b, M - b, N)
    kind = rng.random(N)
    p[kind < pi0] = 0.0
    p[kind >= 1 - pi1] = 1.0
    return rng.binomial(D, p)


def test_binomial_by_hand() -> None:
    fit = fit_family(np.array([0, 1, 2, 1]), 2, "binomial")
    assert (fit.mean, fit.stderr["mean"]) == pytest.approx((0.5, (0.25 / 8) ** 0.5))
    # two counts of probability 1/4, two of 1/2
    assert fit.log_likelihood == pytest.approx(2 * np.log(0.25) + 2 * np.log(0.5))


def test_beta_binomial_by_hand() -> None:
    # D = 2 and two parameters fit three cells exactly: mean 1/2 and
    # P(1) = 2 (M/2)^2 / (M (M + 1)) = 1/5, so M = 2/3
    fit = fit_family(np.repeat([0, 1, 2], [4, 2, 4]), 2, "beta-binomial")
    assert (fit.mean, fit.b, fit.M) == pytest.approx((1 / 2, 1 / 3, 2 / 3), rel=1e-5)
    assert fit.log_likelihood == pytest.approx(8 * np.log(0.4) + 2 * np.log(0.2))


def test_beta_binomial_errors_by_hand() -> None:
    # the same fit is a multinomial: P(1) has variance .2 * .8 / 10; M = P(1)/(1/2 - P(1)) at mean
    # 1/2 has slope (1/2)/(1/2 - 1/5)^2; mean = (n1 + 2 n2)/20 has variance (.2 + 4 * .4 - 1)/40
    fit = fit_family(np.repeat([0, 1, 2], [4, 2, 4]), 2, "beta-binomial")
    slope = 0.5 / 0.3**2
    assert fit.stderr["M"] == pytest.approx(slope * (0.16 / 10) ** 0.5, rel=1e-4)
    assert fit.stderr["mean"] == pytest.approx((0.8 / 40) ** 0.5, rel=1e-4)


def test_urn_by_another_optimizer() -> None:
    counts = draw(np.random.default_rng(3), N=500, D=50, b=0.4, M=8.0)
    s = counts.mean() / 50

    def loss(theta: np.ndarray) -> float:
        b = np.exp(theta[0])
        p = (b / s) / (b / s + 50)
        return -float((nbinom.logpmf(counts, b, p) - nbinom.logcdf(50, b, p)).sum())

    by_hand = minimize(loss, [0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    fit = fit_family(counts, 50, "urn")
    assert fit.b == pytest.approx(float(np.exp(by_hand.x[0])), rel=1e-5)
    assert pytest.approx(float(np.exp(by_hand.x[0])) / s, rel=1e-5) == fit.M
    assert fit.log_likelihood == pytest.approx(-by_hand.fun, rel=1e-10)


TRUTHS: list[tuple[Family, dict[str, float], int, int, int]] = [
    ("beta-binomial", {"b": 0.5, "M": 2.0}, 400, 200, 2_000),
    ("inflated", {"b": 2.0, "M": 5.0, "pi0": 0.15, "pi1": 0.05}, 500, 100, 400),
]


@pytest.mark.parametrize(("family", "truth", "N", "D", "trials"), TRUTHS)
def test_intervals_cover_the_true_parameters(
    family: Family, truth: dict[str, float], N: int, D: int, trials: int
) -> None:
    rng = np.random.default_rng(4)
    fits = [fit_family(draw(rng, N=N, D=D, **truth), D, family) for _ in range(trials)]

    assert all(fit.converged for fit in fits)
    four_sigma = 4 * (0.95 * 0.05 / trials) ** 0.5  # binomial error of the observed coverage
    for name, value in {**truth, "mean": truth["b"] / truth["M"]}.items():
        intervals = [fit.interval(name) for fit in fits]
        covered = np.mean([i is not None and i[0] <= value <= i[1] for i in intervals])
        assert abs(covered - 0.95) <= four_sigma, (name, covered)


def test_large_samples_recover_the_truth() -> None:
    counts = draw(np.random.default_rng(5), N=50_000, D=500, b=0.5, M=2.0, pi0=0.2, pi1=0.1)
    fit = fit_family(counts, 500, "inflated")
    for name, value in {"b": 0.5, "M": 2.0, "pi0": 0.2, "pi1": 0.1}.items():
        error = fit.stderr[name]
        assert error is not None
        assert error < 0.05 * value  # sharp enough for the next line to mean something
        assert abs(getattr(fit, name) - value) <= 4.5 * error


def test_standard_errors_match_the_spread_of_the_estimates() -> None:
    rng = np.random.default_rng(6)
    fits = [
        fit_family(draw(rng, N=400, D=50, b=1.0, M=4.0), 50, "beta-binomial") for _ in range(1_000)
    ]
    spread = np.std(np.log([fit.b for fit in fits if fit.b]), ddof=1)
    stated = np.mean([fit.stderr["b"] / fit.b for fit in fits if fit.b and fit.stderr["b"]])
    # the standard deviation of 1,000 normal draws is known to 1/sqrt(2000) = 2.2 %; 4.5 of those,
    # and the bias of order 1/N = .25 % of ln b, are far below the 20 % this must catch
    assert stated / spread == pytest.approx(1.0, abs=4.5 / 2_000**0.5 + 0.01)


def test_inflation_wins_where_units_are_dead() -> None:
    counts = draw(np.random.default_rng(7), N=600, D=200, b=8.0, M=14.0, pi0=0.2)
    plain, inflated = (fit_family(counts, 200, f) for f in ("beta-binomial", "inflated"))
    assert inflated.log_likelihood > plain.log_likelihood + 100
    assert inflated.pi0 == pytest.approx((counts == 0).mean(), abs=1e-3)
    assert plain.b is not None
    assert inflated.b is not None
    assert plain.b < 1 < inflated.b  # b means little without its family


@pytest.mark.parametrize("seed", range(5))
def test_inflation_never_loses_to_the_plain_law(seed: int) -> None:
    counts = draw(np.random.default_rng(seed), N=80, D=30, b=0.3 + seed, M=2.0 + 2 * seed)
    plain, inflated = (fit_family(counts, 30, f) for f in ("beta-binomial", "inflated"))
    assert inflated.log_likelihood >= plain.log_likelihood - 1e-6


def test_boundaries_are_stated() -> None:
    counts = draw(np.random.default_rng(8), N=300, D=60, b=20.0, M=40.0)
    fit = fit_family(counts, 60, "inflated")  # no unit near 0 or D: nothing to inflate
    assert (fit.pi0, fit.pi1) == (0.0, 0.0)
    assert fit.stderr["pi0"] is None
    assert fit.interval("pi0") is None
    assert fit.stderr["b"] is not None
    assert "boundary" in fit.note

    same = np.random.default_rng(9).permutation(np.repeat([9, 10, 11], [30, 40, 30]))
    fit = fit_family(same, 20, "beta-binomial")  # less spread than any binomial
    assert (fit.b, fit.M, fit.stderr["b"]) == (None, None, None)
    assert fit.mean == pytest.approx(0.5)
    assert "M -> infinity" in fit.note


CASES = {**DEGENERATE, "almost always on": ([20, 20, 20, 19], 20)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("error")
def test_degenerate_counts_have_a_stated_answer(case: str, family: Family) -> None:
    counts, D = CASES[case]
    fit = fit_family(np.array(counts), D, family)

    assert fit.converged
    assert np.isfinite(fit.log_likelihood)
    numbers = [fit.mean, fit.b, fit.M, fit.pi0, fit.pi1, *fit.stderr.values()]
    assert all(x is None or np.isfinite(x) for x in numbers)
    if None in (fit.mean, fit.b, fit.M, fit.stderr["b"]):
        assert fit.note
    law = np.exp(count_log_pmf(fit, np.arange(D + 1), D))
    assert law.sum() == pytest.approx(1.0)
    assert np.log(law)[counts].sum() == pytest.approx(fit.log_likelihood) if law.all() else True
    working = fit.expected_working(np.array([0, 1, D]))
    assert working[0] == 0
    assert (np.diff(working) >= -1e-12).all()
    assert working[-1] <= len(counts) + 1e-9


def test_certain_counts_have_likelihood_one() -> None:
    for family in ("binomial", "beta-binomial", "inflated"):
        assert fit_family(np.zeros(5, dtype=int), 9, family).log_likelihood == 0.0
        assert fit_family(np.full(5, 9), 9, family).log_likelihood == 0.0
    ends = fit_family(np.array([0, 0, 9]), 9, "inflated")
    assert (ends.pi0, ends.pi1, ends.mean) == (pytest.approx(2 / 3), pytest.approx(1 / 3), None)
    assert ends.log_likelihood == pytest.approx(2 * np.log(2 / 3) + np.log(1 / 3))


LAWS: dict[Family, dict[str, float | None]] = {
    "binomial": {"mean": 0.3, "b": None, "M": None},
    "beta-binomial": {"mean": 0.25, "b": 0.5, "M": 2.0},
    "inflated": {"mean": 0.25, "b": 0.5, "M": 2.0, "pi0": 0.2, "pi1": 0.1},
}


def law(family: Family, **values: float | None) -> CountFit:
    fields = {"pi0": 0.0, "pi1": 0.0, **values}
    rest = {"stderr": {}, "log_likelihood": 0.0, "D": 1, "N": 1, "converged": True}
    return CountFit(family=family, **fields, **rest)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("family", LAWS)
def test_prediction_is_consistent_with_the_joint_law(family: Family) -> None:
    fit, d, e = law(family, **LAWS[family]), 4, 3
    seen, k = np.meshgrid(np.arange(d + 1), np.arange(e + 1), indexing="ij")
    joint = np.exp(count_log_pmf(fit, seen, d) + predictive_log_pmf(fit, k, e, seen, d))
    together = np.bincount((seen + k).ravel(), joint.ravel())
    assert together == pytest.approx(np.exp(count_log_pmf(fit, np.arange(d + e + 1), d + e)))


def test_prediction_of_the_urn_by_integration() -> None:
    # a Gamma(b, M) rate seen k = 2 times over d = 4, Poisson counts, cut off at e = 3
    fit, d, e = law("urn", mean=0.25, b=0.5, M=2.0), 4, 3

    def poisson(j: int, t: float) -> float:
        return np.exp(-t) * t**j / (1, 1, 2, 6)[j]

    def weight(rate: float, j: int) -> float:
        prior = rate ** (0.5 - 1) * np.exp(-2.0 * rate)
        return prior * poisson(2, rate * d) * poisson(j, rate * e)

    mass = np.array([quad(weight, 0, np.inf, args=(j,))[0] for j in range(e + 1)])
    got = np.exp(predictive_log_pmf(fit, np.arange(e + 1), e, np.full(e + 1, 2), d))
    assert got == pytest.approx(mass / mass.sum(), rel=1e-6)


def test_impossible_conditions_are_minus_infinity() -> None:
    dead = fit_family(np.zeros(3, dtype=int), 5, "inflated")
    got = predictive_log_pmf(dead, np.array([0, 1, 0]), 5, np.array([0, 0, 2]), 5)
    assert got == pytest.approx([0.0, -np.inf, -np.inf])


def test_expected_working_is_the_silent_share_of_the_law() -> None:
    d = np.array([0, 1, 5, 40])
    for family, values in LAWS.items():
        fit = law(family, **values)
        silent = [1.0, *(float(np.exp(count_log_pmf(fit, 0, int(x)))) for x in d[1:])]
        assert fit.expected_working(d) == pytest.approx(1 - np.array(silent))


def test_wrong_counts_are_refused() -> None:
    for counts, D, what in [
        ([0, 6], 5, "0..D=5"),
        ([-1], 5, "0..D=5"),
        ([], 5, "one integer per unit"),
        ([0.5], 5, "one integer per unit"),
        ([0], 0, "at least one sample"),
    ]:
        with pytest.raises(ActpruneError, match=what):
            fit_family(np.array(counts), D, "binomial")
    with pytest.raises(ActpruneError, match="Unknown family"):
        fit_family(np.array([1]), 2, "poisson")  # pyright: ignore[reportArgumentType]
