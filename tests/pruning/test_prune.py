"""Surgery: what is left is a plain smaller network that computes what the mask did."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from random_weights import seeded
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.errors import ActpruneError
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile
from actprune.pruning.masked import masked
from actprune.pruning.prune import prune
from actprune.refit.settings import Compensation
from actprune.running.hashing import model_hash


class Flattened(nn.Module):
    """Convolutions with norms, flattened into a perceptron; one consumer has no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 6, 3, stride=2, bias=False)
        self.c, self.head = nn.Linear(24, 10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.n(self.a(x)).relu()).relu()
        return self.head(self.c(x.flatten(1)).relu())


class Residual(nn.Module):
    """Two blocks that add to a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 1)
        for i in "12":
            self.add_module(f"a{i}", nn.Conv2d(4, 8, 3, padding=1))
            self.add_module(f"n{i}", nn.BatchNorm2d(8))
            self.add_module(f"b{i}", nn.Conv2d(8, 4, 3, padding=1, bias=False))
            self.add_module(f"m{i}", nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i in "12":
            a, n, b, m = (self.get_submodule(k + i) for k in "anbm")
            x = x + m(b(n(a(x)).relu()))
        return self.head(x.mean((2, 3)))


class Concat(nn.Module):
    """Three producers side by side, one normalization and one consumer for them all."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(2, n, 3, padding=1) for n in (5, 4, 6))
        self.n, self.d = nn.BatchNorm2d(15), nn.Conv2d(15, 4, 1, bias=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.a(x), self.b(x), self.c(x)], 1)
        return self.head(self.d(self.n(x).relu()).mean((2, 3)))


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(72, 20), nn.ReLU(), nn.Linear(20, 15), nn.GELU(), nn.Linear(15, 3)
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": perceptron,
    "flattened": Flattened,
    "residual": Residual,
    "concatenation": Concat,
}


def build(name: str) -> nn.Module:
    """The net called so, in float64; nothing is equal by chance."""
    return seeded(NETS[name])


def data() -> Arrays:
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(150, 2, 6, 6, generator=gen, dtype=torch.float64)
    return Arrays.of(x, labels=torch.randint(0, 3, (150,), generator=gen))


def planned(name: str, kind: str = "refit", gram: bool = False) -> tuple[nn.Module, Plan, Profile]:
    model = build(name)
    seen = profile(model, data(), gram=gram)
    settings = Compensation.model_validate({"kind": kind})
    made = plan(model, seen, "units=50%", compensation=settings, batches=data(), probes=False)
    return model, made, seen


