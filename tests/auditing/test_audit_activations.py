"""An activation function is found, and replaced, however it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actprune.auditing.activation import Activation
from actprune.auditing.activations import at_activations, find_activations
from actprune.data.batch import Batch, as_batch
from actprune.sites.find import survey
from actprune.sites.site import Site, Slot


class Net(nn.Module):
    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


VECTORS = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def seen(model: nn.Module, x: Tensor) -> tuple[Activation, Tensor, Tensor]:
    """The only site's activation function, what goes in and what comes out."""
    model.eval()
    batch = as_batch(x, 0)
    (site,) = survey(model, batch).sites
    with torch.no_grad():
        found, reasons = find_activations(model, batch, [site])
        assert reasons == {}
        pairs: list[tuple[Tensor, Tensor]] = []

        def see(_: Activation, z: Tensor, a: Tensor) -> None:
            pairs.append((z.clone(), a.clone()))

        with at_activations(model, found.values(), see):
            model(x)
            model(x)  # passes do not add up
    assert len(pairs) == 2
    return found[site.name], *pairs[0]


FUNCTIONS: list[tuple[Any, tuple[str, ...]]] = [
    (F.relu, ("relu",)),
    (nn.ReLU(), ("relu",)),
    (nn.ReLU(inplace=True), ("relu",)),
    (Tensor.relu_, ("relu",)),
    (F.gelu, ("gelu",)),
    (nn.GELU(approximate="tanh"), ("gelu",)),
    (nn.SiLU(), ("silu",)),
    (torch.tanh, ("tanh",)),
    (nn.LeakyReLU(0.1), ("leaky_relu",)),
    (nn.PReLU(), ("prelu",)),
    (lambda z: z * torch.sigmoid(z), ("sigmoid", "mul")),
    (lambda z: F.relu(z) ** 2, ("relu", "pow")),
    (lambda z: 2 * F.relu(z), ("relu",)),
    (lambda z: z.clamp(min=0), ("clamp",)),
    (
        lambda z: 0.5 * z * (1.0 + torch.tanh(0.8 * (z + 0.044715 * torch.pow(z, 3)))),
        ("pow", "add", "tanh", "mul"),
    ),
]


