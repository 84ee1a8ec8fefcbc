"""What other parts of the toolkit make of coupled units."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
import torch
import torch.nn.functional as F
from coupled_models import build, data, images

from actprune.auditing.activations import find_activations
from actprune.data.batch import as_batch
from actprune.planning.criteria import CRITERIA
from actprune.planning.evidence import gather
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.profiling.live.profiler import Profiler
from actprune.running.hooks import watching_inputs
from actprune.running.state import undisturbed
from actprune.sites.find import survey


def test_an_audit_says_why_a_stream_has_no_activation_function_of_its_own() -> None:
    model, batch = build("resnet"), as_batch(images(4), 0)
    sites = survey(model, batch).sites
    with undisturbed(model):
        found, reasons = find_activations(model, batch, sites)
    assert sorted(found) == [
        "layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.1.conv1",
    ]  # fmt: skip
    assert reasons["conv1"] == "the sum that conv1 adds to is read in several ways"


def test_the_costs_of_several_readers_add_up() -> None:
    """Removing a unit without a refit costs the mean of its squared values, about their mean, times
    its squared outgoing weights, at each reader; the evidence gives the sum of these."""
    model = build("several readers")
    seen = profile(model, data())
    sites = [s.site for s in seen.sites]
    evidence = gather(model, seen, sites, list(data().batches(50)), seed=0)["a"]
    inputs: dict[str, torch.Tensor] = {}
    with torch.no_grad(), watching_inputs(
        model, ["b", "c", "d"], lambda n, x: inputs.update({n: x.clone()})
    ):  # fmt: skip
        model(images())
    expected = torch.zeros(8, dtype=torch.float64)
    for name, x in inputs.items():
        weight = model.get_submodule(name).get_parameter("weight").detach()
        expected += x.var((0, 2, 3), correction=0) * weight.square().sum((0, 2, 3))

    cov, weight_DNM = evidence.covariance(), evidence.consumer
    flat = weight_DNM.reshape(len(weight_DNM), -1)
    each = (cov.diagonal() * flat.square().sum(0)).reshape(8, -1).sum(1)

    # float64 sums over 5,400 positions, in another order
    torch.testing.assert_close(each, expected, rtol=1e-10, atol=0)


def test_every_criterion_ranks_the_units_of_a_stream() -> None:
    model = build("resnet")
    seen = profile(model, data())
    sites = [s.site for s in seen.sites]
    evidence = gather(model, seen, sites, list(data().batches(50)), seed=0)
    for rank in CRITERIA.values():
        found = rank(evidence["conv1"])
        assert sorted(found.order) == list(range(6))
        assert (found.harm >= 0).all()


def test_a_gradient_is_that_of_what_goes_through_the_readers() -> None:
    """By hand: a factor on the unit at every reader, and its gradient by central differences."""
    model = build("resnet")
    seen = profile(model, data())
    sites = [s.site for s in seen.sites]
    batches = list(data().batches(150))
    slope = gather(model, seen, sites, batches, seed=0)["conv1"].slope()
    consumers = [c.module for c in next(s for s in sites if s.name == "conv1").consumers]
    labels = data().labels
    assert labels is not None

    def losses(unit: int, factor: float) -> torch.Tensor:
        with ExitStack() as hooks, torch.no_grad():
            for name in consumers:
                hooks.callback(
                    model.get_submodule(name)
                    .register_forward_pre_hook(
                        lambda _m, args: (args[0] * scale.view(1, -1, 1, 1),)
                    )
                    .remove
                )
            scale = torch.ones(6, dtype=torch.float64)
            scale[unit] = factor
            return F.cross_entropy(model(images()), labels, reduction="none")

    step = 1e-5
    for unit in range(6):
        by_hand = (losses(unit, 1 + step) - losses(unit, 1 - step)) / (2 * step)
        # central differences: an error of the order of step^2 and of rounding / step, 1e-10 each;
        # a nonlinearity may bend within the step for some sample
        assert slope[unit] == pytest.approx(float(by_hand.square().mean()), rel=1e-4)


def test_measured_curves_of_a_stream_are_made() -> None:
    model = build("resnet")
    made = plan(
        model, profile(model, data()), "units=60%", allocate="global", batches=data(), probes=False
    )
    assert {p.site.kind for p in made.sites} == {"conv", "residual"}
    assert made.removed >= 10


def test_the_norm_behind_a_reader_weighs_its_share() -> None:
    model = build("resnet")
    seen = profile(model, data())
    sites = [s.site for s in seen.sites]

    def outgoing() -> torch.Tensor:
        found = gather(model, seen, sites, [], seed=0)["layer2.0.downsample.0"].consumer
        return found.square().sum((0, 1))

    before = outgoing()
    with torch.no_grad():
        model.get_submodule("layer2.1.bn1").get_parameter("weight").mul_(2)
    # of the two tensors read, the convolution's counts four times as much, the head's as before
    torch.testing.assert_close(outgoing(), before * torch.tensor([4.0, 1.0]).double())


def test_a_forecast_of_a_cut_stream_is_made() -> None:
    model = build("resnet")
    made = plan(model, profile(model, data()), "units=80%", batches=data(), probes=False)
    assert made.forecast is not None
    assert made.forecast.low <= made.forecast.loss_delta <= made.forecast.high


def test_a_stream_is_found_although_some_of_its_layers_are_frozen() -> None:
    """torch-pruning silently skips what is frozen; the stream is found all the same."""
    model = build("resnet")
    for p in model.get_submodule("layer1").parameters():
        p.requires_grad_(False)
    found = {s.name: s for s in survey(model, as_batch(images(4), 0)).sites}
    assert len(found["conv1"].producers) == 3
    assert not any(p.requires_grad for p in model.get_submodule("layer1").parameters())


def test_a_plan_from_when_sites_had_one_consumer_is_read() -> None:
    model = build("resnet")
    made = plan(
        model, profile(model, data()), "units=60%", ignore=["conv1", "*downsample*"],
        batches=data(), probes=False,
    )  # fmt: skip
    old = json.loads(made.to_json())
    for planned in old["sites"]:
        for slot in planned["site"]["slots"]:
            norms = slot.pop("norms_after")
            del slot["tensor"]
            if slot["role"] == "consumer":
                planned["site"]["norms_after"] = norms
    assert any(p["site"]["norms_after"] for p in old["sites"])
    assert Plan.from_json(json.dumps(old)) == made


def test_a_unit_counts_alike_in_a_loop_of_the_users_own() -> None:
    model = build("several readers")
    whole = profile(model, data(), rule="positive")
    with Profiler(model, rule="positive") as watch, torch.no_grad():
        for x in images().split(64):
            model(x)
    live = watch.profile
    for name in ("a", "b"):
        one, other = whole.site(name), live.site(name)
        assert (one.positions_active.sum(0) == other.positions_active.sum(0)).all()
        assert (one.samples_active.sum(0) == other.samples_active.sum(0)).all()
        assert one.positions.sum() == other.positions.sum()
