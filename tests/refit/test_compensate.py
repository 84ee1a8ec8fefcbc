"""What the consumers learn to make up for a cut, on networks where the answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.split import Part, in_parts
from actprune.errors import ActpruneError
from actprune.profiling.collect import profile
from actprune.refit import sequential
from actprune.refit.independent import compensate_from_profile
from actprune.refit.independent import covariance as from_profile
from actprune.refit.masks import removed_entries, without_compensation
from actprune.refit.places import Place
from actprune.refit.sequential import compensate
from actprune.refit.settings import Compensation
from actprune.running.substitute import Affine, substituted
from actprune.sites.cut import Cut
from actprune.sites.find import survey
from actprune.sites.site import Site

# ridge x spread of the covariance's eigenvalues (below 1e5 here) shrinks what is moved
EXACT = Compensation(kind="refit", ridge=1e-14)
CLOSE = 1e-7  # float64: 1e-14 x 1e5 of weights and activations of order 10


def batches(x: Tensor, size: int = 64) -> list[Batch]:
    ids = torch.arange(len(x))
    return [
        Batch(args=(x[i],), kwargs={}, labels=None, ids=ids[i])
        for i in torch.arange(len(x)).split(size)
    ]


def sites_of(model: nn.Module, x: Tensor) -> tuple[Site, ...]:
    return survey(model, batches(x)[0]).sites


def fitted(
    model: nn.Module, x: Tensor, removed: Mapping[str, Sequence[int]], settings: Compensation
) -> Mapping[str, Affine]:
    sites = sites_of(model, x)
    return compensate(model, sites, Cut.removing(sites, removed), settings, batches(x), seed=0)


def run(model: nn.Module, x: Tensor, maps: Mapping[str, Affine]) -> Tensor:
    with torch.no_grad(), substituted(model, maps):
        return model(x)


def mlp(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double().eval()


def cnn(padding: int) -> nn.Sequential:
    """Two convolutions with biases; the second reads six channels."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 4, 3, padding=padding, bias=False)
    return nn.Sequential(first, nn.ReLU(), second).double().eval()


def redundant(layer: nn.Linear | nn.Conv2d) -> None:
    """Make unit 4 twice unit 0, and unit 5 the sum of units 1 and 2, which are never negative.

    ReLU keeps both dependencies exact.
    """
    with torch.no_grad():
        layer.weight[1:3] *= 0.1
        assert layer.bias is not None
        layer.bias[1:3] = 5.0
        layer.weight[4], layer.bias[4] = 2 * layer.weight[0], 2 * layer.bias[0]
        layer.weight[5] = layer.weight[1] + layer.weight[2]
        layer.bias[5] = layer.bias[1] + layer.bias[2]


def normal(*shape: int, seed: int = 1) -> Tensor:
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=gen, dtype=torch.float64)


@pytest.mark.parametrize("granularity", ["patch", "channel"])
@pytest.mark.parametrize("settings", [EXACT, Compensation(kind="refit")])
def test_a_linear_consumer_recovers_what_the_kept_units_can_say(
    granularity: str, settings: Compensation
) -> None:
    model, x = mlp(5, 8, 3), normal(200, 5)
    redundant(model[0])  # pyright: ignore[reportArgumentType]
    with torch.no_grad():  # and a constant unit
        model[0].weight[6], model[0].bias[6] = 0.0, 3.0  # pyright: ignore
    settings = settings.model_copy(update={"granularity": granularity})
    maps = fitted(model, x, {"0": [4, 5, 6]}, settings)
    gap = (run(model, x, maps) - model(x)).abs().max()
    # the strength chosen on data is 1e-7: relative to activations of order 10, with the spread
    # of eigenvalues (below 1e3), 1e-3 at the very most
    assert gap < (CLOSE if settings.ridge else 1e-3)
    plain = fitted(model, x, {"0": [4, 5, 6]}, Compensation(kind="none"))
    assert (run(model, x, plain) - model(x)).abs().max() > 0.5


