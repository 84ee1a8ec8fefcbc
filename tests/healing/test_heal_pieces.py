"""Rates, orders and losses by hand."""

from __future__ import annotations

from math import log

import pytest
import torch
from heal_models import quick

from actprune.healing.objective import Objective, Seen, divergence, relative_error
from actprune.healing.schedule import chosen, number, rate


def test_the_rate_rises_and_falls_to_nothing() -> None:
    settings = quick(steps=100, lr=1.0, warmup=0.1)
    rates = [rate(i, settings) for i in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)  # half of the 90 steps of the cosine
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 0.001
    assert rate(0, quick(steps=1, lr=0.5, warmup=0.0)) == 0.5


def test_every_sample_is_met_once_in_each_round() -> None:
    steps = [chosen(i, 10, 4, seed=3, rank=0, ranks=1) for i in range(5)]
    stream = torch.cat(steps)
    assert sorted(stream[:10].tolist()) == sorted(stream[10:].tolist()) == list(range(10))
    assert stream[:10].tolist() != stream[10:].tolist()
    assert len(chosen(0, 3, 8, seed=3, rank=0, ranks=1)) == 8  # more than there are


def test_ranks_together_take_what_one_takes_with_the_larger_batch() -> None:
    for step in range(6):
        parts = [chosen(step, 50, 4, seed=1, rank=r, ranks=3) for r in range(3)]
        assert torch.equal(torch.cat(parts), chosen(step, 50, 12, seed=1, rank=0, ranks=1))


def test_seeds_of_keys_differ() -> None:
    seeds = {number(a, b, c) for a in range(9) for b in range(9) for c in range(9)}
    assert len(seeds) == 9**3
    assert all(0 <= s < 2**63 for s in seeds)


def test_the_divergence_by_hand() -> None:
    aim, out = torch.tensor([[2 * log(3.0), 0.0]]), torch.tensor([[0.0, 0.0]])
    # at T = 2 the softmaxes are (3/4, 1/4) and (1/2, 1/2)
    by_hand = 4 * (0.75 * log(1.5) + 0.25 * log(0.5))
    assert divergence(out, aim, 2.0).item() == pytest.approx(by_hand, rel=1e-6)
    assert divergence(aim, aim, 2.0).item() == 0.0


def test_hidden_states_and_labels_are_added_by_their_weights() -> None:
    assert relative_error(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]])).item() == 1.0
    settings = quick(match="mse", labels=0.25, hidden=("h",), hidden_weight=2.0)
    objective = Objective(match="mse", labelled="cross_entropy", settings=settings)
    small = Seen(output=torch.zeros(1, 2), hidden={"h": torch.zeros(1, 2)})
    aim = Seen(output=torch.tensor([[1.0, 1.0]]), hidden={"h": torch.ones(1, 2)})
    found = objective(small, aim, torch.tensor([1])).item()
    # mean square 1, cross-entropy of two equal logits log 2, hidden 1
    assert found == pytest.approx(0.75 * 1 + 0.25 * log(2) + 2 * 1, rel=1e-6)
