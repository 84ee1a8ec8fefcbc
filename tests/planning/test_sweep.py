"""The frontier: harm against cost over the whole ladder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from actprune.planning.plan import plan
from actprune.planning.problem import MEASURED, RANKED
from actprune.planning.sweep import sweep
from actprune.profiling.collect import profile


@pytest.mark.parametrize("allocate", ["uniform", "global"])
@pytest.mark.parametrize("given", [False, True])
def test_the_frontier_falls_in_cost_and_rises_in_harm(allocate, given: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3)
    ).eval()
    x = torch.randn(200, 6)
    seen = profile(model, [x])
    criterion = "residual" if given else "magnitude"
    found = sweep(
        model, seen, batches=[x] if given else None, criterion=criterion, allocate=allocate, rows=9
    )
    assert (found.measured, found.unit) == ((True, MEASURED) if given else (False, RANKED))
    assert 5 <= len(found.rows) <= 9
    first, last = found.rows[0], found.rows[-1]
    assert (first.macs, first.params, first.harm) == (1, 1, 0)
    assert last.kept == {"0": 1, "2": 1}
    costs, harms = [r.macs for r in found.rows], [r.harm for r in found.rows]
    assert costs == sorted(costs, reverse=True)
    assert harms == sorted(harms)
    assert bool(found.uniform) == (allocate == "global")
    for other in found.uniform:  # what does least harm in more room does no more harm than this
        roomier = [r for r in found.rows if r.macs >= other.macs]
        assert roomier[-1].harm <= other.harm
    middle = found.rows[len(found.rows) // 2]
    made = plan(
        model, seen, f"macs={100 * middle.macs + 1e-9}%", criterion=criterion, allocate=allocate,
        batches=[x] if given else None, probes=False,
    )  # fmt: skip
    assert made.after.macs / made.before.macs == pytest.approx(middle.macs, abs=0.08)
    if made.optimality:
        assert made.optimality.bound <= middle.harm + 1e-9
