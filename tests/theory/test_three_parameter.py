"""The law with a discount (benchmarks/three_parameter.py): proper, and the inflated one in it."""

import numpy as np
import pytest
from scipy.special import betaln

from actprune.theory import fit_family, predictive_log_pmf
from benchmarks.calibration import draw
from benchmarks.three_parameter import Discounted, fit_discounted, stable


@pytest.mark.parametrize("b", [-0.6, 0.0, 0.7])
def test_the_joint_law_adds_up_and_is_exchangeable(b: float) -> None:
    law = Discounted(b=b, rest=2.0, log_G=-2.5, pi1=0.1)
    d, e = 4, 3
    k, j = np.meshgrid(np.arange(d + 1), np.arange(e + 1), indexing="ij")
    joint = np.exp(law.log_joint(k, d, j, e))
    assert joint.sum() == pytest.approx(1.0)
    whole = np.arange(d + e + 1)
    together = np.exp(law.log_joint(whole, d + e, np.zeros_like(whole), 0))
    assert np.bincount((k + j).ravel(), joint.ravel()) == pytest.approx(together)


def test_without_a_discount_it_is_the_inflated_law() -> None:
    rng = np.random.default_rng(0)
    p = draw.rates(rng, 400, 1.5, 5.0, pi0=0.2, pi1=0.05)
    k = rng.binomial(40, p)
    ours, theirs = fit_family(k, 40, "inflated"), fit_discounted(k, 40)
    # a simplex search: parameters to about 1e-4 of themselves
    assert theirs.b == pytest.approx(ours.b, rel=1e-3)
    q = np.exp(theirs.log_G + betaln(theirs.b, theirs.rest))
    assert q == pytest.approx(1 - ours.pi0 - ours.pi1, abs=1e-3)
    j = rng.binomial(30, p)
    mine = theirs.log_joint(k, 40, j, 30) - theirs.log_joint(k, 40, np.zeros_like(k), 0)
    assert mine.sum() == pytest.approx(predictive_log_pmf(ours, j, 30, k, 40).sum(), abs=0.05)


def test_a_true_discount_is_found() -> None:
    rng = np.random.default_rng(1)
    k = rng.binomial(500, stable(rng, 4_000, 0.4, 1.0))
    # about half of the units fire; b = -s to a few hundredths
    assert fit_discounted(k, 500).b == pytest.approx(-0.4, abs=0.12)
