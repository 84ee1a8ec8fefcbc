"""What healing won back stands beside the verdict, which is of the model before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import actprune
from actprune.data.source import Arrays
from actprune.verifying.recovery import bare, recovery
from actprune.verifying.verify import verify


def losses(mean: float) -> np.ndarray:
    return np.full(50, mean)


def test_the_shares_by_hand() -> None:
    none = ({}, {"accuracy": 0.9}, {})
    found = recovery(losses(0.1), losses(2.1), losses(0.6), losses(0.2), none, level=0.9, seed=0)
    # 2.0 lost; the refit brings 1.5 of it back, healing 0.4
    assert (found.refit.share, found.heal.share) == (pytest.approx(0.75), pytest.approx(0.2))
    assert (found.none.share, found.reason) == (None, None)
    assert found.refit.metrics == {"accuracy": 0.9}
    assert found.measured.loss_delta == pytest.approx(0.1)
    assert (found.measured.samples, found.measured.level) == (50, 0.9)


def test_where_nothing_was_lost_there_are_no_shares() -> None:
    metrics: tuple[dict, dict, dict] = ({}, {}, {})
    found = recovery(
        losses(0.1), losses(0.1), losses(0.1), losses(0.05), metrics, level=0.9, seed=0
    )
    assert (found.refit.share, found.heal.share) == (None, None)
    assert found.reason == "the bare cut does not raise the loss, so nothing was lost"
    assert found.measured.loss_delta == pytest.approx(-0.05)


def test_the_verdict_stays_that_of_the_model_before_healing() -> None:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    gen = torch.Generator().manual_seed(0)
    x, more = torch.randn(400, 4, generator=gen), torch.randn(200, 4, generator=gen)
    with torch.no_grad():
        source = Arrays.of(x, labels=dense(x).argmax(1))
        heldout = Arrays.of(more, labels=dense(more).argmax(1))
    plan = actprune.plan(
        dense, actprune.profile(dense, source), "units=40%", batches=source, probes=False
    )
    small = actprune.prune(dense, plan, batches=source)
    healed = actprune.heal(
        small, dense, source, plan=plan, settings=actprune.HealSettings(steps=80, lr=0.02)
    ).model
    alone = verify(dense, small, plan, heldout)
    both = verify(dense, small, plan, heldout, healed=healed)
    assert alone.recovery is None
    assert (both.outcome, both.measured, both.after.loss) == (
        alone.outcome,
        alone.measured,
        alone.after.loss,
    )
    assert both.reason == alone.reason + "; all of it before healing"
    assert both.recovery is not None
    assert both.recovery.refit.loss == alone.after.loss
    assert both.recovery.refit.metrics == alone.after.metrics
    by_itself = verify(dense, healed, plan, heldout)
    assert both.recovery.heal.loss == by_itself.after.loss
    assert both.recovery.measured == by_itself.measured
    cut = verify(dense, bare(dense, small, plan), plan, heldout)
    assert both.recovery.none.loss == cut.after.loss
    shares = (both.recovery.refit.share or 0.0) + (both.recovery.heal.share or 0.0)
    lost = both.recovery.none.loss - both.before.loss
    assert shares == pytest.approx(1 - both.recovery.measured.loss_delta / lost)


def test_a_plan_without_compensation_is_its_own_bare_cut() -> None:
    dense = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    plain = actprune.Compensation(kind="none")
    plan = actprune.plan(
        dense, actprune.profile(dense, x), "units=40%", compensation=plain, batches=x, probes=False
    )
    small = actprune.prune(dense, plan)
    assert bare(dense, small, plan) is small
