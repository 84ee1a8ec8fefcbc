"""Random budgets on a network that needs no files: met, or refused with the reason."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks import budgets


def test_random_targets_are_met_and_not_by_more_than_a_group() -> None:
    asked = [t for t in islice(budgets.drawn(1), 60) if t[0] == "digits-mlp"]
    outcomes = [budgets.judged(*t)["outcome"] for t in asked]
    assert len(outcomes) > 8
    assert set(outcomes) <= {"met", "refused"}
    assert outcomes.count("met") > len(outcomes) / 2


def test_a_plan_that_costs_too_much_or_too_little_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    target = ("digits-mlp", "macs=50.00%", "uniform", 1, "none")
    counted = budgets.counted
    monkeypatch.setattr(budgets, "counted", lambda *a: counted(*a) + 0.01)
    assert budgets.judged(*target)["outcome"] == "exceeded"
    monkeypatch.setattr(budgets, "counted", lambda *_: 0.4)
    monkeypatch.setattr(budgets, "priced", lambda *_: 0.45)
    assert budgets.judged(*target)["outcome"] == "room left"
