"""Backward elimination against refits by brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from actprune.refit import eliminate_naive
from actprune.refit.eliminate import DELAY, RIDGE, eliminate


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


def trained(units: int, width: int, outputs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Neighbouring columns alike, of sizes over two orders, and outputs that read some of them."""
    gen = torch.Generator().manual_seed(seed)
    p = units * width
    x = torch.randn(2 * p, p, generator=gen, dtype=torch.float64)
    x[:, 1:] += 0.9 * x[:, :-1]
    x *= 10 ** (2 * torch.rand(p, generator=gen, dtype=torch.float64))
    cov = torch.cov(x.T, correction=0).reshape(p, p)
    return cov, torch.randn(outputs, p, generator=gen, dtype=torch.float64)


@pytest.mark.parametrize(
    ("units", "width", "outputs"),
    [
        (3 * DELAY + 7, 1, 5),  # several updates and copies
        (DELAY, 1, 2 * DELAY),  # more outputs than columns; no update at all
        (DELAY + 1, 1, 1),
        (40, 9, 16),
        (30, 5, 3),  # five does not divide the delay
        (4, DELAY + 6, 8),  # a unit is wider than the delay
        (1, 3, 2),
        (1, 1, 1),
    ],
)
@pytest.mark.parametrize("strength", [RIDGE, 1e-7])
def test_the_order_and_the_costs_are_those_of_the_definition(
    units: int, width: int, outputs: int, strength: float
) -> None:
    cov, w = trained(units, width, outputs, seed=units)
    before = cov.clone(), w.clone()
    order, costs = eliminate(cov, w, units, strength=strength)
    expected, exact = eliminate_naive.eliminate(cov, w, units, strength=strength)
    assert order.tolist() == expected.tolist()
    p = units * width
    system = cov + strength * cov.diagonal().mean() * torch.eye(p, dtype=torch.float64)
    # rounding x condition x terms: of the inverse, of W^T W, and five single operations
    off = 2.0**-53 * torch.linalg.cond(system) * (p + outputs + 5)
    assert (costs - exact).abs().max() <= off * exact.max()
    assert torch.equal(cov, before[0])
    assert torch.equal(w, before[1])


@pytest.mark.parametrize("width", [1, 3])
def test_float32_with_units_that_are_dead_doubled_or_not_read(width: int) -> None:
    units = 2 * DELAY // width
    cov, w = trained(units, width, 6, seed=0)
    columns = torch.arange(units * width)
    columns[5 * width : 6 * width] = torch.arange(width)  # unit 5 doubles unit 0
    cov = cov[columns][:, columns].clone()
    cov[8 * width : 9 * width] = 0.0  # unit 8 never varies
    cov[:, 8 * width : 9 * width] = 0.0
    w[:, 20 * width : 21 * width] = 0.0  # unit 20 is not read
    order, costs = eliminate(cov.float(), w.float(), units)
    expected, exact = eliminate_naive.eliminate(cov.float(), w.float(), units, strength=RIDGE)
    assert order.tolist() == expected.tolist()
    assert torch.allclose(costs, exact, rtol=0, atol=1e-9 * exact.max().item())
    assert order[0].item() == 20
    assert costs[0].item() == 0.0
    assert (order == 8).nonzero().item() < units // 2


def test_a_matrix_that_rounding_left_without_a_cholesky_factor_is_ordered_too() -> None:
    cov, w = trained(12, 1, 3, seed=1)
    cov[:, 3], cov[3] = 0.0, 0.0
    cov[3, 3] = -1e-6 * cov.diagonal().mean()  # no covariance: rounding, larger than the ridge
    order, costs = eliminate(cov, w, 12, strength=1e-9)
    cov[3, 3] = 0.0
    expected, exact = eliminate_naive.eliminate(cov, w, 12, strength=1e-9)
    assert order.tolist() == expected.tolist()
    # eigenvalues below the ridge are taken for the ridge; condition 1e9 x 1e-16 x 12
    assert torch.allclose(costs, exact, rtol=1e-5, atol=0)
