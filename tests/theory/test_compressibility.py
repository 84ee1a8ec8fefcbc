"""Compressibility from a law: by hand, by differences, and in words."""

import math
from dataclasses import replace

import numpy as np
import pytest

from actprune.errors import ActpruneError
from actprune.theory import (
    Compressibility,
    compressibility_verdict,
    elasticities,
    fit_family,
    lorenz_curve,
    model_compressibility,
    site_compressibility,
)
from actprune.theory.count_fit import CountFit, Family


def law(family: Family, *, N: int = 10, D: int = 3, **values: float | None) -> CountFit:
    fields = {"mean": None, "b": None, "M": None, "pi0": 0.0, "pi1": 0.0, **values}
    rest = {"stderr": {}, "log_likelihood": 0.0, "converged": True}
    return CountFit(family=family, N=N, D=D, **fields, **rest)  # pyright: ignore[reportArgumentType]


def test_uniform_rates_by_hand() -> None:
    # b = 1, M = 2: a live unit stays silent on D samples with 1/(D + 1)
    fit = law("inflated", mean=0.5, b=1.0, M=2.0, pi0=0.2)
    got = site_compressibility(fit, D_new=7)
    assert got.free_now == pytest.approx(0.2 + 0.8 / 4)
    assert got.free_then == pytest.approx(0.2 + 0.8 / 8)
    assert got.never == 0.2
    # E[p] = .8/2, E[p^2] = .8/3
    assert got.effective_units == pytest.approx(10 * 0.4**2 / (0.8 / 3))
    assert got.shares[[40, 120, 200]] == pytest.approx([0, 0.25, 1])  # L = ((f - .2)/.8)^2
    # z = G(M) G(D + M - b)/(G(M - b) G(D + M)): d ln z/d ln D = -D/(D + 1) and rho = .4, q z = .2
    digamma_gap = 1 / 4  # psi(D + M) - psi(D + M - b) at D = 3
    assert got.exponent_D == pytest.approx(-0.5 * 3 * digamma_gap)


def test_exponents_are_those_of_the_urn_where_nothing_is_inflated() -> None:
    fit = law("beta-binomial", N=300, D=100, mean=250 / 300, b=0.4, M=0.4 * 300 / 250)
    got, urn = site_compressibility(fit, D_new=100), elasticities(N=300, b=0.4, c=250, D=100)
    assert got.exponent_N == pytest.approx(urn.exact_N)
    assert got.exponent_D == pytest.approx(urn.exact_D)
    assert got.exponent_N == pytest.approx(5.2, abs=0.05)
    published = site_compressibility(replace(fit, family="urn"), D_new=100)
    assert (published.exponent_N, published.exponent_D) == pytest.approx(
        (urn.published_N, urn.published_D)
    )
    assert site_compressibility(fit, D_new=100, c_exponent=1.0).exponent_N == 0.0


LAWS: dict[str, CountFit] = {
    "binomial": law("binomial", N=50, D=20, mean=0.1),
    "poisson": law("urn", N=50, D=20, mean=0.1),
    "published": law("urn", N=50, D=20, mean=0.1, b=0.4, M=4.0),
    "beta": law("beta-binomial", N=50, D=20, mean=0.1, b=0.4, M=4.0),
    "inflated": law("inflated", N=50, D=20, mean=0.1, b=0.4, M=4.0, pi0=0.2, pi1=0.1),
    "inflated, one rate": law("inflated", N=50, D=20, mean=0.1, pi0=0.2, pi1=0.1),
}


@pytest.mark.parametrize("case", LAWS)
def test_exponents_are_the_derivatives(case: str) -> None:
    fit, h = LAWS[case], 1e-5

    def log_rho(by_N: float, by_D: float) -> float:
        """ln free share at N e^by_N and D e^by_D, with c = mean N and b held."""
        assert fit.mean is not None
        M = None if fit.M is None else fit.M * math.exp(by_N)
        moved = replace(fit, mean=fit.mean * math.exp(-by_N), M=M)
        return math.log(1 - moved.expected_working(np.array(20 * math.exp(by_D))) / 50)

    got = site_compressibility(fit, D_new=20)
    # central differences: h^2 of curvature and 1e-16/h of rounding
    assert got.exponent_N == pytest.approx((log_rho(h, 0) - log_rho(-h, 0)) / (2 * h), abs=1e-7)
    assert got.exponent_D == pytest.approx((log_rho(0, h) - log_rho(0, -h)) / (2 * h), abs=1e-7)