@pytest.mark.parametrize(
    ("padding", "granularity"), [(0, "patch"), (0, "channel"), (1, "patch"), (2, "patch")]
)
def test_a_convolution_recovers_what_the_kept_channels_can_say(
    padding: int, granularity: str
) -> None:
    model, x = cnn(padding), normal(40, 2, 7, 7)
    redundant(model[0])  # pyright: ignore[reportArgumentType]
    settings = EXACT.model_copy(update={"granularity": granularity})
    maps = fitted(model, x, {"0": [4, 5]}, settings)
    assert (run(model, x, maps) - model(x)).abs().max() < CLOSE
    assert maps["2"].bias is not None  # the consumer had none
    assert not maps["2"].weight[:, 4:].any()


def test_the_refit_of_a_flattened_convolution_uses_the_right_columns() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 9, 3))
    model, x = model.double().eval(), normal(200, 2, 5, 5)
    redundant(model[0])  # pyright: ignore[reportArgumentType]
    for granularity in ("patch", "channel"):
        settings = EXACT.model_copy(update={"granularity": granularity})
        maps = fitted(model, x, {"0": [4, 5]}, settings)
        assert (run(model, x, maps) - model(x)).abs().max() < CLOSE
        zeros = (maps["3"].weight == 0).all(0).nonzero().flatten().tolist()
        assert zeros == list(range(36, 54))  # nine pixels a channel


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_mean_compensation_keeps_the_mean_output_borders_included(padding: int) -> None:
    model, x = cnn(padding), normal(50, 2, 7, 7)
    maps = fitted(model, x, {"0": [0, 1, 3]}, Compensation(kind="mean"))
    gap = (run(model, x, maps) - model(x)).mean((0, 2, 3))
    # float64 means of terms of order 10
    torch.testing.assert_close(gap, torch.zeros(4).double(), rtol=0, atol=1e-12)
    plain = fitted(model, x, {"0": [0, 1, 3]}, Compensation(kind="none"))
    assert (run(model, x, plain) - model(x)).mean((0, 2, 3)).abs().max() > 0.01


def test_mean_compensation_in_turn_sees_what_the_layers_before_it_produce() -> None:
    model, x = mlp(6, 20, 20, 4), normal(300, 6)
    cut = {"0": list(range(15)), "2": list(range(12))}
    in_turn = fitted(model, x, cut, Compensation(kind="mean"))
    alone = fitted(model, x, cut, Compensation(kind="mean", sequential=False))
    with torch.no_grad():  # the removed units as the pruned stream makes them
        stream = nn.functional.linear(model[:2](x), in_turn["2"].weight, in_turn["2"].bias).relu()
        shift = model[4].weight[:, :12] @ stream[:, :12].mean(0)  # pyright: ignore
    found = in_turn["4"].bias - model[4].bias  # pyright: ignore
    torch.testing.assert_close(found, shift, rtol=0, atol=1e-12)  # float64 sums of order 1
    other = alone["4"].bias - model[4].bias  # pyright: ignore
    assert (other - shift).abs().max() > 1e-3


@pytest.mark.parametrize("granularity", ["patch", "channel"])
def test_layer_by_layer_beats_every_layer_on_its_own(granularity: str) -> None:
    model, x = mlp(8, 30, 30, 30, 4), normal(600, 8)
    cut = {name: list(range(20)) for name in ("0", "2", "4")}
    errors = []
    for in_turn in (True, False):
        settings = Compensation.model_validate(
            {"granularity": granularity, "sequential": in_turn, "ridge": 1e-6}
        )
        out = run(model, x, fitted(model, x, cut, settings))
        errors.append((out - model(x)).square().mean().item())
    dropped = run(model, x, fitted(model, x, cut, Compensation(kind="none")))
    if granularity == "patch":  # its target is the original output
        assert errors[0] < errors[1]
    assert max(errors) < (dropped - model(x)).square().mean()


