"""The counts-only forecast: kappa x share^gamma through two probes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actprune.planning.counts import activation_share, counts_forecast
from actprune.planning.result import CountsForecast
from actprune.sites.cut import Cut
from actprune.sites.site import Site, Slot


def changes(value: float) -> np.ndarray:
    return np.full(20, value)


def test_by_hand() -> None:
    # .01 at .1 and .04 at .2: gamma 2, kappa 1; at .4 it is .16
    found = counts_forecast(0.4, (0.1, 0.2), (changes(0.01), changes(0.04)), level=0.9, seed=0)
    assert isinstance(found, CountsForecast)
    assert (found.kappa, found.gamma) == pytest.approx((1, 2))
    assert (found.loss_delta, found.low, found.high) == pytest.approx((0.16, 0.16, 0.16))
    assert (found.share, found.level) == (0.4, 0.9)


def test_the_interval_resamples_both_probes_together() -> None:
    rng = np.random.default_rng(0)
    small = rng.exponential(0.01, 500)
    found = counts_forecast(0.4, (0.1, 0.2), (small, 4 * small), level=0.9, seed=0)
    assert isinstance(found, CountsForecast)
    # gamma is 2 in each resample, so the forecast is 16 times the small probe's mean
    assert found.loss_delta == pytest.approx(16 * small.mean())
    spread = 16 * small.std() / 500**0.5
    # 5 Monte Carlo errors of a 5 % quantile, .047 sigma each, and .06 for the mean's skew
    assert found.low == pytest.approx(found.loss_delta - 1.645 * spread, abs=0.3 * spread)
    assert found.high == pytest.approx(found.loss_delta + 1.645 * spread, abs=0.3 * spread)


def test_removing_units_that_never_fire_costs_nothing() -> None:
    found = counts_forecast(0.0, (0.0, 0.0), (changes(0), changes(0)), level=0.9, seed=0)
    assert isinstance(found, CountsForecast)
    assert (found.loss_delta, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("shares", "values", "reason"),
    [
        ((0.2, 0.2), (0.1, 0.1), "the probes do not differ in the activations they remove"),
        ((0.0, 0.2), (0.1, 0.1), "the probes do not differ in the activations they remove"),
        (
            (0.1, 0.2),
            (-0.01, 0.02),
            "a probe did not raise the loss (-0.01, 0.02), so no power law fits",
        ),
    ],
)
def test_without_a_law_there_is_a_reason(
    shares: tuple[float, float], values: tuple[float, float], reason: str
) -> None:
    probes = (changes(values[0]), changes(values[1]))
    assert counts_forecast(0.4, shares, probes, level=0.9, seed=0) == reason


def share(fit: Any, removed: dict[str, tuple[int, ...]]) -> float:
    """Of two sites of three units, whose samples active in two blocks add up to 6 2 0 and 4 4 4."""
    counts = {"a": [[5, 1, 0], [1, 1, 0]], "b": [[4, 3, 2], [0, 1, 2]]}
    sites = [
        Site(name=n, kind="linear", units=3, slots=(Slot(module=n, role="producer"),))
        for n in counts
    ]
    profile: Any = SimpleNamespace(
        site=lambda name: SimpleNamespace(samples_active=np.array(counts[name]))
    )
    theory: Any = SimpleNamespace(
        sites=[SimpleNamespace(name=n, fit=fit, samples=10) for n in counts]
    )
    return activation_share(profile, theory, sites, Cut.removing(sites, removed))


def test_the_share_as_counted_weighs_sites_by_their_activations() -> None:
    assert share(None, {"a": (1, 2)}) == pytest.approx(2 / 20)
    assert share(None, {"a": (0,), "b": (0, 1)}) == pytest.approx((6 + 8) / 20)
    assert share(None, {}) == 0


def test_the_share_on_fresh_samples_adds_the_prior_mass_to_each_count() -> None:
    fit = SimpleNamespace(b=0.5, M=2.0, pi0=None, pi1=None)
    # (b + D_i) over the site: 2.5 + .5 of 8 + 1.5; the site carries 8 of 20
    assert share(fit, {"a": (1, 2)}) == pytest.approx(3 / 9.5 * 8 / 20)
