"""Each criterion by hand, and how ties are broken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from actprune.planning.criteria import CRITERIA, Evidence, by
from actprune.refit.eliminate import eliminate


def evidence(**changes: Any) -> Evidence:
    """Four units read by two outputs."""
    stats: dict[str, Any] = {
        "site": SimpleNamespace(name="fc1"),
        "units": 4,
        "positions_active": np.array([[1, 2, 0, 5], [2, 1, 3, 0]]),  # over blocks: 3, 3, 3, 5
        "second_moment": np.array([4.0, 1.0, 2.0, 9.0]),
        "variance": np.array([1.0, 1.0, 0.0, 5.0]),
    }
    fields: dict[str, Any] = {
        "producer": torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0], [6.0, 8.0]]),
        "consumer": torch.tensor([[1.0, 2.0, 0.0, 1.0], [1.0, 0.0, 3.0, 1.0]]).double()[:, :, None],
        "covariance": lambda: torch.eye(4).double(),
        "seed": 0,
    }
    fields.update({k: v for k, v in changes.items() if k in fields})
    stats.update({k: v for k, v in changes.items() if k in stats})
    return Evidence(stats=SimpleNamespace(**stats), **fields)  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "order", "harm"),
    [
        ("rare", [1, 2, 0, 3], [3, 3, 3, 5]),  # three ties: by second moment
        ("magnitude", [2, 1, 0, 3], [5, 1, 0, 10]),
        # squared outgoing weights: 2, 4, 9, 2
        ("effect", [1, 0, 2, 3], [8, 4, 18, 18]),  # the tie by index
        ("fluctuation", [2, 0, 1, 3], [2, 4, 0, 10]),
    ],
)
def test_by_hand(name: str, order: list[int], harm: list[float]) -> None:
    found = CRITERIA[name](evidence())
    assert found.order.tolist() == order
    assert found.harm.tolist() == pytest.approx(harm)


def test_ties_go_by_the_next_key_and_then_by_the_index() -> None:
    first, second = np.array([1.0, 0.0, 1.0, 0.0]), np.array([2.0, 5.0, 1.0, 5.0])
    found = by(first, second)
    assert found.order.tolist() == [1, 3, 2, 0]
    assert found.harm.tolist() == first.tolist()


def _covariance(columns: int) -> Tensor:
    x = torch.randn(50, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cov(x.T, correction=0)


def test_residual_is_backward_elimination_and_its_harm_never_falls() -> None:
    cov = _covariance(4)
    e = evidence(covariance=lambda: cov)
    found = CRITERIA["residual"](e)
    order, costs = eliminate(cov, e.consumer.flatten(1), 4)
    assert found.order.tolist() == order.tolist()
    along = found.harm[found.order]
    assert along.tolist() == np.maximum.accumulate(costs.numpy()).tolist()


@pytest.mark.parametrize("taps", [1, 3])
def test_residual_reads_patches_and_channels(taps: int) -> None:
    gen = torch.Generator().manual_seed(1)
    w = torch.randn(2, 4, taps, generator=gen, dtype=torch.float64)
    patches, channels = _covariance(4 * taps), _covariance(4)
    by_patch = CRITERIA["residual"](evidence(consumer=w, covariance=lambda: patches))
    expected, _ = eliminate(patches, w.reshape(2, -1), 4)  # a unit's taps lie together
    assert by_patch.order.tolist() == expected.tolist()
    by_channel = CRITERIA["residual"](evidence(consumer=w, covariance=lambda: channels))
    # E||sum of taps' weights times the unit||^2: each tap is an output of its own
    stacked = torch.cat([w[:, :, t] for t in range(taps)])
    expected, costs = eliminate(channels, stacked, 4)
    assert by_channel.order.tolist() == expected.tolist()
    assert by_channel.harm[expected].tolist() == pytest.approx(
        np.maximum.accumulate(costs.numpy()).tolist()
    )


def test_random_is_a_permutation_fixed_by_the_seed_and_the_site() -> None:
    size = {"units": 50}
    first, again = (CRITERIA["random"](evidence(**size)).order for _ in range(2))
    assert sorted(first.tolist()) == list(range(50))
    assert first.tolist() == again.tolist()
    other = CRITERIA["random"](evidence(**size, seed=1)).order
    elsewhere = CRITERIA["random"](evidence(**size, site=SimpleNamespace(name="fc2"))).order
    assert first.tolist() != other.tolist()
    assert first.tolist() != elsewhere.tolist()
