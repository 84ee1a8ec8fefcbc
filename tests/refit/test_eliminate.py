"""Backward elimination against refits by brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from actprune.refit.eliminate import RIDGE, eliminate


def problem(units: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """A covariance [P, P] and a weight [D, P]."""
    gen = torch.Generator().manual_seed(seed)
    p = units * width
    x = torch.randn(4 * p, p, generator=gen, dtype=torch.float64)
    x = x @ torch.randn(p, p, generator=gen, dtype=torch.float64)
    return torch.cov(x.T, correction=0), torch.randn(3, p, generator=gen, dtype=torch.float64)


def objective(cov: Tensor, w: Tensor, width: int, gone: set[int], strength: float) -> float:
    """min E||(W' - W)(a - mu)||^2 + lam ||W' - W||^2 with W' = 0 at the units gone."""
    p = len(cov)
    lam = strength * cov.diagonal().mean()
    root = torch.linalg.cholesky(cov + lam * torch.eye(p, dtype=torch.float64))
    kept = [c for c in range(p) if c // width not in gone]
    if not kept:
        return (w @ root).square().sum().item()
    refit = torch.linalg.lstsq(root[kept].T, (w @ root).T).solution.T
    return (refit @ root[kept] - w @ root).square().sum().item()


@pytest.mark.parametrize("strength", [RIDGE, 0.3])
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_removal_costs_what_a_refit_by_brute_force_loses(
    width: int, seed: int, strength: float
) -> None:
    cov, w = problem(6, width, seed)
    order, costs = eliminate(cov, w, 6, strength=strength)
    gone: set[int] = set()
    lost = 0.0
    for unit, cost in zip(order.tolist(), costs.tolist(), strict=True):
        after = {
            q: objective(cov, w, width, {*gone, q}, strength) for q in range(6) if q not in gone
        }
        assert unit == min(after, key=after.__getitem__)  # greedy
        # condition with the ridge (below 1e5) x 1e-16, relative to the whole objective
        assert cost == pytest.approx(after[unit] - lost, abs=1e-9 * (1 + after[unit]))
        gone.add(unit)
        lost = after[unit]
    assert costs.sum().item() == pytest.approx(lost, rel=1e-9)  # costs add up
    assert sorted(order.tolist()) == list(range(6))


def test_a_doubled_unit_goes_first_and_costs_next_to_nothing() -> None:
    cov, w = problem(6, 1, seed=3)
    copy = torch.eye(6, dtype=torch.float64)
    copy[4] = copy[1]  # unit 4 is unit 1
    cov = copy @ cov @ copy.T
    order, costs = eliminate(cov, w, 6, strength=1e-6)
    assert order[0].item() in (1, 4)
    # its double can take the weight over: then only the ridge charges, once for either column
    lam = 1e-6 * cov.diagonal().mean().item()
    assert costs[0].item() <= 2 * lam * w[:, order[0]].square().sum().item()
    assert costs[0].item() < 1e-3 * costs[1].item()


def test_equal_units_go_in_their_order() -> None:
    order, costs = eliminate(torch.eye(4), torch.ones(2, 4), 4, strength=0.5)
    assert order.tolist() == [0, 1, 2, 3]
    assert costs.tolist() == pytest.approx([2 * 1.5] * 4)


def test_no_order_of_two_removals_beats_greedy_when_units_do_not_interact() -> None:
    w = torch.tensor([[3.0, 1.0, 2.0]])
    order, costs = eliminate(torch.diag(torch.tensor([1.0, 4.0, 2.0])), w, 3, strength=1e-9)
    # costs variance x weight^2: 9, 4, 8
    assert order.tolist() == [1, 2, 0]
    assert costs.tolist() == pytest.approx([4, 8, 9])
    assert costs[:2].sum() <= min(a + b for a, b in itertools.combinations((9, 4, 8), 2)) + 1e-6


@pytest.mark.parametrize("width", [1, 2])
def test_a_site_that_never_varies_can_still_be_ordered(width: int) -> None:
    p = 3 * width
    order, costs = eliminate(torch.zeros(p, p), torch.ones(2, p), 3)
    assert sorted(order.tolist()) == [0, 1, 2]
    # tiny^(1/2) x the ridge, for each of the weights
    assert costs.tolist() == pytest.approx([0.0] * 3, abs=1e-150)