@pytest.mark.parametrize(("f", "names"), FUNCTIONS)
def test_any_way_of_writing_it(f: Any, names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = Net(lambda m, x: m.b(m.f(m.a(x))), a=nn.Linear(10, 8), b=nn.Linear(8, 3))
    model.f = f
    found, z, a = seen(model, VECTORS)
    with torch.no_grad():
        expected = model.get_submodule("a")(VECTORS)
        assert torch.equal(z, expected)
        assert torch.equal(a, f(expected.clone()))
    assert set(found.names) == set(names)


def test_normalization_and_pooling_on_either_side() -> None:
    def before(m: Any, x: Tensor) -> Tensor:
        return m.b(F.relu(F.max_pool2d(m.n(m.a(x)), 2))).mean((2, 3))

    def behind(m: Any, x: Tensor) -> Tensor:
        return m.b(m.pool(m.n(m.a(x)).relu())).mean((2, 3))

    layers = {"a": nn.Conv2d(3, 5, 3), "n": nn.BatchNorm2d(5), "b": nn.Conv2d(5, 2, 1)}
    for run, width in ((before, 3), (behind, 6)):
        model = Net(run, **layers, pool=nn.MaxPool2d(2))
        found, z, a = seen(model, IMAGES)
        assert found.names == ("relu",)
        assert z.shape == (4, 5, width, width)
        assert torch.equal(a, z.relu())
        assert found.by_unit(z, 4).shape == (4, 5, width * width)
        assert torch.equal(found.as_before(found.by_unit(z, 4), z), z)


def test_tokens_and_rows_put_together() -> None:
    tokens = torch.randn(4, 6, 10)
    model = Net(
        lambda m, x: (
            m.b(F.gelu(m.a(x).view(-1, 8)).view(4, -1, 8)).mean(1)
            if len(x) == 4
            else m.b(F.gelu(m.a(x))).mean(1)
        ),
        a=nn.Linear(10, 8),
        b=nn.Linear(8, 3),
    ).eval()
    (site,) = (s for s in survey(model, as_batch(tokens, 0)).sites if s.name == "a")
    with torch.no_grad():
        found, _ = find_activations(model, as_batch(tokens, 0), [site])
        z = model.get_submodule("a")(tokens)
        assert torch.equal(found["a"].by_unit(z.view(-1, 8), 4), z.transpose(1, 2))


def gated(run: Callable[..., Tensor], **layers: nn.Module) -> tuple[nn.Module, Site]:
    torch.manual_seed(0)
    model = Net(run, **layers).eval()
    names = [n for n in layers if n != "down"]
    offsets = (0, 0) if len(names) == 2 else (0, 8)
    makers = names if len(names) == 2 else names * 2
    slots = [
        Slot(module=m, role="producer", offset=o) for m, o in zip(makers, offsets, strict=True)
    ]
    slots.append(Slot(module="down", role="consumer"))
    return model, Site(name=names[0], kind="gated", units=8, slots=tuple(slots))


GATED = [
    gated(
        lambda m, x: m.down(m.up(x) * F.silu(m.gate(x))),
        up=nn.Linear(10, 8), gate=nn.Linear(10, 8), down=nn.Linear(8, 3),
    ),
    gated(
        lambda m, x: m.down((lambda g, u: F.silu(u) * g)(*m.both(x).chunk(2, -1))),
        both=nn.Linear(10, 16), down=nn.Linear(8, 3),
    ),
    gated(
        lambda m, x: (lambda y: m.down(F.silu(y[..., :8]) * y[..., 8:]))(m.both(x)),
        both=nn.Linear(10, 16), down=nn.Linear(8, 3),
    ),
]  # fmt: skip


@pytest.mark.parametrize("which", range(3))
def test_the_gate_of_a_gated_site(which: int) -> None:
    model, site = GATED[which]
    assert any(s.name == site.name for s in survey(model, as_batch(VECTORS, 0)).sites)
    pairs = []

    def see(_: Activation, z: Tensor, a: Tensor) -> Tensor:
        pairs.append((z, a))
        return torch.zeros_like(a)

    with torch.no_grad():
        found, reasons = find_activations(model, as_batch(VECTORS, 0), [site])
        assert reasons == {}
        with at_activations(model, found.values(), see):
            silenced = model(VECTORS)
        down = model.get_submodule("down")
        assert isinstance(down, nn.Linear)
        assert torch.equal(silenced, down.bias.expand(4, 3))  # a gate of 0 shuts every unit
        ((z, a),) = pairs
        whole = model.get_submodule("gate" if which == 0 else "both")(VECTORS)
        assert torch.equal(z, whole if which == 0 else whole.chunk(2, -1)[0 if which == 2 else 1])
        torch.testing.assert_close(
            a, F.silu(z), rtol=1e-6, atol=0
        )  # a few roundings: other strides
    assert "the gate" in found[site.name].compared


@pytest.mark.parametrize("f", [nn.ReLU(), nn.ReLU(inplace=True), Tensor.relu_])
def test_what_is_returned_takes_the_place(f: Any) -> None:
    torch.manual_seed(0)

    def run(m: Any, x: Tensor) -> Tensor:
        z = m.a(x)
        y = f(z)
        return m.b(z if y is z else y)  # an in-place call may be read under its old name

    model = Net(run, a=nn.Linear(10, 8), b=nn.Linear(8, 3)).eval()
    batch = as_batch(VECTORS, 0)
    (site,) = survey(model, batch).sites
    with torch.no_grad():
        plain = model(VECTORS)
        found, _ = find_activations(model, batch, [site])
        with at_activations(model, found.values(), lambda _a, z, _o: 3 * z):
            linear = model(VECTORS)
        # the same operations in the same order
        first, last = model.get_submodule("a"), model.get_submodule("b")
        assert torch.equal(linear, last(3 * first(VECTORS)))
        assert torch.equal(model(VECTORS), plain)


def test_without_an_activation_function_input_and_output_are_one() -> None:
    model = Net(lambda m, x: m.b(m.a(x)), a=nn.Linear(10, 8), b=nn.Linear(8, 3))
    found, z, a = seen(model, VECTORS)
    assert found.name == "none"
    assert torch.equal(z, a)


@pytest.mark.parametrize(
    ("between", "said"),
    [
        (lambda z: torch.special.erfinv(z.clamp(-0.9, 0.9)), "erfinv behind a is no call"),
        (lambda z: z.softmax(-1), "softmax behind a is no call"),
        (
            lambda z: torch.from_numpy(z.numpy().clip(0)),
            "no activation function was seen behind a",
        ),
        (lambda z: F.relu(z) + 0 * F.relu(z).abs().mean(), "a makes is read in several ways"),
    ],
)
def test_what_cannot_be_judged_is_said_and_never_guessed(between: Any, said: str) -> None:
    model = Net(lambda m, x: m.b(between(m.a(x))), a=nn.Linear(10, 8), b=nn.Linear(8, 3)).eval()
    site = Site(
        name="a",
        kind="linear",
        units=8,
        slots=(Slot(module="a", role="producer"), Slot(module="b", role="consumer")),
    )
    batch: Batch = as_batch(VECTORS, 0)
    with torch.no_grad():
        found, reasons = find_activations(model, batch, [site])
    assert found == {}
    assert said in reasons["a"]


def test_no_hook_is_left() -> None:
    model = Net(lambda m, x: m.b(m.a(x).relu()), a=nn.Linear(10, 8), b=nn.Linear(8, 3))
    seen(model, VECTORS)
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
