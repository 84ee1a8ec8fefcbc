"""Ridge regression towards the prior, against theory 7's formulas and a brute-force solver."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from actprune.refit.moments import Moments
from actprune.refit.ridge import STRENGTHS, choose_strength, ridge


def inputs(rows: int, columns: int, seed: int) -> Tensor:
    """Correlated, with means other than zero."""
    gen = torch.Generator().manual_seed(seed)
    mix = torch.randn(columns, columns, generator=gen, dtype=torch.float64)
    return torch.randn(rows, columns, generator=gen, dtype=torch.float64) @ mix + 1.5


def weights(outputs: int, columns: int, seed: int) -> Tensor:
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(outputs, columns, generator=gen, dtype=torch.float64)


def test_by_hand() -> None:
    # variance of x 1, covariance 3, prior 1, lam 1 x 1: change (3 - 1) / (1 + 1)
    m = Moments.of(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [6.0]]))
    weight, bias = ridge(m, torch.ones(1, 1, dtype=torch.float64), strength=1.0)
    assert (weight.item(), bias.item()) == (2, 3 - 2 * 2)


@pytest.mark.parametrize("strength", [1e-6, 1e-2, 1.0])
def test_it_is_the_minimum_found_by_an_augmented_least_squares_solve(strength: float) -> None:
    x, prior = inputs(80, 6, seed=0), weights(4, 6, seed=1)
    z = x @ weights(4, 6, seed=2).T + weights(80, 4, seed=3)
    weight, bias = ridge(Moments.of(x, z), prior, strength)

    xc, zc = x - x.mean(0), z - z.mean(0)
    lam = strength * xc.square().mean()
    rows = torch.cat([xc / 80**0.5, lam.sqrt() * torch.eye(6).double()])
    aims = torch.cat([zc / 80**0.5, lam.sqrt() * prior.T])
    best = torch.linalg.lstsq(rows, aims).solution.T
    # normal equations: condition of the covariance (below 1e4) x 1e-16 x weights of size 1
    torch.testing.assert_close(weight, best, rtol=0, atol=1e-10)
    torch.testing.assert_close(bias, z.mean(0) - best @ x.mean(0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("strength", [1e-6, 1e-2, 1.0])
def test_with_dense_targets_it_moves_the_removed_units_share(strength: float) -> None:
    a, w = inputs(60, 7, seed=4), weights(3, 7, seed=5)
    k, r = [0, 2, 3, 6], [1, 4, 5]
    weight, bias = ridge(Moments.of(a[:, k], a @ w.T + 0.7), w[:, k], strength)

    cov = torch.cov(a.T, correction=0)
    lam = strength * cov[k][:, k].diagonal().mean()
    shrunk = torch.linalg.inv(cov[k][:, k] + lam * torch.eye(4).double())
    b = shrunk @ cov[k][:, r]
    mu = a.mean(0)
    # condition of the covariance x 1e-16 x sizes of order 10
    torch.testing.assert_close(weight, w[:, k] + w[:, r] @ b.T, rtol=0, atol=1e-10)
    moved = 0.7 + w[:, r] @ (mu[r] - b.T @ mu[k])
    torch.testing.assert_close(bias, moved, rtol=0, atol=1e-10)

    # the residual covariance, with the term that is forgotten easily
    left = cov[r][:, r] - cov[r][:, k] @ shrunk @ cov[k][:, r] - lam * b.T @ b
    error = (w[:, r] @ left @ w[:, r].T).trace().item()
    moments = Moments.of(a[:, k], a @ w.T + 0.7)
    assert moments.error(weight, bias) == pytest.approx(error, rel=1e-8)
    off = torch.tensor([1.0, -2.0, 0.5]).double()
    assert moments.error(weight, bias + off) == pytest.approx(error + 5.25, rel=1e-8)
    if strength == 1.0:
        forgotten = (w[:, r] @ (left + lam * b.T @ b) @ w[:, r].T).trace().item()
        assert abs(forgotten - error) > 0.01 * error


def test_noise_calls_for_a_large_ridge_and_clean_data_for_a_small_one() -> None:
    prior = weights(2, 10, seed=6)
    fit, select = inputs(15, 10, seed=7), inputs(200, 10, seed=8)
    noise = weights(215, 2, seed=9)
    noisy = choose_strength(
        Moments.of(fit, fit @ prior.T + noise[:15]),
        Moments.of(select, select @ prior.T + noise[15:]),
        prior,
    )
    true = weights(2, 10, seed=10)
    clean = choose_strength(
        Moments.of(fit, fit @ true.T), Moments.of(select, select @ true.T), prior
    )
    assert noisy == max(STRENGTHS)
    assert clean == min(STRENGTHS)


def test_without_samples_to_choose_on_the_strength_is_a_fixed_one() -> None:
    m = Moments.of(inputs(9, 2, seed=0), inputs(9, 2, seed=1))
    assert choose_strength(m, None, torch.zeros(2, 2).double()) == 1e-3


def test_equal_strengths_go_to_the_larger() -> None:
    x, w = inputs(30, 3, seed=0), torch.zeros(2, 3, dtype=torch.float64)
    m = Moments.of(x, torch.zeros(30, 2))  # the prior is already right: every strength keeps it
    assert choose_strength(m, m, w) == max(STRENGTHS)


def test_dead_constant_and_doubled_columns_are_no_trouble() -> None:
    x = inputs(40, 5, seed=0)
    x[:, 1], x[:, 2], x[:, 4] = 0.0, 1000 / 3, x[:, 0]
    w = weights(2, 5, seed=1)
    for columns in ([0, 1, 2, 3, 4], [1, 2], [1], [2]):
        kept = x[:, columns]
        weight, bias = ridge(Moments.of(kept, x @ w.T), w[:, columns], STRENGTHS[0])
        assert torch.isfinite(weight).all()
        assert (weight - w[:, columns]).abs().max() < 100  # nothing is blown up
        gap = (kept @ weight.T + bias - x @ w.T).mean(0)
        torch.testing.assert_close(gap, torch.zeros(2).double(), rtol=0, atol=1e-9)
    constant, _ = ridge(Moments.of(x[:, [2]], x @ w.T), w[:, [2]], STRENGTHS[0])
    assert torch.equal(constant, w[:, [2]])  # nothing can be learnt from it
