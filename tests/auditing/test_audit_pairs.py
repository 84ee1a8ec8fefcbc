"""Pairs that keep their order: the fast count is the definition."""

from __future__ import annotations

import pytest
import torch

from actprune.auditing.order import order_shares
from actprune.auditing.pairs import (
    comparable_pairs,
    kept_pairs,
    kept_pairs_by_definition,
    rank_histogram,
)


def test_kept_pairs_by_hand() -> None:
    pre = torch.tensor([[1.0, 2.0, 2.0, 3.0]])
    post = torch.tensor([[5.0, 4.0, 6.0, 6.0]])
    # (1, 2): 5 to 4 falls; (1, 2'): 5 to 6 rises; (1, 3): rises; (2, 2'): equal before;
    # (2, 3): 4 to 6 rises; (2', 3): 6 stays 6
    assert comparable_pairs(pre).tolist() == [5]
    assert kept_pairs(pre, post).tolist() == [3]
    assert kept_pairs(pre, post, gap=1.0).tolist() == [1]  # of these, only 4 to 6 rises by more
    assert order_shares(pre, post).tolist() == [3 / 5]


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 129])
@pytest.mark.parametrize("gap", [0.0, 0.5, 1.0])
def test_the_fast_count_is_the_definition(rows: int, gap: float) -> None:
    gen = torch.Generator().manual_seed(rows)
    smooth = torch.randn(5, rows, generator=gen)
    tied = torch.randint(-3, 4, (5, rows), generator=gen).float()
    cases = [(smooth, smooth.relu()), (smooth, smooth.sin()), (tied, tied**2), (tied, smooth)]
    for pre, post in (*cases, (smooth, tied), (tied, tied)):
        torch.testing.assert_close(
            kept_pairs(pre, post, gap), kept_pairs_by_definition(pre, post, gap), rtol=0, atol=0
        )
    assert torch.equal(comparable_pairs(tied), kept_pairs_by_definition(tied, tied))


def test_units_beyond_one_portion_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pre = torch.randn(9, 20, generator=torch.Generator().manual_seed(0))
    whole = kept_pairs(pre, pre.relu())
    monkeypatch.setattr("actprune.auditing.pairs.CELLS", 2 * 20 * 2)
    assert torch.equal(kept_pairs(pre, pre.relu()), whole)


def test_a_relu_loses_the_pairs_of_its_silent_rows() -> None:
    pre = torch.randn(6, 500, generator=torch.Generator().manual_seed(1))
    off = (pre <= 0).sum(1).double()
    expected = 1 - off * (off - 1) / (500 * 499)  # theory, section 6
    # one rounding of the division on either side
    torch.testing.assert_close(order_shares(pre, pre.relu()), expected, rtol=1e-15, atol=0)


def test_the_identity_keeps_all_and_the_absolute_value_half() -> None:
    pre = torch.randn(200, 400, generator=torch.Generator().manual_seed(2))
    assert order_shares(pre, pre).tolist() == [1.0] * 200
    shares = order_shares(pre, pre.abs())
    # of two numbers symmetric about 0 the sign of the larger in size decides: one half. Units are
    # independent, so the mean of 200 is off by at most four of its standard errors
    assert abs(float(shares.mean()) - 0.5) <= 4 * float(shares.std()) / 200**0.5


def test_a_unit_that_never_varies_has_no_share() -> None:
    assert order_shares(torch.ones(1, 4), torch.ones(1, 4)).isnan().all()


def test_rank_histogram_by_hand() -> None:
    pre = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    # ranks before: 1/8, 3/8, 5/8, 7/8; after: two zeros share rank 1/4, then 5/8, 7/8
    found = rank_histogram(pre, torch.tensor([[0.0, 0.0, 3.0, 4.0]]), bins=2)
    assert found.tolist() == [[0.5, 0.0], [0.0, 0.5]]
    upside_down = rank_histogram(pre, -pre, bins=2)
    assert upside_down.tolist() == [[0.0, 0.5], [0.5, 0.0]]
    silent = rank_histogram(pre, torch.zeros(1, 4), bins=2)  # all ranks are 1/2: the upper bin
    assert silent.tolist() == [[0.0, 0.5], [0.0, 0.5]]
