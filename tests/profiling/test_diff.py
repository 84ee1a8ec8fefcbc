from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm
from test_merge import made
from torch import nn

from actprune.errors import ActpruneError
from actprune.profiling.collect import profile
from actprune.profiling.diff import diff
from actprune.profiling.result import Profile


def firing(name: str, counts: list[int], samples: int) -> Profile:
    """A profile of units that fire in so many of the samples."""
    events = [(i, i % 32, [1 if i < c else 0 for c in counts]) for i in range(samples)]
    return made(name, events, units=len(counts))


def test_a_change_by_hand() -> None:
    (change, same, never) = diff(firing("a", [30, 10, 0], 100), firing("b", [10, 5, 0], 50))

    assert (change.site, change.unit, change.rate_a, change.rate_b) == ("a", 0, 0.3, 0.2)
    pooled = 40 / 150
    z = (0.3 - 0.2) / np.sqrt(pooled * (1 - pooled) * (1 / 100 + 1 / 50))
    assert change.p_value == pytest.approx(2 * norm.sf(z), rel=1e-12)
    assert change.adjusted == pytest.approx(min(1.0, 3 * change.p_value), rel=1e-12)
    assert same.p_value == never.p_value == 1.0
    assert not change.significant


def test_a_known_change_is_found_and_the_rest_is_not() -> None:
    torch.manual_seed(0)
    first = nn.Linear(6, 20)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(20, 2))
    x = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))
    before = profile(model, x[:2000], rule="positive")
    first.bias.data[7] -= 1.5
    found = diff(before, profile(model, x[2000:], rule="positive"))

    assert found[7].significant
    assert found[7].rate_b < found[7].rate_a
    assert [c.unit for c in found if c.significant] == [7]
    assert [c.unit for c in found] == list(range(20))


def test_without_a_change_false_alarms_are_rare() -> None:
    # under no change some unit is significant in at most 5 % of pairs (Benjamini-Hochberg);
    # of 100 pairs more than the bound are, with probability below 1e-6
    gen = np.random.default_rng(0)
    rates = gen.uniform(0.1, 0.9, 30)
    alarms = 0
    for _ in range(100):
        a, b = (firing_counts(gen.binomial(400, rates), 400) for _ in range(2))
        alarms += any(c.significant for c in diff(a, b))
    assert alarms <= binom.isf(1e-6, 100, 0.05)


def firing_counts(counts: np.ndarray, samples: int) -> Profile:
    p = firing("x", [0] * len(counts), 1)
    active = np.zeros((32, len(counts)), dtype=np.int64)
    active[0] = counts
    seen = np.zeros(32, dtype=np.int64)
    seen[0] = samples
    return replace(p, sites=(replace(p.sites[0], samples=seen, samples_active=active),))


@pytest.mark.parametrize("n", [3, 7, 49, 101, 333])
def test_units_that_always_fire_do_not_change(n: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        changes = diff(firing_counts(np.full(4, n), n), firing_counts(np.full(4, n + 2), n + 2))
    assert all(c.p_value == 1.0 and not c.significant for c in changes)


def test_the_level_sets_what_is_significant() -> None:
    a, b = firing("a", [30], 100), firing("b", [45], 100)
    (change,) = diff(a, b)
    assert 0.01 < change.p_value < 0.05
    assert change.significant
    assert not diff(a, b, level=0.99)[0].significant


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_outside_zero_and_one_is_refused(level: float) -> None:
    with pytest.raises(ActpruneError, match=f"level must lie between 0 and 1, got {level}"):
        diff(firing("a", [3], 10), firing("b", [3], 10), level=level)


def test_what_cannot_be_compared_is_refused(profiled: Callable[..., Profile]) -> None:
    a = profiled(0, 70)
    with pytest.raises(ActpruneError, match=r"same sites and units, got \[\('0', 6\), .* and \[\("):
        diff(a, firing("b", [1, 2], 10))
    with pytest.raises(ActpruneError, match="share their firing rules; site '0' has a > 0 and"):
        diff(a, profiled(70, 150, rule="magnitude:0.5"))
    with pytest.raises(ActpruneError, match="must hold samples, got 10 and 0"):
        diff(firing("a", [1], 10), firing("b", [0], 0))


def test_profiles_without_sites_have_no_changes() -> None:
    empty = replace(firing("a", [1], 10), sites=())
    assert diff(empty, empty) == ()
