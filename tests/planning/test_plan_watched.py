"""Sites that can only be watched are left out of a plan, of its targets and of its shares."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile


class Own(nn.Linear):
    """A layer whose forward may do anything."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


class Net(nn.Module):
    """A gated layer that can be watched, then a plain one that can be cut."""

    def __init__(self, *, plain: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate, self.up, self.down = Own(4, 10), nn.Linear(4, 10), nn.Linear(10, 5)
        self.norm = nn.LayerNorm(5)
        self.hidden = nn.Linear(5, 8) if plain else None
        self.head = nn.Linear(8 if plain else 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.down(F.silu(self.gate(x)) * self.up(x)))
        return self.head(x if self.hidden is None else F.relu(self.hidden(x)))


def data() -> Arrays:
    return Arrays.of(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), spec="mine")


@cache
def seen(*, plain: bool = True) -> Profile:
    return profile(Net(plain=plain), data())


def refusal(*, plain: bool = True, **options: Any) -> str:
    with pytest.raises(ActpruneError) as e:
        plan(Net(plain=plain), seen(plain=plain), "units=50%", criterion="rare", **options)
    return str(e.value)


def test_both_are_profiled() -> None:
    assert [(s.site.name, s.site.obstacle is None) for s in seen().sites] == [
        ("gate", False),
        ("hidden", True),
    ]


@pytest.mark.parametrize("target", ["units=50%", "lossless"])
def test_only_the_site_without_an_obstacle_is_planned(target: str) -> None:
    found = plan(Net(), seen(), target, criterion="rare")
    assert [p.site.name for p in found.sites] == ["hidden"]


def test_shares_of_units_are_of_those_that_can_be_cut() -> None:
    found = plan(Net(), seen(), "units=50%", criterion="rare")
    assert len(found.sites[0].kept) == 4
    assert found.targets[0].reached == 0.5


@pytest.mark.parametrize("criterion", ["magnitude", "residual"])
def test_criteria_that_read_weights_and_data_leave_watched_sites_alone(criterion: str) -> None:
    found = plan(Net(), seen(), "units=50%", criterion=criterion, batches=data())
    assert [p.site.name for p in found.sites] == ["hidden"]


def test_no_plan_where_no_site_can_be_cut() -> None:
    assert refusal(plain=False) == (
        "The sites of this model can be watched but not cut (gate: gate (Own) has a forward of its "
        "own); --explain lists them all."
    )


@pytest.mark.parametrize("names", [{"only": ["gate"]}, {"ignore": ["gate"]}])
def test_naming_a_watched_site_says_why_it_cannot_be_cut(names: dict[str, Any]) -> None:
    assert refusal(**names) == (
        "No site matches 'gate' (not prunable: gate: gate (Own) has a forward of its own)."
    )
