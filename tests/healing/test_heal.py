"""A cut network learns its dense model's outputs, and nothing else changes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from heal_models import assert_same_bits, data, dense, narrow, quick, state_of
from torch import nn

import actprune
from actprune.data.batch import Batch
from actprune.data.split import Part, heldout, in_parts
from actprune.healing.heal import heal
from actprune.healing.settings import HealSettings


def test_the_loss_on_samples_that_do_not_train_falls() -> None:
    healed = heal(narrow(), dense(), data(), settings=quick())
    first, *_, last = healed.curve
    assert (first.step, first.train, first.rate) == (0, None, 0.0)
    assert last.step == healed.steps == 60
    assert healed.stopped == "finished"
    assert min(x.select for x in healed.curve) < 0.5 * first.select
    with torch.no_grad():
        x = torch.randn(500, 5, generator=torch.Generator().manual_seed(9))  # seen by nobody
        aim = dense()(x).log_softmax(1)

        def divergence(model: nn.Module) -> float:
            out = model(x).log_softmax(1)
            return float((aim.exp() * (aim - out)).sum(1).mean())

        assert divergence(healed.model) < 0.5 * divergence(narrow())


def test_models_and_random_state_are_left_as_they_were() -> None:
    small, whole, source = narrow(dropout=0.5), dense(), data()
    before, after = copy.deepcopy(small), copy.deepcopy(whole)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    healed = heal(small, whole, source, settings=quick(steps=3))
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_bits(small, before)
    assert_same_bits(whole, after)
    assert all(p.grad is None for m in (small, whole, healed.model) for p in m.parameters())
    assert not any(m.training for m in healed.model.modules())
    assert not torch.is_inference_mode_enabled()


def test_seeds_alone_decide() -> None:
    def run(seed: int) -> Any:
        torch.manual_seed(seed + 100)  # what was drawn before does not matter
        torch.rand(7)
        return heal(narrow(dropout=0.3), dense(), data(), settings=quick(steps=12), seed=seed)

    a, b, c = run(0), run(0), run(1)
    assert a.curve == b.curve
    assert_same_bits(a.model, b.model)
    assert a.curve != c.curve


def test_only_the_fit_part_trains_and_the_check_part_is_never_read() -> None:
    read: set[int] = set()

    def note(batch: Batch) -> Batch:
        read.update(batch.ids.tolist())
        return batch

    source = data(300)
    heal(narrow(), dense(), source, settings=quick(steps=20), seed=4, augment=note)
    fit = set(source.ids[in_parts(source.ids, 4, Part.FIT)].tolist())
    assert read == fit  # 20 x 32 draws without replacement from about 150: each was met

    # the loss is read on the select part alone: other values in the check part change nothing
    spoilt = data(300)
    assert spoilt.labels is not None
    spoilt.inputs[0][in_parts(spoilt.ids, 4, Part.CHECK)] = float("nan")
    again = heal(narrow(), dense(), spoilt, settings=quick(steps=5), seed=4)
    assert again.curve == heal(narrow(), dense(), source, settings=quick(steps=5), seed=4).curve


def test_with_a_plan_its_held_out_third_is_never_read() -> None:
    model, source = dense(), data(600)
    seen = actprune.profile(model, source, leave_out=True, seed=5)
    plan = actprune.plan(model, seen, "units=50%", batches=source, probes=False)
    small = actprune.prune(model, plan, batches=source)
    read: set[int] = set()

    def note(batch: Batch) -> Batch:
        read.update(batch.ids.tolist())
        return batch

    heal(small, model, source, settings=quick(steps=40), plan=plan, augment=note)
    ids = source.ids
    expected = ids[in_parts(ids, 5, Part.FIT) & ~heldout(ids, 5)]
    assert read == set(expected.tolist())


def test_it_stops_early_and_keeps_the_best_weights_seen() -> None:
    # a rate so high that the first looks are the best, if any is
    settings = quick(steps=400, lr=0.5, every=2, patience=4, warmup=0.0)
    healed = heal(narrow(), dense(), data(), settings=settings)
    assert healed.stopped == "early"
    assert healed.steps < 400
    losses = {x.step: x.select for x in healed.curve}
    assert losses[healed.best_step] == min(losses.values())
    assert healed.steps - healed.best_step == 4 * 2
    assert "4 looks without a new best" in healed.reason
    # the weights that come back are those of the best look: the same run, ended there
    again = heal(
        healed.model, dense(), data(), settings=quick(steps=1, lr=1e-12)
    )  # looks before the first step
    assert again.curve[0].select == losses[healed.best_step]


def test_where_no_look_is_better_the_model_is_as_before() -> None:
    exact = dense()
    healed = heal(exact, exact, data(), settings=quick(steps=10, lr=0.1, every=5))
    assert healed.curve[0].select == 0.0
    assert healed.best_step == 0
    assert_same_bits(healed.model, exact)
    assert "no look was better than before healing" in healed.reason


def test_a_loss_that_is_not_finite_gives_back_the_model_as_it_was() -> None:
    small = narrow()
    calls = 0

    def spoil(batch: Batch) -> Batch:
        nonlocal calls
        calls += 1
        if calls == 12:
            batch.args[0][0] = float("nan")
        return batch

    healed = heal(small, dense(), data(), settings=quick(every=5), augment=spoil)
    assert (healed.stopped, healed.best_step, healed.steps) == ("diverged", 0, 11)
    assert_same_bits(healed.model, small)
    assert healed.reason == (
        "the training loss or gradient was nan in step 12, so the model is as before healing; "
        "lower lr (0.01), or heal in float32"
    )


def test_running_statistics_are_frozen_unless_asked() -> None:
    frozen = heal(narrow(), dense(), data(), settings=quick())
    before, after = state_of(narrow()), state_of(frozen.model)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(before[f"norm.{name}"], after[f"norm.{name}"])
    assert not torch.equal(before["norm.weight"], after["norm.weight"])
    updated = heal(narrow(), dense(), data(), settings=quick(batchnorm="update", patience=60))
    assert updated.best_step > 0
    assert not torch.equal(
        before["norm.running_mean"], state_of(updated.model)["norm.running_mean"]
    )


def test_weights_that_need_no_gradient_stay() -> None:
    small = narrow()
    small.a.requires_grad_(False)
    healed = heal(small, dense(), data(), settings=quick())
    model = healed.model
    assert healed.best_step > 0
    assert torch.equal(model.get_parameter("a.weight"), small.a.weight)
    assert not model.get_parameter("a.weight").requires_grad
    assert model.get_parameter("c.weight").requires_grad


def test_labels_hidden_states_and_plain_errors_can_be_matched() -> None:
    for change in (
        {"labels": 0.5},
        {"labels": 1.0},
        {"match": "mse"},
        {"hidden": ("b",)},
        {"precision": "bfloat16"},
    ):
        healed = heal(narrow(), dense(), data(), settings=quick(**change))
        assert min(x.select for x in healed.curve) < 0.7 * healed.curve[0].select, change
    values = heal(narrow(1), dense(1), data(labels=False), settings=quick())  # one output
    assert min(x.select for x in values.curve) < 0.7 * values.curve[0].select


def test_the_public_name_is_the_function() -> None:
    assert actprune.heal is heal
    assert actprune.HealSettings is HealSettings
    assert isinstance(heal(narrow(), dense(), data(), settings=quick(steps=1)), actprune.Healed)
