"""Which layers are refitted, and who takes up their biases."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.data.source import Arrays
from actprune.planning.plan import plan
from actprune.profiling.collect import profile
from actprune.pruning.masked import masked
from actprune.pruning.prune import prune
from actprune.refit.places import find_places
from actprune.refit.settings import Compensation


class Block(nn.Module):
    """A residual block in between; `leak` reads `b`'s output beside its normalization."""

    def __init__(self, leak: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.a, self.n = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.b, self.m = nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.grouped = nn.Conv2d(6, 6, 1, groups=2)
        self.free, self.head = nn.Linear(6, 5, bias=False), nn.Linear(5, 3)
        self.leak = leak
        for norm in (self.n, self.m):
            norm.running_mean = torch.randn(norm.num_features)
            norm.running_var = torch.rand(norm.num_features) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        z = self.b(self.n(self.a(x)).relu())
        x = x + self.m(z) + (z if self.leak else 0)
        return self.head(self.free(self.grouped(x).relu().mean((2, 3))).relu())


def data(n: int = 96, dtype: torch.dtype = torch.float32) -> Arrays:
    x = torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    return Arrays.of(x, labels=torch.zeros(n, dtype=torch.int64), spec="noise")


def first(n: int = 8) -> Batch:
    return next(iter(data().batches(n)))


@torch.no_grad()
def test_the_layers_behind_a_cut_are_found_in_running_order() -> None:
    model = Block().eval()
    alone = find_places(model, first(), ["b"], downstream=False)
    assert [p.name for p in alone] == ["b"]
    places = {p.name: p for p in find_places(model, first(), ["b"], downstream=True)}
    assert list(places) == ["b", "grouped", "free", "head"]  # not what runs before
    assert places["b"].norm == "m"
    assert places["b"].joins
    assert places["b"].intercept
    assert not places["free"].intercept  # it has no bias and nothing behind that could take it up
    assert places["head"].intercept


@torch.no_grad()
def test_a_normalization_takes_up_no_bias_that_is_read_elsewhere() -> None:
    (place,) = find_places(Block(leak=True).eval(), first(), ["b"], downstream=False)
    assert place.norm is None
    assert not place.intercept  # costs reckon with none


@torch.no_grad()
def test_a_layer_used_twice_or_shared_is_left_as_it_is() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 4)
            self.c, self.d, self.e = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.e.weight = self.d.weight

        def forward(self, x: Tensor) -> Tensor:
            x = self.c(self.c(self.b(self.a(x).relu())).relu())
            return self.e(self.d(x).relu())

    batch = Batch(args=(torch.randn(5, 4),), kwargs={}, labels=None, ids=torch.arange(5))
    assert [p.name for p in find_places(Twice(), batch, ["b"], downstream=True)] == ["b"]


@pytest.mark.parametrize("kind", ["refit", "mean"])
def test_the_pruned_model_has_the_layers_of_the_dense_one(kind: str) -> None:
    model, train = Block().eval(), data()
    before = copy.deepcopy(model.state_dict())
    settings = Compensation.model_validate({"kind": kind})
    made = plan(
        model, profile(model, train, seed=0), "units=50%", only=["a"], criterion="magnitude",
        compensation=settings, batches=train, loss="cross_entropy", probes=False,
    )  # fmt: skip
    small = prune(model, made, batches=train)
    x = first(64).args[0]
    with torch.no_grad():
        pruned = small.eval()(x)
        with masked(model, made, batches=train):
            tried = model(x)
    # float32 through six layers of sums of at most 72 terms
    torch.testing.assert_close(pruned, tried, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    names = [name for name, _ in model.named_parameters()]
    assert [name for name, _ in small.named_parameters()] == names  # no bias came up
    assert made.after.params == sum(p.numel() for p in small.parameters())
    assert not torch.equal(small.get_buffer("m.running_mean"), model.get_buffer("m.running_mean"))


def test_refitting_what_lies_behind_makes_up_for_more() -> None:
    model, train = Block().double().eval(), data(256, torch.float64)
    x = next(iter(train.batches(256))).args[0]
    found = profile(model, train, seed=0)

    def lost(*, downstream: bool) -> float:
        settings = Compensation(downstream=downstream)
        made = plan(
            model, found, "units=40%", only=["a"], criterion="magnitude", compensation=settings,
            batches=train, loss="cross_entropy", probes=False,
        )  # fmt: skip
        with torch.no_grad(), masked(model, made, batches=train):
            changed = model(x)
        with torch.no_grad():
            return float((changed - model(x)).square().mean())

    assert lost(downstream=True) < 0.9 * lost(downstream=False)
