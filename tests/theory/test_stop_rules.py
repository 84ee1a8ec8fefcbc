"""Stopping rules: what they ask for, by hand and over many simulated runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from actprune.errors import ActpruneError
from actprune.theory.liveness import split_certificate
from actprune.theory.stop_rules import Certified, Stable, rank_correlation, rule_called

BLOCKS = 32


@dataclass(frozen=True)
class Site:
    samples: np.ndarray
    active: np.ndarray
    name: str = "fc"


def blocks(fires: np.ndarray, block: np.ndarray) -> Site:
    active = np.zeros((BLOCKS, fires.shape[1]), dtype=np.int64)
    np.add.at(active, block, fires)
    return Site(samples=np.bincount(block, minlength=BLOCKS), active=active)


def even_odd(n: int, even: list[int], odd: list[int]) -> Site:
    """n samples in one even and n in one odd block, with the units' counts in each."""
    samples, active = np.zeros(BLOCKS, dtype=np.int64), np.zeros((BLOCKS, len(even)), np.int64)
    samples[:2], active[0], active[1] = n, even, odd
    return Site(samples=samples, active=active)


def test_certified_is_the_split_bound_at_what_the_look_may_spend() -> None:
    rule = Certified(q=0.02)
    # two of 300 inputs of the check half fire a unit silent on the other half; look 3, two sites:
    # 0.05 / 8 / 2 of error may be spent
    busy, quiet = even_odd(300, [5, 0, 0], [7, 2, 0]), even_odd(300, [1, 0], [1, 0])
    bound = split_certificate(2, 300, 1 - 0.05 / 16)
    assert bound > 0.02
    answer = rule([busy, quiet], 3, None)
    assert not answer.enough
    assert f"{bound:.2%}" in answer.said
    assert rule([quiet, quiet], 3, None).enough is (split_certificate(0, 300, 1 - 0.05 / 16) < 0.02)


def test_what_all_looks_spend_is_at_most_what_there_is() -> None:
    rule = Certified(q=0.1, level=0.9)
    spent = sum(7 * rule._spent(look, 7) for look in range(1, 60))
    assert spent == pytest.approx(0.1)
    assert spent <= 0.1 + 1e-12


@pytest.mark.parametrize(("q", "sites"), [(0.01, 1), (0.01, 30), (0.2, 3)])
def test_no_look_is_made_before_one_could_pass(q: float, sites: int) -> None:
    rule = Certified(q=q)
    D = rule.first(sites)
    # the odd half, less two standard deviations sqrt(D)/2, just suffices without a firing
    n = math.floor(D / 2 - math.sqrt(D))
    level = 1 - 0.05 / 2 / sites
    assert split_certificate(0, n, level) <= q < split_certificate(0, n - 2, level)


def test_a_site_without_a_free_unit_passes() -> None:
    answer = Certified(q=0.01)([even_odd(3, [1, 2], [2, 3])], 1, None)
    assert answer.enough
    assert "no site has a free unit" in answer.said


def test_the_confidence_holds_whenever_it_stops() -> None:
    """Runs of up to 3,200 samples: how often are more than q of the inputs touched at the stop?"""
    rng = np.random.default_rng(0)
    rule, N, runs = Certified(q=0.05, level=0.9), 40, 400
    wrong = stops = 0
    for _ in range(runs):
        p = np.where(rng.random(N) < 0.5, 0.0, rng.beta(0.15, 8, N))
        fires = rng.random((3200, N)) < p
        block = rng.integers(0, BLOCKS, 3200)
        D, look, enough = rule.first(1), 1, False
        while D <= 3200 and not enough:
            enough = rule([blocks(fires[:D], block[:D])], look, None).enough
            if not enough:
                D, look = 2 * D, look + 1
        if enough:
            stops += 1
            free = ~fires[:D].any(0)
            wrong += 1 - np.prod(1 - p[free]) > 0.05
    assert stops > runs / 2
    # at most a tenth may be wrong, four standard errors of a binomial allowed
    assert wrong <= 0.1 * runs + 4 * math.sqrt(0.09 * runs), wrong


def test_stable_wants_the_same_free_units_and_the_same_ranking() -> None:
    old = [np.array([0, 1, 4, 9])]

    def after(*counts: int) -> Site:
        active = np.zeros((BLOCKS, 4), dtype=np.int64)
        active[0] = counts
        return Site(samples=np.full(BLOCKS, 1), active=active)

    rule = Stable()
    assert not rule([after(0, 1, 4, 9)], 1, None).enough
    assert rule([after(0, 3, 8, 18)], 2, old).enough  # since: 0, 2, 4, 9
    fired = rule([after(1, 3, 8, 18)], 2, old)
    assert not fired.enough
    assert "1 free units fired" in fired.said
    assert not rule([after(0, 9, 8, 10)], 2, old).enough  # since: 0, 8, 4, 1


def test_rank_correlation_by_hand() -> None:
    # ranks 1, 2, 3 against 1, 3, 2: 1 - 6 (0 + 1 + 1) / (3 * 8)
    assert rank_correlation(np.array([1, 2, 3]), np.array([4, 6, 5])) == pytest.approx(0.5)
    # two units silent in both do not count
    both = rank_correlation(np.array([0, 0, 1, 2, 3]), np.array([0, 0, 4, 6, 5]))
    assert both == pytest.approx(0.5)
    assert rank_correlation(np.array([3, 3]), np.array([1, 2])) is None
    assert rank_correlation(np.array([0]), np.array([1])) is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("certified=0.01", Certified(q=0.01)),
        ("certified=0.01@0.99", Certified(q=0.01, level=0.99)),
        ("stable", Stable()),
        ("stable=0.9", Stable(ranks=0.9)),
    ],
)
def test_a_rule_is_found_by_its_name(name: str, rule: Certified | Stable) -> None:
    assert rule_called(name) == rule
    assert rule.name == name


@pytest.mark.parametrize("name", ["", "certified", "certified=", "certified=a", "stable=", "x=1"])
def test_an_unknown_rule_names_the_known_ones(name: str) -> None:
    with pytest.raises(ActpruneError, match="until: known are certified=Q"):
        rule_called(name)


@pytest.mark.parametrize("name", ["certified=0", "certified=1", "certified=.1@1", "stable=1.5"])
def test_a_number_out_of_range_is_refused(name: str) -> None:
    with pytest.raises(ActpruneError, match="got"):
        rule_called(name)
