"""Sums that add up, and what can be read off them."""

from __future__ import annotations

from functools import reduce
from operator import add

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from actprune.refit.moments import Folds, Moments, covariance


def data(rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=gen, dtype=torch.float64) * 2 + 1
    return x, torch.randn(rows, 3, generator=gen, dtype=torch.float64) - x[:, :3]


def assert_same(found: Moments, expected: Moments) -> None:
    assert found.rows == expected.rows
    for name in ("x_P", "xx_PP", "z_D", "xz_PD", "zz_D"):
        # float64 sums of few terms below 100, in another order
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=0, atol=1e-11
        )


def test_by_hand() -> None:
    m = Moments.of(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [10.0]]))
    assert (m.rows, m.x_P.item(), m.xx_PP.item()) == (2, 4, 10)
    assert (m.z_D.item(), m.xz_PD.item(), m.zz_D.item()) == (12, 32, 104)
    # means 2 and 6; variance (1 + 1) / 2, covariance (1 * 4 + 1 * 4) / 2
    assert (m.mean_x.item(), m.mean_z.item()) == (2, 6)
    assert (m.cov_xx.item(), m.cov_xz.item()) == (1, 4)
    # z = 2 x + 1: errs by 2 - 3 and 10 - 7
    assert m.error(torch.tensor([[2.0]]).double(), torch.tensor([1.0]).double()) == (1 + 9) / 2


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_parts_add_up_to_the_whole(sizes: list[int]) -> None:
    x, z = data(sum(sizes))
    parts = [Moments.of(a, b) for a, b in zip(x.split(sizes), z.split(sizes), strict=True)]
    added, whole = reduce(add, parts), Moments.of(x, z)
    assert added.rows == whole.rows
    for name in ("x_P", "xx_PP", "z_D", "xz_PD", "zz_D"):
        # float64 sums of at most 180 terms below 100, in another order
        torch.testing.assert_close(getattr(added, name), getattr(whole, name), rtol=0, atol=1e-9)


def test_covariances_are_those_of_the_data() -> None:
    x, z = data(50)
    m = Moments.of(x, z)
    joint = torch.cov(torch.cat([x, z], 1).T, correction=0)
    torch.testing.assert_close(m.cov_xx, joint[:4, :4], rtol=0, atol=1e-12)
    torch.testing.assert_close(m.cov_xz, joint[:4, 4:], rtol=0, atol=1e-12)
    torch.testing.assert_close(covariance(m.xx_PP, m.x_P, 50), m.cov_xx)


def test_error_is_the_mean_squared_error() -> None:
    x, z = data(50)
    gen = torch.Generator().manual_seed(1)
    w = torch.randn(3, 4, generator=gen, dtype=torch.float64)
    b = torch.randn(3, generator=gen, dtype=torch.float64)
    direct = (z - x @ w.T - b).square().sum(1).mean().item()
    assert Moments.of(x, z).error(w, b) == pytest.approx(direct, rel=1e-12)


def test_a_column_that_varies_by_rounding_alone_has_no_covariance() -> None:
    x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)).double()
    x[:, 1] = 1000 / 3  # the sums of its squares do not cancel exactly
    m = Moments.of(x, x[:, :1])
    assert not m.cov_xx[1].any()
    assert not m.cov_xx[:, 1].any()
    assert not m.cov_xz[1].any()
    assert (m.cov_xx.diagonal()[[0, 2]] > 0.9).all()
    tiny = 1e-3 * x[:, :1] + 300  # variance / square is 1e-11: small, and no rounding
    assert Moments.of(tiny, tiny).cov_xx.item() == pytest.approx(1e-6, rel=0.2)


def test_folds_keep_the_select_part_apart_where_there_is_another() -> None:
    x, z = data(5)
    folds = Folds()
    folds.add(x[:1], z[:1], selecting=True)
    assert folds.select is None
    assert folds.fit.rows == folds.pool().rows == 1
    folds.add(x[1:3], z[1:3], selecting=False)
    folds.add(x[3:], z[3:], selecting=False)
    assert folds.select is not None
    for found, rows in ((folds.fit, slice(1, 5)), (folds.select, slice(0, 1))):
        assert_same(found, Moments.of(x[rows], z[rows]))
    assert_same(folds.pool(), Moments.of(x, z))
    assert_same(folds.pool(), Moments.of(x, z))  # again
    assert folds.select is None