def test_concentration_matches_drawn_rates() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(0.4, 3.6, 200_000)
    kind = rng.random(len(p))
    p[kind < 0.2], p[kind >= 0.9] = 0.0, 1.0
    got = site_compressibility(LAWS["inflated"], D_new=20)
    drawn = lorenz_curve(p, got.fractions)
    # 200,000 rates: shares and concentration known to about 1/sqrt(200,000) = .2 %
    assert got.shares == pytest.approx(drawn.shares, abs=0.01)
    assert got.effective_units == pytest.approx((drawn.effective_units or 0) / 4_000, rel=0.02)


def test_a_model_is_its_sites_together() -> None:
    one = site_compressibility(law("binomial", N=30, D=4, mean=0.5), D_new=8)
    two = site_compressibility(law("binomial", N=10, D=4, mean=0.1), D_new=8)
    got = model_compressibility([one, two])
    free = 30 * 0.5**4, 10 * 0.9**4
    assert got.units == 40
    assert got.free_now == pytest.approx(sum(free) / 40)
    assert got.free_then == pytest.approx((30 * 0.5**8 + 10 * 0.9**8) / 40)
    assert got.effective_units == pytest.approx(16**2 / (30 / 4 + 0.1))
    # the ten rare units carry 1 of 16 firings
    assert got.shares[[50, 200]] == pytest.approx([1 / 16, 1])
    assert one.exponent_D is not None
    assert two.exponent_D is not None
    weighted = (free[0] * one.exponent_D + free[1] * two.exponent_D) / sum(free)
    assert got.exponent_D == pytest.approx(weighted)
    same = model_compressibility([two, two])
    assert same.shares == pytest.approx(two.shares)
    assert same.exponent_N == pytest.approx(two.exponent_N)
    with pytest.raises(ActpruneError, match="at least one site"):
        model_compressibility([])
    with pytest.raises(ActpruneError, match="one D"):
        model_compressibility([one, replace(two, D_new=9)])


def test_verdict_in_words() -> None:
    assert compressibility_verdict(free=0.12, certified=True, more=0.31, cost=0.01, times=4.0) == (
        "12 % free, certified; 31 % more at +0.01 nats; calibration set too small by 4x for this "
        "site"
    )
    assert compressibility_verdict(free=0.002, certified=False) == "<1 % free, not certified"
    assert compressibility_verdict(free=0.0, certified=False, times=0.5) == "0 % free"
    with pytest.raises(ActpruneError, match="cost with"):
        compressibility_verdict(free=0.1, more=0.2)


@pytest.mark.parametrize(
    ("counts", "D"),
    [([0, 0, 0], 20), ([20, 20], 20), ([0, 0, 20], 20), ([0, 1, 1], 1), ([0], 1), ([7], 20),
     ([7] * 30, 20), ([0, 0, 1], 20)],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_degenerate_counts_have_a_stated_answer(counts: list[int], D: int) -> None:
    sites: list[Compressibility] = []
    for family in ("binomial", "urn", "beta-binomial", "inflated"):
        got = site_compressibility(fit_family(np.array(counts), D, family), D_new=4 * D)
        sites.append(got)
        assert 0 <= got.free_then <= got.free_now <= 1
        numbers = [got.exponent_N, got.exponent_D, got.effective_units]
        assert all(x is None or math.isfinite(x) for x in numbers)
        assert (got.exponent_D is None) == bool(got.note)
        assert np.isfinite(got.shares).all()
        assert (np.diff(got.shares) >= -1e-12).all()
    assert np.isfinite(model_compressibility(sites).shares).all()
    with pytest.raises(ActpruneError, match="D' >= D"):
        site_compressibility(fit_family(np.array(counts), D, "binomial"), D_new=D - 1)
