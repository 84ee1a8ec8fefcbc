"""A plan is data: written, read, and carried out elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from actprune.data.source import Arrays
from actprune.planning.alike import alike
from actprune.planning.criteria import Evidence, Ranking, by
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.pruning.prune import prune
from actprune.refit.settings import Compensation
from actprune.running.hashing import model_hash

NET = """
import torch
from torch import nn
from actprune.data.source import Arrays


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(80, 4)
    ).eval()


def data():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(300, 1, 6, 6, generator=gen)
    return Arrays.of(x, labels=torch.randint(0, 4, (300,), generator=gen))
"""
namespace: dict = {}
exec(NET, namespace)
net, data = namespace["net"], namespace["data"]


def unlabelled() -> Arrays:
    return Arrays.of(*data().inputs)


def float_labels() -> Arrays:
    gen = torch.Generator().manual_seed(1)
    return Arrays.of(*data().inputs, labels=torch.randn(300, 4, generator=gen))


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (data, "cross_entropy (nats)"),
        (unlabelled, "KL(dense || pruned) of the outputs (nats), no labels"),
        (float_labels, "mean squared error"),
        (None, "unknown until data are given"),
    ],
)
def test_json_and_back_is_the_same_plan(source, kind: str) -> None:
    batches = None if source is None else source()
    seen = profile(net(), source() if source else data(), gram=True, leave_out=True)
    made = plan(net(), seen, ["units=50%", "params=70%"], batches=batches, keep=["0:1"])
    assert made.loss_kind == kind
    assert Plan.from_json(made.to_json()) == made
    assert json.loads(made.to_json())["schema"] == 1
    assert made.made_from == ("profile" if source is None else "batches")
    assert (made.forecast is None) == (source is None)
    if source is None:
        assert made.forecast_reason == "no data were given to plan, only the profile"
        assert made.counts_only_reason == made.forecast_reason
    else:
        assert made.forecast is not None
        assert made.forecast.low <= made.forecast.loss_delta <= made.forecast.high
        assert str(made.forecast).endswith(f"{made.forecast.high:+.4f}], 90 %")
        assert (made.counts_only is None) != (made.counts_only_reason is None)


def test_a_plan_is_carried_out_in_another_process(tmp_path: Path) -> None:
    seen = profile(net(), data())
    made = plan(net(), seen, "macs=60%", batches=data(), probes=False)
    here = prune(net(), Plan.from_json(made.to_json()), batches=data())
    (tmp_path / "plan.json").write_text(made.to_json())
    script = NET + (
        "import sys, actprune\n"
        "from actprune.running.hashing import model_hash\n"
        "torch.set_num_threads(1)\n"
        "plan = actprune.Plan.from_json(open(sys.argv[1]).read())\n"
        "small = actprune.prune(net(), plan, batches=data())\n"
        "torch.save(small(data().inputs[0]), sys.argv[2])\n"
        "print(sum(p.numel() for p in small.parameters()), model_hash(net()))\n"
    )
    out = tmp_path / "out.pt"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "plan.json"), str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    size, digest = done.stdout.split()
    assert int(size) == made.after.params == sum(p.numel() for p in here.parameters())
    assert digest == model_hash(net())
    with torch.no_grad():
        # the same float32 computation; the number of threads may change the order of sums
        torch.testing.assert_close(torch.load(out), here(data().inputs[0]), rtol=0, atol=1e-5)


def test_planning_is_repeatable_and_changes_nothing() -> None:
    model = net()
    before = model_hash(model)
    seen = profile(model, data())
    first, second = (
        plan(model, seen, "units=60%", batches=data()).model_copy(update={"seconds": 0.0})
        for _ in range(2)
    )
    assert first == second
    assert model_hash(model) == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_criterion_may_be_the_users_own() -> None:
    def last_first(e: Evidence) -> Ranking:
        return by(-torch.arange(float(e.stats.units)).numpy())

    seen = profile(net(), data())
    made = plan(net(), seen, "units=50%", criterion=last_first, compensation=Compensation())
    assert made.criterion == "last_first"
    assert [p.kept for p in made.sites] == [(0, 1, 2), (0, 1)]


def test_a_plan_alike_keeps_the_widths_and_chooses_other_units() -> None:
    model = net()
    seen = profile(model, data())
    made = plan(model, seen, "units=50%", batches=data(), probes=False)
    settings = Compensation(kind="none")
    other = alike(model, seen, made, criterion="magnitude", compensation=settings, batches=data())
    assert [len(p.kept) for p in other.sites] == [len(p.kept) for p in made.sites]
    norms = model[0].weight.flatten(1).norm(dim=1)
    assert set(other.sites[0].kept) == set(norms.topk(3).indices.tolist())
    assert (other.criterion, other.compensation, other.forecast) == ("magnitude", settings, None)
    assert Plan.from_json(other.to_json()) == other


def test_constants_of_removed_units_are_recorded() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([9.0, -9.0, 2.5, 9.0]))  # pyright: ignore
        model[0].weight[2] = 0.0  # pyright: ignore
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    made = plan(
        model, profile(model, [x]), "units=25%", drop=["0:0"], keep=["0:3"], criterion="rare"
    )
    assert made.sites[0].removed == (0, 1, 2)
    assert made.sites[0].constants == (None, 0.0, 2.5)


def test_a_plan_remembers_its_weights_but_no_file_carries_them() -> None:
    model, x = net(), data()
    made = plan(model, profile(model, x), "macs=60%", batches=x)
    read = Plan.from_json(made.to_json())
    assert made.weights
    assert read.weights is None
    at_once, again = prune(model, made, batches=x), prune(model, read, batches=x)
    for a, b in zip(at_once.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_remembered_weights_serve_no_other_cut() -> None:
    model, x = net(), data()
    made = plan(model, profile(model, x), "macs=60%", batches=x)
    other = made.model_copy(update={"compensation": Compensation(kind="mean")})
    assert made.model_copy(update={"seconds": 1.0}).weights is made.weights
    assert other.weights is None


@pytest.mark.parametrize(("cheap", "probes"), [(0, None), (0, True), (2e10, None), (2e10, False)])
def test_two_probes_are_tried_where_asked_for_or_cheap(
    cheap: float, probes: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actprune.planning.plan.CHEAP", cheap)
    model, x = net(), data()
    made = plan(model, profile(model, x), "macs=60%", batches=x, probes=probes)
    tried = probes or (probes is None and cheap > 0)
    reason = made.counts_only_reason or ""
    assert ("--probes" in reason) == (not tried)
    if not tried:
        assert made.counts_only is None