class Residual(nn.Module):
    """Three blocks that add to a stream, each with a batch normalization behind its consumer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        for i in range(3):
            self.add_module(f"a{i}", nn.Conv2d(4, 12, 3, padding=1))
            self.add_module(f"b{i}", nn.Conv2d(12, 4, 3, padding=1, bias=False))
            norm = nn.BatchNorm2d(4)
            norm.weight.data = torch.tensor([0.4, -0.7, 1.5, -2.0])  # signs and sizes matter
            norm.running_var = torch.tensor([0.5, 2.0, 1.0, 4.0])
            self.add_module(f"n{i}", norm)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(3):
            a, b, n = (self.get_submodule(f"{k}{i}") for k in "abn")
            x = x + n(b(a(x).relu()))
        return x


def test_the_target_makes_up_for_what_the_stream_has_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Residual().double().eval(), normal(60, 4, 6, 6)
    cut = {f"a{i}": list(range(8)) for i in range(3)}

    def error() -> float:
        out = run(model, x, fitted(model, x, cut, Compensation(ridge=1e-4)))
        return (out - model(x)).square().mean().item()

    corrected = error()
    with_joins = sequential.find_places

    def without_joins(*args: Any, **kwargs: Any) -> list[Place]:
        return [replace(p, joins=False) for p in with_joins(*args, **kwargs)]

    monkeypatch.setattr(sequential, "find_places", without_joins)
    assert corrected < 0.95 * error()


class TwoBlocks(nn.Module):
    """Two residual blocks; what the first one loses the second one can make up for exactly.

    Only unit 3 of `a` is alive, and linear in x; all units of `c` are always on.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.n = nn.Linear(3, 4), nn.Linear(4, 3), nn.BatchNorm1d(3)
        self.c, self.d, self.m = nn.Linear(3, 4), nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)
        for norm in (self.n, self.m):
            norm.weight.data = torch.tensor([0.5, -2.0, 3.0])
            norm.running_var = torch.tensor([0.3, 1.0, 2.0])
            norm.running_mean = torch.tensor([0.1, -0.4, 2.0])
        with torch.no_grad():
            self.a.weight[:3], self.a.bias[:3] = 0.0, -1.0
            self.a.weight[3], self.a.bias[3] = torch.tensor([1.0, -1.0, 0.5]), 30.0
            self.c.bias.fill_(500.0)

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.n(self.b(self.a(x).relu()))
        return y + self.m(self.d(self.c(y).relu()))


def test_what_one_block_loses_the_next_one_puts_back_through_its_normalization() -> None:
    model, x = TwoBlocks().double().eval(), normal(400, 3)
    maps = fitted(model, x, {"a": [3], "c": [1]}, EXACT)
    assert (run(model, x, {"b": maps["b"]}) - model(x)).abs().max() > 1.0
    # three units of `c` still span the stream. Products of sums around 500^2 leave 1e-16 x 1e6
    # of a covariance, whose condition is below 1e4, and outputs of order 100
    assert (run(model, x, maps) - model(x)).abs().max() < 1e-3


