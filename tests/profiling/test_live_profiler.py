from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from profile_checks import assert_same_counts
from torch import Tensor, distributed, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

import actprune
from actprune.errors import ActpruneError


class Net(nn.Module):
    """Convolution, normalization, dropout, and units with and without exact zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 5, 3)
        self.drop = nn.Dropout(0.2)
        self.fc1 = nn.Linear(20, 12)
        self.fc2 = nn.Linear(12, 3)
        self.wrap: Callable[..., Tensor] = lambda part, x: part(x)
        self.broken = False

    def features(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv1(x)).relu()
        return self.drop(self.conv2(x).relu())

    def forward(self, x: Tensor) -> Tensor:
        x = self.wrap(self.features, x) if self.training else self.features(x)
        out = self.fc2(nn.functional.gelu(self.fc1(x.flatten(1))))
        if self.broken:
            raise RuntimeError("broken")  # after all sites have been seen
        return out


def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(160, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def train(model: nn.Module, x: Tensor, steps: int = 20, size: int = 16) -> None:
    """Steps of SGD with momentum, whose dropout comes from the global random state."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for step in range(steps):
        part = x[torch.arange(step * size, (step + 1) * size) % len(x)]
        loss = nn.functional.cross_entropy(model(part), torch.arange(size) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def state(model: nn.Module) -> list[Any]:
    """Weights and buffers to the bit, modes, hooks and the random state."""
    tensors = [*model.state_dict().items()]
    hooks = (m._forward_hooks | m._forward_pre_hooks for m in model.modules())
    return [
        [(n, t.numpy().tobytes()) for n, t in tensors],
        [m.training for m in model.modules()],
        [len(h) for h in hooks],
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("with_example", [True, False])
def test_counts_are_those_of_profile(mode: Any, with_example: bool, x: Tensor) -> None:
    model = net().eval()
    expected = actprune.profile(model, x, batch_size=64, gram=True)
    before = state(model)

    example = x[:3] if with_example else None
    with actprune.Profiler(model, example=example, gram=True) as p, mode():
        for part in x.split(64):  # the last one is shorter
            model(part)

    assert state(model) == before
    assert_same_counts(p.profile, expected)
    assert {s.rule.kind for s in p.profile.sites} == {"positive", "magnitude"}
    assert p.profile.shards == expected.shards
    assert p.profile.census == expected.census
    assert p.profile.refusals == expected.refusals
    update = {"data": "live"}
    assert p.profile.identity == expected.identity.model_copy(update=update)


def test_inference_mode_may_come_and_go(x: Tensor) -> None:
    model = net().eval()
    with actprune.Profiler(model, window=1) as p:
        with torch.inference_mode():
            model(x[:64])
        model(x[64:])
    assert_same_counts(p.profile, actprune.profile(model, [x[:64], x[64:]]))


def test_inputs_by_keyword_and_labels_among_them() -> None:
    class Keywords(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

        def forward(
            self, *, a: Tensor, scale: Tensor, labels: Tensor | None = None
        ) -> dict[str, Tensor]:
            logits = self.net(a) * scale
            if labels is None:
                return {"logits": logits}
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    torch.manual_seed(0)
    model, a = Keywords().eval(), torch.randn(30, 4)
    with actprune.Profiler(model) as p:
        for part in a.split(10):
            model(a=part, scale=torch.tensor(2.0), labels=torch.arange(10) % 3)
    expected = actprune.profile(model.net, a, batch_size=10)
    for name in ("positions_active", "total"):
        mine, theirs = (getattr(q.sites[0], name) for q in (p.profile, expected))
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("options", [{}, {"every": 3, "window": 2}, {"gram": True}])
def test_a_training_is_the_same_to_the_bit(options: dict[str, Any], x: Tensor) -> None:
    alone = net()
    train(alone, x)
    expected = state(alone)

    watched = net()
    with actprune.Profiler(watched, **options) as p:
        train(watched, x)

    assert state(watched) == expected
    assert p.profile.samples == 16 * (20 if "every" not in options else 7)


def test_the_hash_is_that_of_the_weights_at_the_end_of_the_block(x: Tensor) -> None:
    model = net()
    with actprune.Profiler(model) as p:
        train(model, x, steps=1)
        early = p.profile.identity.model_hash
        train(model, x, steps=1)
    late = p.profile.identity.model_hash
    train(model, x, steps=1)
    assert early != late == p.profile.identity.model_hash
    assert actprune.profile(model, x).identity.model_hash != late


def test_activations_are_counted_as_the_loop_has_them(x: Tensor) -> None:
    model = net()
    torch.manual_seed(5)
    model.train()
    seen = []
    handle = model.fc1.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    with actprune.Profiler(model, example=x[:2]) as p:
        seen.clear()
        model(x)
    handle.remove()
    after_dropout = seen[0].reshape(len(x), 5, 4)
    counted = p.profile.site("conv2").positions_active.sum(0)
    assert counted.tolist() == (after_dropout > 0).sum((0, 2)).tolist()


def test_every_second_pass_is_counted_from_the_first_on(x: Tensor) -> None:
    model = net().eval()
    parts = x.split(16)
    with actprune.Profiler(model, every=2) as p:
        for part in parts:
            model(part)
    assert_same_counts(p.profile, actprune.profile(model, parts[::2], like=p.profile))
    assert p.profile.samples == 16 * 5


def test_passes_that_are_not_counted_have_no_hooks_on_the_layers(x: Tensor) -> None:
    model, seen = net(), []
    model.wrap = lambda part, x: seen.append(len(model.fc1._forward_pre_hooks)) or part(x)
    with actprune.Profiler(model, example=x[:2], every=3) as p:
        seen.clear()
        for part in x.split(32):
            model(part)
        with p.paused():
            model(x)
    assert seen == [1, 0, 0, 1, 0, 0]


def test_paused_passes_do_not_count(x: Tensor) -> None:
    model = net().eval()
    with actprune.Profiler(model, every=2) as p:
        model(x[:64])
        with p.paused(), p.paused():
            model(x[64:])
        model(x[:64])
        model(x[64:128])
        with p.paused():
            actprune.profile(model, x)
    assert_same_counts(p.profile, actprune.profile(model, [x[:64], x[64:128]]))


def test_only_passes_in_one_mode_count(x: Tensor) -> None:
    model = net()
    with (
        actprune.Profiler(model, training=False) as p,
        actprune.Profiler(model, training=True) as q,
    ):
        train(model, x, steps=2)
        model.eval()
        model(x[:50])
    assert (p.profile.samples, q.profile.samples) == (50, 32)


def test_two_profilers_do_not_count_each_others_search(x: Tensor) -> None:
    model = net().eval()
    with actprune.Profiler(model) as p, actprune.Profiler(model) as q:
        model(x)
    assert p.profile.samples == q.profile.samples == len(x)
    assert_same_counts(p.profile, q.profile)


def test_a_block_after_a_block_goes_on_counting(x: Tensor) -> None:
    model = net().eval()
    p = actprune.Profiler(model)
    with p:
        model(x[:64])
    with p:
        model(x[64:])
        with pytest.raises(ActpruneError, match="watching already"), p:
            pass
    assert_same_counts(p.profile, actprune.profile(model, [x[:64], x[64:]]))


@pytest.mark.parametrize("outside", [True, False])
def test_hooks_are_gone_and_what_was_counted_stays_after_an_error(outside: bool, x: Tensor) -> None:
    model = net().eval()
    hooks = state(model)[2]
    p = actprune.Profiler(model)

    def loop() -> None:
        with p:
            model(x[:64])
            if outside:
                raise KeyboardInterrupt
            model.broken = True
            model(x[64:])

    with pytest.raises((RuntimeError, KeyboardInterrupt)):
        loop()
    assert state(model)[2] == hooks
    assert p.profile.samples == 64


def test_a_pass_that_raises_is_not_counted_and_the_next_one_is(x: Tensor) -> None:
    model = net().eval()
    with actprune.Profiler(model) as p:
        model(x[:64])
        model.broken = True
        with pytest.raises(RuntimeError, match="broken"):
            model(x)
        model.broken = False
        model(x[64:])
    assert_same_counts(p.profile, actprune.profile(model, [x[:64], x[64:]]))


def test_activations_that_are_not_finite_are_refused_and_not_counted(x: Tensor) -> None:
    model = net().eval()
    with actprune.Profiler(model) as p:
        model(x[:64])
        with pytest.raises(ActpruneError, match="'conv1' produced activations that are not finite"):
            model(x[64:] * float("nan"))
        model(x[64:])
    assert_same_counts(p.profile, actprune.profile(model, [x[:64], x[64:]]))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_what_checkpointing_computes_again_does_not_count(
    reentrant: bool, whole: bool, x: Tensor
) -> None:
    def steps(model: Net, run: Callable[[Tensor], Tensor]) -> None:
        for part in x.split(40):
            run(part).square().sum().backward()

    again = partial(checkpoint, use_reentrant=reentrant, preserve_rng_state=True)

    def checkpointed() -> tuple[Net, Callable[[Tensor], Tensor]]:
        model = net()
        if whole:
            return model, lambda part: again(model, part.requires_grad_())
        model.wrap = again
        return model, lambda part: model(part.requires_grad_())

    plain, alone, watched = net(), checkpointed(), checkpointed()
    torch.manual_seed(3)
    with actprune.Profiler(plain, example=x[:2]) as expected:
        steps(plain, plain)
    torch.manual_seed(3)
    steps(*alone)
    torch.manual_seed(3)
    with actprune.Profiler(watched[0]) as p:
        steps(*watched)

    assert p.profile.samples == len(x)
    assert_same_counts(p.profile, expected.profile)
    for a, b in zip(watched[0].parameters(), alone[0].parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)  # pyright: ignore


@pytest.mark.parametrize("whole", [True, False])
def test_selective_checkpointing_does_not_keep_what_the_profiler_computes(
    whole: bool, x: Tensor
) -> None:
    def gradients(watch: bool) -> tuple[list[Tensor], actprune.Profiler | None]:
        model = nn.Sequential(
            nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)
        )
        torch.manual_seed(0)
        for p in model.parameters():
            nn.init.normal_(p)
        kept = [torch.ops.aten.addmm.default, torch.ops.aten.mm.default, torch.ops.aten.sum.default]
        contexts = partial(create_selective_checkpoint_contexts, kept)
        again = partial(checkpoint, use_reentrant=False, context_fn=contexts)
        profiler = actprune.Profiler(model, gram=True)
        if watch:
            profiler.start()
        again(model, x.flatten(1)).square().sum().backward()
        profiler.stop()
        return [p.grad for p in model.parameters() if p.grad is not None], profiler

    plain, _ = gradients(watch=False)
    watched, p = gradients(watch=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    assert p is not None
    assert p.profile.samples == len(x)


def test_a_flop_counter_counts_the_model_alone(x: Tensor) -> None:
    model = net().eval()
    flops = []
    for profiler in (None, actprune.Profiler(model, gram=True)):
        with FlopCounterMode(display=False) as counter:
            if profiler is not None:
                profiler.start()
            model(x)
            flops.append(counter.get_total_flops())
    assert profiler is not None
    profiler.stop()
    assert flops[0] == flops[1]


def test_a_model_that_calls_itself_runs_one_pass(x: Tensor) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Tensor, inner: bool = False) -> Tensor:
            return self.net(x) if inner else self(x, inner=True)

    model = Twice().eval()
    with actprune.Profiler(model) as p:
        model(x)
    assert p.profile.samples == len(x)


def test_autocast_keeps_its_gradients(x: Tensor) -> None:
    def gradients(watch: bool) -> list[Tensor | None]:
        model = net().eval()
        profiler = actprune.Profiler(model)
        if watch:
            profiler.start()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model(x).float().square().sum().backward()
        profiler.stop()
        return [p.grad for p in model.parameters()]

    for a, b in zip(gradients(watch=False), gradients(watch=True), strict=True):
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)


def test_only_the_sites_that_are_named(x: Tensor) -> None:
    model = net().eval()
    with actprune.Profiler(model, sites="conv*") as p:
        model(x)
    assert [s.site.name for s in p.profile.sites] == ["conv1", "conv2"]
    with (
        pytest.raises(ActpruneError, match="'fc9' names no site of the model; the sites are conv1"),
        actprune.Profiler(model, sites=["fc1", "fc9"]),
    ):
        model(x)


def test_thresholds_of_another_profile_make_the_two_one(x: Tensor) -> None:
    model = net().eval()
    whole = actprune.profile(model, x, batch_size=80)
    first = actprune.profile(model, x[:80])
    with actprune.Profiler(model, like=whole) as p:
        model(x[80:])
    joined = actprune.merge(actprune.profile(model, x[:80], like=whole), p.profile)
    assert first.samples == 80
    for a, b in zip(joined.sites, whole.sites, strict=True):
        assert a.rule == b.rule
        assert a.positions_active.sum(0).tolist() == b.positions_active.sum(0).tolist()


def test_a_live_profile_is_saved_and_loaded(x: Tensor, tmp_path: Any) -> None:
    model = net().eval()
    with actprune.Profiler(model, spec="mine") as p:
        model(x)
    actprune.save_profile(p.profile, tmp_path / "p.safetensors")
    loaded = actprune.load_profile(tmp_path / "p.safetensors")
    assert_same_counts(loaded, p.profile)
    assert loaded.identity == p.profile.identity


def test_a_compiled_model_is_refused_unless_it_runs_eagerly(x: Tensor) -> None:
    model = net().eval()
    expected = actprune.profile(model, x, batch_size=len(x))
    wrapper = torch.compile(model, backend="eager")
    inside = nn.Sequential(net().eval())
    inside[0].compile(backend="eager")
    for compiled in (wrapper, inside):
        with pytest.raises(ActpruneError, match="compiled code does not call hooks"):
            actprune.Profiler(compiled).start()  # pyright: ignore[reportArgumentType]
    with torch.compiler.set_stance("force_eager"), actprune.Profiler(wrapper) as p:  # pyright: ignore
        wrapper(x)
    assert_same_counts(p.profile, expected)


def test_a_wrapper_that_compiles_later_is_refused_and_leaves_no_hook_behind(x: Tensor) -> None:
    torch.compiler.reset()
    model = net().eval()
    later = torch.compile(model, backend="eager")
    p = actprune.Profiler(model)
    with p:
        for _ in range(2):
            with pytest.raises(ActpruneError, match="called from compiled code"):
                later(x)
        model(x)
    assert p.profile.samples == len(x)
    assert later(x).shape == (len(x), 3)
    assert p.profile.samples == len(x)

    early = torch.compile(net().eval(), backend="eager")
    early(x)

    def loop() -> actprune.Profile:
        with actprune.Profiler(early._orig_mod) as p:  # pyright: ignore[reportFunctionMemberAccess]
            early(x)
        return p.profile

    # whether its code calls the hook or not is up to the compiler
    with pytest.raises(ActpruneError, match=r"called from compiled code|itself and not compiled"):
        loop()


def test_copies_in_threads_are_refused() -> None:
    with pytest.raises(ActpruneError, match="several threads"):
        actprune.Profiler(nn.DataParallel(net())).start()


def test_a_model_in_distributed_data_parallel(x: Tensor) -> None:
    def trained(watch: bool) -> tuple[list[Any], actprune.Profiler]:
        model = net()
        wrapper = nn.parallel.DistributedDataParallel(model)
        profiler = actprune.Profiler(wrapper)
        if watch:
            profiler.start()
        train(wrapper, x)
        profiler.stop()
        return state(model), profiler

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)  # pyright: ignore
    try:
        (alone, _), (watched, p) = trained(watch=False), trained(watch=True)
    finally:
        distributed.destroy_process_group()
    assert watched == alone
    assert p.profile.samples == 20 * 16
    assert p.profile.site("fc1").units == 12