def outputs(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(data().inputs[0])


@pytest.mark.parametrize("kind", ["none", "mean", "refit"])
@pytest.mark.parametrize("name", NETS)
def test_the_small_model_computes_what_the_masked_one_does(name: str, kind: str) -> None:
    model, made, _ = planned(name, kind)
    small = prune(model, made, batches=data())
    with masked(model, made, batches=data()) as same:
        assert same is model
        inside = outputs(model)
    assert made.removed >= 7
    # float64: the same terms of order 1 to 10 without the zeros, some hundred of them
    torch.testing.assert_close(outputs(small), inside, rtol=1e-11, atol=1e-11)
    assert (inside - outputs(model)).abs().max() > 1e-3  # and the mask does something
    assert sum(p.numel() for p in small.parameters()) == made.after.params


@pytest.mark.parametrize("kind", ["none", "mean", "refit"])
def test_a_profile_can_stand_in_for_the_data(kind: str) -> None:
    model, made, seen = planned("flattened", kind, gram=True)
    small = prune(model, made, seen)
    with masked(model, made, seen):
        # float64, as above
        torch.testing.assert_close(outputs(small), outputs(model), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", NETS)
def test_the_small_model_is_plain(name: str) -> None:
    model, made, _ = planned(name)
    small = prune(model, made, batches=data())
    assert [(n, type(m)) for n, m in small.named_modules()] == [
        (n, type(m)) for n, m in model.named_modules()
    ]
    for module in small.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in module.__dict__
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            assert tensor.is_contiguous()
        if isinstance(module, nn.Linear):
            assert (module.out_features, module.in_features) == module.weight.shape
        if isinstance(module, nn.Conv2d):
            assert (module.out_channels, module.in_channels) == module.weight.shape[:2]
        if isinstance(module, nn.BatchNorm2d):
            lengths = {
                len(t)
                for t in (module.weight, module.bias, module.running_mean, module.running_var)
                if t is not None
            }
            assert lengths == {module.num_features}
    names = {n for n, _ in small.named_parameters()}
    added = names - {n for n, _ in model.named_parameters()}
    assert all(n.endswith(".bias") for n in added)
    assert {n for n, _ in small.named_buffers()} == {n for n, _ in model.named_buffers()}
    copy.deepcopy(small)
    small.train()
    small(data().inputs[0]).sum().backward()  # and can be fine-tuned
    assert all(p.grad is not None for p in small.parameters())


def test_normalizations_lose_the_same_channels() -> None:
    model, made, _ = planned("flattened", "none")
    small = prune(model, made)
    kept = list(made.sites[0].kept)
    assert made.sites[0].site.name == "a"
    for name in ("n.weight", "n.bias", "n.running_mean", "n.running_var"):
        assert torch.equal(small.state_dict()[name], model.state_dict()[name][kept])
    assert torch.equal(small.state_dict()["a.weight"], model.state_dict()["a.weight"][kept])
    inner = model.state_dict()["b.weight"][list(made.sites[1].kept)][:, kept]
    assert torch.equal(small.state_dict()["b.weight"], inner)
    head = model.state_dict()["c.weight"].reshape(10, 6, 4)
    head = head[list(made.sites[2].kept)][:, list(made.sites[1].kept)].flatten(1)
    assert torch.equal(small.state_dict()["c.weight"], head)


def test_sites_side_by_side_lose_their_own_columns() -> None:
    model, made, _ = planned("concatenation", "none")
    small = prune(model, made)
    offsets = {"a": 0, "b": 5, "c": 9}
    columns = sorted(offsets[p.site.name] + u for p in made.sites if p.site.name in offsets
                     for u in p.kept)  # fmt: skip
    kept = {p.site.name: list(p.kept) for p in made.sites}
    rows = kept.get("d", list(range(4)))
    weight = model.state_dict()["d.weight"][rows][:, columns]
    assert torch.equal(small.state_dict()["d.weight"], weight)
    for name in ("n.weight", "n.running_var"):
        assert torch.equal(small.state_dict()[name], model.state_dict()[name][columns])


@pytest.mark.parametrize("name", NETS)
def test_the_model_given_is_left_bit_for_bit(name: str) -> None:
    model, made, _ = planned(name)
    model.train()
    before, places = model_hash(model), [p.data_ptr() for p in model.parameters()]
    prune(model, made, batches=data())
    with masked(model, made, batches=data()):
        assert model_hash(model) == before
    assert model_hash(model) == before
    assert [p.data_ptr() for p in model.parameters()] == places
    assert model.training
    assert not any(m._forward_hooks or "forward" in m.__dict__ for m in model.modules())


def test_in_place_changes_the_model_itself() -> None:
    model, made, _ = planned("perceptron")
    away = prune(model, made, batches=data())
    here = prune(model, made, batches=data(), in_place=True)
    assert here is model
    assert model_hash(here) == model_hash(away)


@pytest.mark.parametrize("frozen", [("a.weight",), ("a.weight", "b.weight", "c.bias")])
def test_what_learns_and_what_is_frozen_stays_so(frozen: tuple[str, ...]) -> None:
    model, made, _ = planned("flattened")
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    small = prune(model, made, batches=data())
    for name, p in small.named_parameters():
        if name in dict(model.named_parameters()):
            assert p.requires_grad == (name not in frozen), name
    # a new bias learns where its layer does
    assert small.get_parameter("b.bias").requires_grad == ("b.weight" not in frozen)


def test_the_mask_is_lifted_even_by_an_error() -> None:
    model, made, _ = planned("perceptron")
    before = outputs(model)
    with pytest.raises(ZeroDivisionError), masked(model, made, batches=data()):
        raise ZeroDivisionError
    assert torch.equal(outputs(model), before)


def test_half_precision_and_dtypes_are_kept() -> None:
    model = build("perceptron").to(torch.bfloat16)
    x = data().inputs[0].to(torch.bfloat16)
    seen = profile(model, [x])
    made = plan(model, seen, "units=50%", batches=[x], probes=False)
    small = prune(model, made, batches=[x])
    assert {p.dtype for p in small.parameters()} == {torch.bfloat16}
    assert small(x).shape == (150, 3)


def test_tied_layers_elsewhere_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight
            self.c, self.d = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.d(self.c(self.b(self.a(x).relu())).relu())

    model, x = Tied().eval(), torch.randn(50, 4)
    seen = profile(model, [x])
    assert [s.site.name for s in seen.sites] == ["c"]
    made = plan(model, seen, "units=50%", criterion="rare", compensation=Compensation(kind="none"))
    small = prune(model, made)
    assert small.get_parameter("a.weight") is small.get_parameter("b.weight")


def test_what_does_not_belong_together_is_refused() -> None:
    model, made, seen = planned("perceptron", gram=True)
    other = build("perceptron")
    with torch.no_grad():
        next(other.parameters()).mul_(2)
    message = (
        "The plan is for another model (Sequential, other weights or shapes); plan again for "
        "this one."
    )
    for attempt in (prune, lambda *a, **k: masked(*a, **k).__enter__()):
        with pytest.raises(ActpruneError) as e:
            attempt(other, made, batches=data())
        assert str(e.value) == message
    with pytest.raises(ActpruneError) as e:
        prune(model, made)
    assert str(e.value) == (
        "Compensation 'refit' needs the calibration data or a profile; give one, or plan with "
        "compensate none."
    )
    with pytest.raises(ActpruneError) as e:
        prune(model, made, profile(other, data()))
    assert str(e.value) == "The profile is of another model than the plan."
    with pytest.raises(ActpruneError, match="not the data that were profiled, or in another order"):
        prune(model, made, seen, batches=Arrays.of(data().inputs[0].flip(0)))