class Concat(nn.Module):
    """Two producers side by side, read by one consumer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right, self.head = nn.Linear(4, 6), nn.Linear(4, 8), nn.Linear(14, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.left(x).relu(), self.right(x).relu()], 1))


@pytest.mark.parametrize("granularity", ["patch", "channel"])
def test_two_sites_may_share_one_consumer(granularity: str) -> None:
    model, x = Concat().double().eval(), normal(300, 4)
    redundant(model.left)
    redundant(model.right)
    cut = {"left": [4, 5], "right": [4, 5]}
    sites = sites_of(model, x)
    assert [s.consumer.module for s in sites] == ["head", "head"]
    gone = removed_entries(sites, Cut.removing(sites, cut))
    assert gone["head"].tolist() == [4, 5, 10, 11]
    maps = fitted(model, x, cut, EXACT.model_copy(update={"granularity": granularity}))
    assert not maps["head"].weight[:, [4, 5, 10, 11]].any()
    assert (run(model, x, maps) - model(x)).abs().max() < CLOSE


def test_per_channel_and_per_patch_are_one_for_a_linear_consumer() -> None:
    model, x = mlp(6, 12, 4), normal(200, 6)
    both = [
        fitted(model, x, {"0": [1, 5, 6]}, Compensation.model_validate({**s, "ridge": 0.01}))["2"]
        for s in ({"granularity": "patch"}, {"granularity": "channel"})
    ]
    # condition of the covariance with the ridge (below 1e4) x 1e-16
    torch.testing.assert_close(both[0].weight, both[1].weight, rtol=0, atol=1e-11)
    torch.testing.assert_close(both[0].bias, both[1].bias, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["none", "mean", "refit"])
def test_a_profile_alone_gives_what_the_data_give(kind: str) -> None:
    model, x = mlp(6, 12, 10, 4), normal(500, 6)
    settings = Compensation.model_validate({"kind": kind, "ridge": 0.01, "sequential": False})
    seen = profile(model, batches(x), gram=True)
    sites = [s.site for s in seen.sites]
    cut = Cut.removing(sites, {"0": [0, 3, 7], "2": [1, 2]})
    parts = (Part.FIT, Part.SELECT) if kind == "refit" else tuple(Part)  # means are of all samples
    inside = in_parts(torch.arange(len(x)), seen.identity.seed, *parts)
    some = [b.select(inside[b.ids]) for b in batches(x)]
    from_data = compensate(model, sites, cut, settings, some, seed=seen.identity.seed)
    alone = compensate_from_profile(model, sites, cut, settings, seen)
    assert alone.keys() == from_data.keys() == {"2", "4"}
    for name in alone:
        torch.testing.assert_close(alone[name].weight, from_data[name].weight, rtol=0, atol=1e-11)
        torch.testing.assert_close(alone[name].bias, from_data[name].bias, rtol=0, atol=1e-11)


def test_the_strength_is_chosen_from_the_profiles_folds_too() -> None:
    model, x = mlp(6, 12, 4), normal(500, 6)
    redundant(model[0])  # pyright: ignore[reportArgumentType]
    seen = profile(model, batches(x), gram=True)
    sites = [s.site for s in seen.sites]
    maps = compensate_from_profile(
        model, sites, Cut.removing(sites, {"0": [4, 5]}), Compensation(), seen
    )
    assert (run(model, x, maps) - model(x)).abs().max() < 1e-3  # strength 1e-7, as above
    inside = in_parts(torch.arange(500), 0, Part.FIT)
    with torch.no_grad():
        a = model[1](model[0](x))[inside]
    direct = torch.cov(a.T, correction=0)
    found = from_profile(seen.sites[0], Part.FIT)
    torch.testing.assert_close(found, direct, rtol=0, atol=1e-9)  # sums of 250 terms below 100


def test_what_is_missing_is_said() -> None:
    model, x = mlp(6, 12, 4), normal(100, 6)
    seen = profile(model, batches(x))
    sites = [s.site for s in seen.sites]
    cut = Cut.removing(sites, {"0": [0]})
    with pytest.raises(ActpruneError) as e:
        compensate_from_profile(model, sites, cut, Compensation(), seen)
    assert str(e.value) == (
        "Site '0': this needs Gram matrices, and the profile has none; profile with --stats gram, "
        "or give the data."
    )
    with pytest.raises(ActpruneError) as e:
        compensate(model, sites, cut, Compensation(kind="mean"), [], seed=0)
    assert str(e.value) == "Compensation 'mean' needs calibration data, got none."
    assert compensate(model, sites, cut, Compensation(kind="none"), [], seed=0).keys() == {"2"}
    assert compensate(model, sites, Cut(kept={}), Compensation(), [], seed=0) == {}


def test_the_model_is_left_as_it_was() -> None:
    model, x = Residual().train(), normal(20, 4, 6, 6).float()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fitted(model, x, {"a0": [0], "a1": [1, 2]}, Compensation())
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any("forward" in m.__dict__ for m in model.modules())


def test_without_compensation_only_the_removed_columns_change() -> None:
    model, x = cnn(1), normal(10, 2, 7, 7)
    sites = sites_of(model, x)
    maps = without_compensation(model, sites, Cut.removing(sites, {"0": [1, 4]}))
    (affine,) = maps.values()
    weight = model[2].get_parameter("weight").detach().clone()
    weight[:, [1, 4]] = 0
    assert torch.equal(affine.weight, weight)
    assert affine.bias is None


def test_a_refit_does_not_depend_on_the_batch_size() -> None:
    model, x = cnn(1), normal(40, 2, 7, 7)
    sites = sites_of(model, x)
    cut = Cut.removing(sites, {"0": [1, 4]})
    one, many = (
        compensate(model, sites, cut, Compensation(ridge=0.01), batches(x, size), seed=0)["2"]
        for size in (40, 7)
    )
    # float64 sums in another order, condition below 1e4
    torch.testing.assert_close(one.weight, many.weight, rtol=0, atol=1e-11)