def test_mistakes_are_named(x: Tensor) -> None:
    model = net().eval()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"rule": "relu"}, "Firing rule must be"),
    ]
    for options, message in wrong:
        with pytest.raises(ActpruneError, match=message):
            actprune.Profiler(model, **options)
    with actprune.Profiler(model) as p:
        pass
    with pytest.raises(ActpruneError, match="No forward pass of Net has been counted"):
        _ = p.profile
    with p:
        model(x)
    with pytest.raises(ActpruneError, match="give Profiler a `window`"):
        _ = p.windows


def test_inputs_that_a_search_might_change_need_an_example() -> None:
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

        def forward(self, x: Tensor, cache: list[Tensor] | None = None) -> Tensor:
            y = self.net(x)
            if cache is not None:
                cache.append(y)
            return y

    model, x = Cached().eval(), torch.randn(5, 4)
    with (
        pytest.raises(ActpruneError, match=r"with cache of type list.*give Profiler an `example`"),
        actprune.Profiler(model),
    ):
        model(x, cache=[])
    cache: list[Tensor] = []
    with actprune.Profiler(model, example=x) as p:
        model(x, cache=cache)
        model(x[:2], cache=cache)
    assert [len(y) for y in cache] == [5, 2]
    assert p.profile.samples == 7


def test_samples_must_lie_along_the_first_axis() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

        def forward(self, weight: Tensor, x: Tensor) -> Tensor:
            return self.net(x * weight.mean())

    model = Weighted().eval()
    with (
        pytest.raises(
            ActpruneError, match=r"agree in their first axis .* got 2 and, in input 1, 5"
        ),
        actprune.Profiler(model),
    ):
        model(torch.ones(2), torch.randn(5, 4))
    with (
        pytest.raises(ActpruneError, match="saw 5 samples in a forward pass of 2"),
        actprune.Profiler(model, example=(torch.ones(3), torch.randn(3, 4), torch.zeros(3))),
    ):
        model(torch.ones(2), torch.randn(5, 4))
