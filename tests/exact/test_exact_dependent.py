"""Rows that depend on others, up to rounding and not beyond."""

from __future__ import annotations

import torch
from torch import Tensor

from actprune.exact.dependent import CLOSE, dependent, off, proportional

U = torch.finfo(torch.float32).eps / 2


def rounded(x: Tensor) -> Tensor:
    return x.float().double()


def all_of(rows: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arange(len(rows)), torch.ones(len(rows), dtype=torch.bool)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_distance_by_hand() -> None:
    rows = torch.tensor([[1.0, 2.0], [2.0, 4.4]], dtype=torch.float64)
    # 2 x row 0 misses the second entry by .4 of 4.4 + 4
    found = off(rows, rows.abs(), 1, torch.tensor([0]), torch.tensor([2.0], dtype=torch.float64))
    assert abs(found - 0.4 / 8.4) < 1e-15


def test_multiples_are_found_and_near_ones_are_not() -> None:
    rows = rounded(normal(40, 30))
    rows[7] = rounded(1.7 * rows[3])
    rows[9] = rounded(0.01 * rows[3])
    rows[11] = -rows[3]
    rows[20] = rows[21] * (1 + 1e-5 * normal(30))
    found = proportional(rows, rows.abs(), *_asked(rows))
    assert [(c.unit, c.sources) for c in found] == [(7, (3,)), (9, (3,))]


def test_rows_beyond_the_rank_are_combinations() -> None:
    rows = rounded(normal(30, 12))  # float64 solves: any 12 rows span the others
    found = dependent(rows, rows.abs(), *_asked(rows))
    assert len(found) == 18
    kept = set(range(30)) - {c.unit for c in found}
    for c in found:
        assert set(c.sources) <= kept
        weights = torch.tensor(c.coefficients, dtype=torch.float64)
        assert off(rows, rows.abs(), c.unit, torch.tensor(c.sources), weights) <= CLOSE * U


def test_planted_combinations_survive_their_rounding_and_others_are_left() -> None:
    rows = rounded(normal(20, 50))
    rows[4] = rounded(0.5 * rows[1] - 2.5 * rows[2])
    rows[8] = rounded(rows[0] + rows[3])
    rows[12] = 0.0
    rows[15] = rounded(rows[5] + rows[6]) * (1 + 1e-4 * normal(50))
    found = dependent(rows, rows.abs(), *_asked(rows))
    assert len(found) == 3
    assert (12, ()) in [(c.unit, c.sources) for c in found]
    assert all(c.unit in (0, 1, 2, 3, 4, 8, 12) for c in found)
    assert all(len(c.sources) <= 2 for c in found)


def test_only_the_preferred_serve_as_sources() -> None:
    rows = rounded(normal(6, 10))
    rows[1] = rows[0]
    prefer = torch.ones(6, dtype=torch.bool)
    prefer[0] = False
    for find in (proportional, dependent):
        (only,) = find(rows, rows.abs(), torch.arange(6), U, prefer)
        assert (only.unit, only.sources) == (0, (1,))


def _asked(rows: Tensor) -> tuple[Tensor, float, Tensor]:
    units, prefer = all_of(rows)
    return units, U, prefer
