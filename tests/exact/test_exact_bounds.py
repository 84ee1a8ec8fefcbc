"""Bounds that no input of the box ever exceeds, and what they cannot follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.exact.bounds import enclosure, prove
from actprune.exact.box import Box
from actprune.running.hooks import watching_inputs
from actprune.sites.find import survey
from actprune.sites.site import Site


class Net(nn.Module):
    """Named layers, and a forward pass given as a function."""

    def __init__(self, run: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def batch(x: Tensor) -> Batch:
    return Batch(args=(x,), kwargs={}, labels=None, ids=torch.arange(len(x)))


def unit_box(*shape: int, low: float = 0.0, high: float = 1.0) -> Box:
    return Box(spec=f"{low}:{high}", shape=shape, low=(low,), high=(high,))


def settled(model: nn.Module) -> nn.Module:
    """Batch normalizations with statistics and weights that are not the initial ones."""
    for m in model.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for t in (m.running_mean, m.weight, m.bias):
                nn.init.normal_(t)  # pyright: ignore[reportArgumentType]
            nn.init.uniform_(m.running_var, 0.2, 2.0)  # pyright: ignore[reportArgumentType]
    return model.eval()


def perceptron(act: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 9), act(), nn.Linear(9, 8), nn.BatchNorm1d(8), act(), nn.Linear(8, 3)
    )


def plain_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, stride=2, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(5, 7), nn.LeakyReLU(0.2), nn.Linear(7, 3),
    )  # fmt: skip


def residual() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.stem(x))
        y = y + 0.5 * m.two(F.relu_(m.norm(m.one(y))))
        y -= 0.1
        return m.head(F.relu(y).mean((2, 3)) / 2)

    return Net(run, stem=nn.Conv2d(2, 6, 3, padding=1), one=nn.Conv2d(6, 4, 3, padding=1),
               norm=nn.BatchNorm2d(4), two=nn.Conv2d(4, 6, 1), head=nn.Linear(6, 3))  # fmt: skip


def concatenated() -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        both = torch.cat([F.relu(m.a(x)), F.silu(m.b(x))], 1)
        return m.c(both).tanh().flatten(1)

    return Net(run, a=nn.Conv2d(2, 4, 3), b=nn.Conv2d(2, 3, 3), c=nn.Conv2d(7, 2, 3))


VECTORS, IMAGES = (6,), (2, 8, 8)
NETS = [
    (lambda: perceptron(nn.ReLU), VECTORS),
    (lambda: perceptron(nn.GELU), VECTORS),
    (lambda: perceptron(nn.Sigmoid), VECTORS),
    (lambda: perceptron(nn.Hardswish), VECTORS),
    (lambda: perceptron(nn.ReLU6), VECTORS),
    (plain_cnn, IMAGES),
    (residual, IMAGES),
    (concatenated, IMAGES),
]


def adversaries(model: nn.Module, box: Box, sites: list[Site], count: int) -> Tensor:
    """Inputs in the box: random ones, random corners, and the corners that the sign of the
    gradient of a unit's sum says raise it or lower it most."""
    low, high = (b.float() for b in box.bounds)
    inside = low + (high - low) * torch.rand(count, *box.shape)
    corners = torch.where(torch.rand(count, *box.shape) < 0.5, low, high)
    found = [inside, corners]
    for site in sites:
        seen: list[Tensor] = []
        handle = model.get_submodule(site.producer.module).register_forward_hook(
            lambda _m, _a, out, seen=seen: seen.append(out)
        )
        x = ((low + high) / 2)[None].repeat(site.units, *(1,) * len(box.shape)).requires_grad_()
        model(x)
        handle.remove()
        per_unit = seen[0].flatten(2).sum(2) if seen[0].ndim == 4 else seen[0]
        (slope,) = torch.autograd.grad(per_unit.diagonal().sum(), x)
        found += [torch.where(slope > 0, high, low), torch.where(slope > 0, low, high)]
    return torch.cat(found).detach()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "shape"), NETS)
def test_no_input_in_the_box_leaves_the_bounds(
    make: Callable[[], nn.Module], shape: tuple[int, ...], seed: int
) -> None:
    torch.manual_seed(seed)
    model = settled(make())
    box = unit_box(*shape, low=-0.5 * (seed % 2), high=1.0)
    example = batch(torch.rand(2, *shape))
    sites = [s for s in survey(model, example).sites if s.obstacle is None]
    assert sites
    proof = prove(model, sites, example, box)
    assert proof.stopped is None
    x = adversaries(model, box, sites, 200)
    readers = {slot.module for s in sites for slot in s.consumers}

    def see(name: str, a: Tensor) -> None:
        slots = [(s, c) for s in sites for c in s.consumers if c.module == name]
        for site, slot in slots:
            axis = 1 if a.ndim == 4 else -1
            own = a.index_select(axis, slot.index(range(site.units))).transpose(0, axis)
            own = own.reshape(site.units, -1).double()
            known = proof.sites[site.name]
            # no tolerance: the bounds hold for what float32 makes of the network
            assert (own.amin(1) >= known.low).all()
            assert (own.amax(1) <= known.high).all()
            assert (own[known.never] == 0).all()
            assert known.high.isfinite().all()

    with torch.no_grad(), watching_inputs(model, readers, see):
        out = model(x)
    found = enclosure(model, batch(x))
    assert not isinstance(found, str)
    exact = model.double()(x.double())  # nor does the network in other arithmetic leave them
    for y in (out.double(), exact):
        assert ((found[0] <= y) & (y <= found[1])).all()


