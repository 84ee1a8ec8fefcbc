"""Each criterion by hand, and how ties are broken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from actprune.errors import ActpruneError
from actprune.planning.criteria import (
    CATALOG,
    CRITERIA,
    Evidence,
    Sizes,
    by,
    effective_number,
)
from actprune.profiling.rules import Rule
from actprune.refit.eliminate import eliminate


def evidence(**changes: Any) -> Evidence:
    """Four units read by two outputs."""
    stats: dict[str, Any] = {
        "site": SimpleNamespace(name="fc1"),
        "units": 4,
        "positions_active": np.array([[1, 2, 0, 5], [2, 1, 3, 0]]),  # over blocks: 3, 3, 3, 5
        "second_moment": np.array([4.0, 1.0, 2.0, 9.0]),
        "variance": np.array([1.0, 1.0, 0.0, 5.0]),
        "rate": np.array([3, 3, 3, 5]) / 6,
        "mean": np.array([1.5, 0.2, 1.4, 2.0]),
        "low": np.zeros(4),
        "rule": Rule(kind="positive", threshold=0.0),
    }
    fields: dict[str, Any] = {
        "producer": torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0], [6.0, 8.0]]),
        "consumer": torch.tensor([[1.0, 2.0, 0.0, 1.0], [1.0, 0.0, 3.0, 1.0]]).double()[:, :, None],
        "covariance": lambda: torch.eye(4).double(),
        "seed": 0,
        "sizes": lambda: Sizes(
            mean_abs=np.array([1.0, 4.0, 2.0, 3.0]),
            sample_norm=np.array([2.0, 1.0, 4.0, 3.0]),
            nonzero=np.array([0.9, 1.0, 0.5, 0.2]),
        ),
        "slope": lambda: np.array([4.0, 1.0, 3.0, 2.0]),
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
        # roots of rate x effect: of 4, 2, 9, 15
        ("rare_effect", [1, 0, 2, 3], [2, 2**0.5, 3, 15**0.5]),
        ("wanda", [1, 0, 2, 3], [4, 2, 3 * 2**0.5, 6]),  # sums of |w| are 2, 2, 3, 2
        ("apoz", [0, 1, 2, 3], [0.5, 0.5, 0.5, 5 / 6]),
        ("mean_abs", [1, 2, 0, 3], [1.5, 0.2, 1.4, 2.0]),
        ("minitron", [1, 0, 3, 2], [2, 1, 4, 3]),
        ("taylor", [1, 3, 2, 0], [4, 1, 3, 2]),
    ],
)
def test_by_hand(name: str, order: list[int], harm: list[float]) -> None:
    found = CRITERIA[name](evidence())
    assert found.order.tolist() == order
    assert found.harm.tolist() == pytest.approx(harm)


@pytest.mark.parametrize(
    "changes",
    [
        {"low": np.array([0.0, -0.1, 0.0, 0.0])},  # not rectified
        {"low": None},  # not known
    ],
)
def test_zeros_and_sizes_that_the_profile_does_not_hold_are_read(changes: dict) -> None:
    assert CRITERIA["apoz"](evidence(**changes)).harm.tolist() == [0.9, 1.0, 0.5, 0.2]
    assert CRITERIA["mean_abs"](evidence(**changes)).harm.tolist() == [1, 4, 2, 3]


def test_a_threshold_counts_other_things_than_zeros() -> None:
    counted = Rule(kind="magnitude", threshold=0.5)
    assert CRITERIA["apoz"](evidence(rule=counted)).harm.tolist() == [0.9, 1.0, 0.5, 0.2]


def test_no_two_criteria_are_one() -> None:
    e = evidence(low=None)
    harms = {name: tuple(rank(e).harm.tolist()) for name, rank in CRITERIA.items()}
    assert len(set(harms.values())) == len(harms) == len(CATALOG)


@pytest.mark.parametrize(
    ("scores", "number"),
    [
        ([1.0, 1.0, 1.0, 1.0], 4),
        ([0.0, 5.0, 0.0], 1),
        ([0.0, 0.0], 2),  # nothing says which may go
        ([3.0, -1.0], 1),  # 16 / 10
        ([2.0, 2.0, 1.0], 2),  # 25 / 9
        ([1e200, 1e200], 2),
        ([0.1] * 49, 49),  # rounding must not take one away
    ],
)
def test_the_effective_number_by_hand(scores: list[float], number: int) -> None:
    assert effective_number(np.array(scores)) == number


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [[1.0]]])
def test_scores_without_a_number_are_refused(scores: list) -> None:
    with pytest.raises(ActpruneError, match=r"^Scores must be a vector of at least one finite"):
        effective_number(np.array(scores))


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
