"""The inflated beta-binomial against enumeration, another implementation, and its limits."""

import numpy as np
import pytest
from scipy import stats

from actprune.errors import ActpruneError
from actprune.theory import betabinomial as bb

INFLATED = {"D": 12, "b": 0.4, "M": 1.7, "pi0": 0.2, "pi1": 0.1}


def test_log_pmf_by_hand() -> None:
    # Beta(1, 1) rates make every count of 0..3 equally likely
    assert np.exp(bb.log_pmf(range(4), D=3, b=1.0, M=2.0)) == pytest.approx([0.25] * 4)
    got = np.exp(bb.log_pmf(range(4), D=3, b=1.0, M=2.0, pi0=0.2, pi1=0.4))
    assert got == pytest.approx([0.3, 0.1, 0.1, 0.5])


def test_log_pmf_matches_scipy() -> None:
    k = np.arange(61)
    for b, M in [(0.01, 0.5), (0.5, 40.0), (30.0, 50.0), (300.0, 5e4)]:
        assert bb.log_pmf(k, D=60, b=b, M=M) == pytest.approx(
            stats.betabinom.logpmf(k, 60, b, M - b), rel=1e-9
        )


def test_huge_M_is_the_binomial_limit() -> None:
    k = np.arange(101)
    # relative distance of order D^2/M = 1e-8
    got = bb.log_pmf(k, D=100, b=0.3e12, M=1e12)
    assert got == pytest.approx(stats.binom.logpmf(k, 100, 0.3), rel=1e-7)
    assert bb.binomial_log_pmf(k, 100, 0.3) == pytest.approx(stats.binom.logpmf(k, 100, 0.3))
    assert bb.binomial_log_pmf([0, 5], 5, 0.0) == pytest.approx([0.0, -np.inf])
    assert bb.binomial_log_pmf([0, 5], 5, 1.0) == pytest.approx([-np.inf, 0.0])


def test_cdf_and_sf_add_up_the_pmf() -> None:
    k = np.arange(-2, 15)
    pmf = np.exp(bb.log_pmf(k, **INFLATED))
    assert pmf.sum() == pytest.approx(1.0)
    assert bb.cdf(k, **INFLATED) == pytest.approx(np.cumsum(pmf))
    assert bb.sf(k, **INFLATED) == pytest.approx(1 - np.cumsum(pmf), abs=1e-12)
    assert bb.cdf(12, **INFLATED) == 1.0
    assert bb.sf(-1, **INFLATED) == 1.0


def test_sf_keeps_the_digits_of_a_small_tail() -> None:
    last = np.exp(bb.log_pmf(200, D=200, b=1.0, M=60.0))
    assert 0 < last < 1e-30
    assert float(bb.sf(199, D=200, b=1.0, M=60.0)) == pytest.approx(float(last), rel=1e-12, abs=0)


def test_degenerate_parameters() -> None:
    assert bb.log_pmf([0], D=0, b=1.0, M=2.0, pi0=0.3) == pytest.approx([0.0])
    assert bb.log_pmf([0, 3, 5], D=5, b=1.0, M=2.0, pi0=1.0) == pytest.approx([0, -np.inf, -np.inf])
    for wrong in ({"b": 2.0, "M": 2.0}, {"pi0": 0.7, "pi1": 0.7}, {"pi0": -0.1}, {"b": 0.0}):
        with pytest.raises(ActpruneError, match="needs"):
            bb.log_pmf(0, **{"D": 5, "b": 1.0, "M": 2.0, **wrong})