def test_the_bounds_of_one_layer_are_reached() -> None:
    """One Linear: sum of the positive weights plus the bias is the most that [0, 1] gives."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2)).eval()
    example = batch(torch.rand(2, 6))
    proof = prove(model, survey(model, example).sites, example, unit_box(6))
    w, b = (p.detach().double() for p in model[0].parameters())
    most = (w.clamp(min=0).sum(1) + b).clamp(min=0)
    # widened by about (6 + 2 + 8) units of 6e-8 of sums below 3
    assert (proof.sites["0"].high - most).abs().max() < 16 * 6e-8 * 3
    assert torch.equal(proof.sites["0"].never, most == 0)
    always = (w.clamp(max=0).sum(1) + b) > 1e-5
    assert torch.equal(proof.sites["0"].always, always)


def test_without_a_box_only_what_holds_for_any_input_is_proved() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2)
    ).eval()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, -1.0  # pyright: ignore
        model[2].weight[4] = -model[2].weight[4].abs()  # pyright: ignore
        model[2].bias[4] = -0.1  # pyright: ignore
    example = batch(torch.rand(2, 3))
    proof = prove(model, survey(model, example).sites, example, None)
    assert proof.sites["0"].never.nonzero().flatten().tolist() == [1]
    # its inputs are never negative, its weights and bias never positive
    assert proof.sites["2"].never.nonzero().flatten().tolist() == [4]


def test_an_operation_without_a_rule_is_named_and_proves_nothing() -> None:
    def run(m: Any, x: Tensor) -> Tensor:
        return m.two(F.relu(m.one(torch.sin(x))))

    model = Net(run, one=nn.Linear(4, 5), two=nn.Linear(5, 2)).eval()
    with torch.no_grad():
        model.one.bias.fill_(-100.0)  # pyright: ignore
    example = batch(torch.rand(2, 4))
    proof = prove(model, survey(model, example).sites, example, unit_box(4))
    assert proof.stopped == "aten.sin.default has no rule"
    assert not proof.sites["one"].never.any()
    assert enclosure(model, example) == "aten.sin.default has no rule"


def noisy(m: Any, x: Tensor) -> Tensor:
    return m.two(F.relu(m.one(x + torch.rand(4))))


def branching(m: Any, x: Tensor) -> Tensor:
    return m.two(F.relu(m.one(x if x.sum() > 0 else x * 100)))


def copying(m: Any, x: Tensor) -> Tensor:
    kept = torch.zeros(len(x), 4)
    kept[:] = x
    return m.two(F.relu(m.one(kept)))


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (noisy, "aten.rand.default draws random numbers"),
        (branching, "aten._local_scalar_dense.default depends on values"),
        (copying, "aten.copy_.default writes into a plain tensor"),
    ],
)
def test_what_hides_the_inputs_values_stops_the_proof(run: Callable[..., Any], why: str) -> None:
    one, two = nn.Linear(4, 5), nn.Linear(5, 2)
    model = Net(run, one=one, two=two).eval()
    whole = Net(lambda m, x: m.two(F.relu(m.one(x))), one=one, two=two)
    site = survey(whole, batch(torch.rand(2, 4))).sites
    proof = prove(model, site, batch(torch.rand(2, 4)), unit_box(4))
    assert proof.stopped is not None
    assert why in proof.stopped
    assert not proof.sites


def test_overwriting_part_of_a_tensor_is_seen() -> None:
    """The half that is overwritten with anything has no bounds; a path is forgotten."""

    def run(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.one(x))
        y[:, :2].sin_()
        return m.two(y)

    one, two = nn.Linear(4, 5), nn.Linear(5, 2)
    model = Net(run, one=one, two=two).eval()
    example = batch(torch.rand(2, 4))
    whole = Net(lambda m, x: m.two(F.relu(m.one(x))), one=one, two=two)
    proof = prove(model, survey(whole, example).sites, example, unit_box(4))
    known = proof.sites["one"]
    assert known.high[:2].isinf().all()
    assert known.high[2:].isfinite().all()
    assert known.path is None


def test_two_inputs_or_none_of_numbers_prove_nothing() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    sites = survey(model, batch(torch.rand(2, 4))).sites
    tokens = batch(torch.ones(2, 4, dtype=torch.int64))
    assert prove(model, sites, tokens, None).stopped == (
        "the model has other inputs than one of numbers"
    )


@pytest.mark.parametrize("silent", [True, False])
def test_a_stream_is_silent_only_where_all_that_read_it_see_nothing(silent: bool) -> None:
    """Two producers add up to a stream, read by a layer after its ReLU and by another after the
    next: a unit is proved only if it is zero at both."""

    def run(m: Any, x: Tensor) -> Tensor:
        y = F.relu(m.stem(x))
        return m.head(F.relu(y + m.two(F.relu(m.one(y)))))

    torch.manual_seed(0)
    model = Net(run, stem=nn.Linear(4, 6), one=nn.Linear(6, 5), two=nn.Linear(5, 6),
                head=nn.Linear(6, 3)).eval()  # fmt: skip
    with torch.no_grad():
        model.stem.bias[2] = -50.0  # pyright: ignore
        if silent:
            model.two.bias[2] = -50.0  # pyright: ignore
    example = batch(torch.rand(3, 4))
    (stream,) = [s for s in survey(model, example).sites if s.kind == "residual"]
    assert {c.module for c in stream.consumers} == {"one", "head"}
    proof = prove(model, [stream], example, unit_box(4))
    found = proof.sites[stream.name].never.nonzero().flatten().tolist()
    assert (2 in found) == silent
