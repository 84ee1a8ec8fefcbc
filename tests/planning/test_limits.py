"""How few and how many units the user lets a site keep."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.planning.written import read_limits
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile


@cache
def net() -> tuple[nn.Sequential, Profile]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3)
    ).eval()
    return model, profile(model, [torch.randn(60, 6)])


def made(target: str = "params=50%", **more) -> Plan:
    model, seen = net()
    return plan(model, seen, target, criterion="magnitude", **more)


@pytest.mark.parametrize("allocate", ["uniform", "global"])
def test_limits_are_kept_and_the_other_sites_make_up_for_them(allocate: str) -> None:
    free = {p.site.name: len(p.kept) for p in made(allocate=allocate).sites}
    held = made(allocate=allocate, least={"0": "75%"}, most={"2": 5})
    kept = {p.site.name: len(p.kept) for p in held.sites}
    assert kept["0"] >= 15 > free["0"] or kept["0"] >= free["0"] >= 15
    assert kept["2"] <= 5
    assert held.after.params <= held.before.params / 2
    assert [len(p.kept) for p in made("params=100%", most={"*": 0.5}).sites] == [10, 8]
    groups = made("params=70%", least={"0": 9}, most={"2": 11}, round_to=4)
    assert [len(p.kept) % 4 for p in groups.sites] == [0, 0]
    assert len(groups.sites[0].kept) >= 9
    assert len(groups.sites[1].kept) <= 11


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"least": {"x": 1}}, "No site matches 'x' (the sites are 0, 2)."),
        ({"least": {"0": 21}}, "Site '0' (20 units): least asks for 21 units; give at most 20."),
        ({"most": {"0": 0}}, "Site '0' (20 units): most leaves 0 units; at least one must stay."),
        (
            {"least": {"0": 9}, "most": {"*": "40%"}},
            "Site '0' (20 units): least 9 and most 8 contradict each other.",
        ),
        (
            {"least": {"0": "100%"}, "drop": ["0:3"]},
            "Site '0' (20 units): least 20 contradicts drop, which leaves fewer.",
        ),
        (
            {"most": {"0": 1}, "keep": ["0:3", "0:4"]},
            "Site '0' (20 units): most 1 contradicts keep, which names more.",
        ),
        (
            {"least": {"0": 9}, "most": {"0": 11}, "round_to": 4},
            "Site '0' (20 units): no multiple of round_to (4) lies between least 9 and most 11.",
        ),
        (
            {"least": {"0": "120%"}},
            "A limit is a count of units (8) or a share of them (25%, at most 100%), got '120%'.",
        ),
    ],
)
def test_a_contradiction_is_refused(more: dict, message: str) -> None:
    with pytest.raises(ActpruneError) as e:
        made(**more)
    assert str(e.value) == message


def test_limits_are_read() -> None:
    assert read_limits(["fc1:8", "re:a:b:25%"]) == {"fc1": "8", "re:a:b": "25%"}
    for wrong in ("fc1", "fc1:", "fc1:x", ":3", "fc1:-2"):
        with pytest.raises(ActpruneError, match="A limit is written SITE:COUNT or SITE:SHARE"):
            read_limits([wrong])
    with pytest.raises(ActpruneError, match="'a' is limited twice"):
        read_limits(["a:1", "a:2"])
