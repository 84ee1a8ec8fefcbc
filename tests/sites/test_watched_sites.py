"""Sites that can be watched though not cut: what counts as one, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from site_models import TOKENS, VECTORS, Model
from torch import Tensor, nn

from actprune.data.batch import as_batch
from actprune.running.hashing import model_hash
from actprune.running.hooks import watching_inputs
from actprune.running.state import undisturbed
from actprune.sites.calls import observe_calls
from actprune.sites.feeds import find_feeds, without_saved_tensors
from actprune.sites.find import Survey, survey
from actprune.sites.site import Site
from actprune.sites.watched import watched_sites

WIDE = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(3))


class Transposed(nn.Module):
    """A linear layer whose weight is [inputs, outputs], like the Conv1D of GPT-2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Block(nn.Module):
    """Attention-like mixing of tokens and a feed-forward part, each behind a normalization."""

    def __init__(self, mlp: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.v, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        weights = torch.softmax(y @ y.transpose(1, 2), -1)
        x = x + self.o(weights @ self.v(y))
        return x + self.mlp(self.norm2(x))


def gated(act: Callable[[Tensor], Tensor] = F.silu, width: int = 8) -> nn.Module:
    return Model(
        lambda m, x: m.down(act(m.gate(x)) * m.up(x)),
        gate=nn.Linear(width, 12), up=nn.Linear(width, 12), down=nn.Linear(12, width),
    )  # fmt: skip


def fused(split: Callable[[Tensor], tuple[Tensor, ...]] = lambda x: x.chunk(2, -1)) -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        gate, value = split(m.both(x))
        return m.down(F.gelu(gate) * value)

    return Model(run, both=nn.Linear(8, 24, bias=False), down=nn.Linear(12, 8))


def transposed() -> nn.Module:
    return nn.Sequential(Transposed(8, 12), nn.ReLU(inplace=True), Transposed(12, 8))


def stack(mlp: Callable[[], nn.Module], layers: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [Block(mlp()) for _ in range(layers)]
    return nn.Sequential(*blocks, nn.LayerNorm(8), nn.Linear(8, 3))


def watched(found: Survey) -> list[Site]:
    return [s for s in found.sites if s.obstacle is not None]


def slots(site: Site) -> list[tuple[str, str, int, int]]:
    return [(s.module, s.role, s.offset, s.repeat) for s in site.slots]


def proved(model: nn.Module, x: Tensor) -> list[Site]:
    batch = as_batch(x, 0)
    with undisturbed(model, grad=True):
        calls, feeds = observe_calls(model, batch), find_feeds(model, batch)
    with undisturbed(model):
        return watched_sites(model, batch, feeds, calls)


@pytest.mark.parametrize("act", [F.silu, F.gelu, F.relu, torch.sigmoid, torch.tanh, lambda x: x])
def test_a_gate_and_a_value_make_one_site_with_two_producers(act: Any) -> None:
    found = survey(stack(lambda: gated(act)), as_batch(WIDE, 0))

    assert [(s.name, s.kind, s.units) for s in found.sites] == [
        (f"{i}.mlp.gate", "gated", 12) for i in range(3)
    ]
    site = found.sites[0]
    assert slots(site) == [
        ("0.mlp.gate", "producer", 0, 1),
        ("0.mlp.up", "producer", 0, 1),
        ("0.mlp.down", "consumer", 0, 1),
    ]
    assert site.producer == site.producers[0] == site.slots[0]
    assert site.producers == site.slots[:2]
    assert site.obstacle is None
    reasons = {r.layer: r.reason for r in found.refusals}
    assert reasons["0.mlp.up"] == "it makes the units of site 0.mlp.gate together with that layer"
    layers = [f"{i}.mlp.{name}" for i in range(3) for name in ("down", "gate", "up")]
    assert sorted(found.census.layers) == layers


def test_a_fused_gate_has_both_producer_slots_in_one_layer() -> None:
    found = survey(stack(fused), as_batch(WIDE, 0))
    assert [s.name for s in found.sites] == ["0.mlp.both", "1.mlp.both", "2.mlp.both"]
    assert slots(found.sites[1]) == [
        ("1.mlp.both", "producer", 0, 1),
        ("1.mlp.both", "producer", 12, 1),
        ("1.mlp.down", "consumer", 0, 1),
    ]
    assert {s.obstacle for s in found.sites} == {None}


def test_halves_at_places_fixed_in_the_code_can_be_watched_but_not_cut() -> None:
    found = survey(stack(lambda: fused(lambda x: (x[..., :12], x[..., 12:24]))), as_batch(WIDE, 0))
    assert [(s.name, s.kind) for s in found.sites] == [(f"{i}.mlp.both", "gated") for i in range(3)]
    for site in found.sites:
        assert site.obstacle is not None
        assert site.obstacle.startswith("the model's code fixes their number (RuntimeError: ")


def test_a_layer_with_a_transposed_weight_is_watched() -> None:
    found = survey(stack(transposed), as_batch(WIDE, 0))
    assert [(s.name, s.kind, s.units) for s in found.sites] == [
        (f"{i}.mlp.0", "linear", 12) for i in range(3)
    ]
    assert found.sites[0].obstacle == "0.mlp.0 is a Transposed; only Linear is supported so far"


def test_sites_that_can_be_cut_stay_as_they_were_among_watched_ones() -> None:
    model = stack(lambda: nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 8)), layers=2)
    model.insert(1, Block(transposed()))
    found = survey(model, as_batch(WIDE, 0))
    assert [(s.name, s.kind, s.obstacle is None) for s in found.sites] == [
        ("0.mlp.0", "linear", True),
        ("1.mlp.0", "linear", False),
        ("2.mlp.0", "linear", True),
    ]
    assert sorted(found.census.layers) == ["0.mlp.0", "0.mlp.2", "2.mlp.0", "2.mlp.2"]


def test_the_survey_leaves_no_trace() -> None:
    model = stack(gated).train()
    before = model_hash(model), torch.get_rng_state().tolist()
    survey(model, as_batch(WIDE, 0))
    assert before == (model_hash(model), torch.get_rng_state().tolist())
    assert all(m.training for m in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_watching_does_not_hang_on_the_precision(dtype: torch.dtype) -> None:
    found = survey(stack(gated).to(dtype), as_batch(WIDE.to(dtype), 0))
    assert [s.name for s in found.sites] == ["0.mlp.gate", "1.mlp.gate", "2.mlp.gate"]


def test_frozen_layers_are_watched() -> None:
    found = survey(stack(gated).requires_grad_(False), as_batch(WIDE, 0))
    assert len(found.sites) == 3


def test_one_sample_is_enough() -> None:
    assert len(survey(stack(gated), as_batch(WIDE[:1], 0)).sites) == 3


def test_layers_that_share_weights_are_no_site() -> None:
    model = stack(gated)
    down, up = model.get_submodule("1.mlp.down"), model.get_submodule("0.mlp.up")
    down.weight = nn.Parameter(up.get_parameter("weight").t().contiguous())
    model.get_submodule("2.mlp.down").weight = down.weight
    assert [s.name for s in survey(model, as_batch(WIDE, 0)).sites] == ["0.mlp.gate"]


def test_a_dead_gate_is_found_all_the_same() -> None:
    model = stack(lambda: gated(F.relu))
    nn.init.constant_(model.get_submodule("1.mlp.gate").get_parameter("bias"), -1e6)
    assert len(survey(model, as_batch(WIDE, 0)).sites) == 3


def test_the_layers_of_a_transformer_encoder_are_found_outside_its_fast_path() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(10, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2)
    assert [(s.name, s.units) for s in proved(model, TOKENS)] == [
        ("layers.0.linear1", 16),
        ("layers.1.linear1", 16),
    ]


def test_tokens_in_one_axis_with_their_samples_are_a_flat_site() -> None:
    def rows(m: Any, x: Tensor) -> Tensor:
        return m.o(F.relu(m.a(x.flatten(0, 1)))).unflatten(0, x.shape[:2])

    model = Model(rows, a=nn.Linear(10, 8), o=nn.Linear(8, 4))
    (site,) = survey(model, as_batch(TOKENS, 0)).sites
    assert site.flat
    assert site.obstacle == "the first axis of what o reads is not the samples"
    assert survey(model, as_batch(TOKENS[:1], 0)).sites == ()  # the order of the rows is unknown
    assert survey(model, as_batch(TOKENS[:1].expand(2, -1, -1), 0)).sites == ()


def run_linear(through: Callable[[Any, Tensor], Tensor], **more: nn.Module) -> nn.Module:
    return Model(
        lambda m, x: m.o(through(m, m.a(x))), a=nn.Linear(10, 8), o=nn.Linear(8, 4), **more
    )


def shared() -> nn.Module:
    return Model(lambda m, x: m.o(F.silu(m.a(x)) * m.a(x)), a=nn.Linear(10, 8), o=nn.Linear(8, 4))


def experts() -> nn.Module:
    """Each token goes to the better of two experts."""

    def run(m: Any, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        best = m.router(rows).argmax(-1)
        out = torch.zeros(len(rows), 10)
        for i, expert in enumerate((m.first, m.second)):
            out[best == i] = expert(rows[best == i])
        return out.unflatten(0, x.shape[:2])

    return Model(run, router=nn.Linear(10, 2), first=gated(width=10), second=gated(width=10))


# (model, inputs)
NOT_SITES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "layer norm": (lambda: run_linear(lambda m, x: m.norm(x), norm=nn.LayerNorm(8)), VECTORS),
    "softmax": (lambda: run_linear(lambda m, x: x.softmax(-1)), TOKENS),
    "units permuted": (lambda: run_linear(lambda m, x: x[..., torch.arange(7, -1, -1)]), TOKENS),
    "units rolled": (lambda: run_linear(lambda m, x: x.roll(1, -1)), TOKENS),
    "tokens mixed": (lambda: run_linear(lambda m, x: x.cumsum(1)), TOKENS),
    "samples mixed": (lambda: run_linear(lambda m, x: x - x.mean(0)), VECTORS),
    "tokens pooled": (lambda: run_linear(lambda m, x: x.mean(1)), TOKENS),
    "a shared module": (shared, VECTORS),
    "a producer read twice": (
        lambda: Model(
            lambda m, x: (lambda h: m.o(h) + m.p(h))(F.relu(m.a(x))),
            a=nn.Linear(10, 8), o=nn.Linear(8, 4), p=nn.Linear(8, 4),
        ),
        VECTORS,
    ),
    "returned as well": (
        lambda: Model(
            lambda m, x: (lambda h: (m.o(h), h))(F.relu(m.a(x))),
            a=nn.Linear(10, 8), o=nn.Linear(8, 4),
        ),
        VECTORS,
    ),
    "a residual stream": (
        lambda: Model(
            lambda m, x: (lambda h: m.o(h + m.b(F.relu(h))))(m.a(x)),
            a=nn.Linear(10, 8), b=nn.Linear(8, 8), o=nn.Linear(8, 4),
        ),
        VECTORS,
    ),
    "a sum of two": (
        lambda: Model(
            lambda m, x: m.o(F.relu(m.a(x) + m.b(x))),
            a=nn.Linear(10, 8), b=nn.Linear(10, 8), o=nn.Linear(8, 4),
        ),
        VECTORS,
    ),
    "the value reversed": (
        lambda: Model(
            lambda m, x: m.o(F.silu(m.a(x)) * m.b(x).flip(-1)),
            a=nn.Linear(10, 8), b=nn.Linear(10, 8), o=nn.Linear(8, 4),
        ),
        VECTORS,
    ),
    "the gate along the tokens": (
        lambda: Model(
            lambda m, x: m.o(F.silu(m.a(x)) * m.b(x).cumsum(1)),
            a=nn.Linear(10, 8), b=nn.Linear(10, 8), o=nn.Linear(8, 4),
        ),
        TOKENS,
    ),
    "interleaved gates": (
        lambda: stack(lambda: fused(lambda x: (x[..., ::2], x[..., 1::2])), layers=1), WIDE,
    ),
    "the stream as a gate": (
        lambda: Model(
            lambda m, x: (lambda h: m.o(h * m.b(h)))(m.a(x)),
            a=nn.Linear(10, 8), b=nn.Linear(8, 8), o=nn.Linear(8, 4),
        ),
        VECTORS,
    ),
    "an embedding": (
        lambda: nn.Sequential(nn.Embedding(9, 8), nn.ReLU(), nn.Linear(8, 4)),
        torch.arange(8).reshape(2, 4),
    ),
    "sequence first": (
        lambda: Model(
            lambda m, x: m.o(F.relu(m.a(x.transpose(0, 1)))).transpose(0, 1),
            a=nn.Linear(10, 8), o=nn.Linear(8, 4),
        ),
        TOKENS,
    ),
    "tokens before samples in one axis": (
        lambda: Model(
            lambda m, x: m.o(F.relu(m.a(x.transpose(0, 1).flatten(0, 1)))).unflatten(0, (7, -1)),
            a=nn.Linear(10, 8), o=nn.Linear(8, 4),
        ),
        TOKENS,
    ),
    "experts": (experts, TOKENS),
    "a single unit": (
        lambda: nn.Sequential(nn.Linear(10, 1), nn.ReLU(), nn.Linear(1, 3)), VECTORS,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("build", "x"), NOT_SITES.values(), ids=NOT_SITES.keys())
def test_what_is_not_unit_by_unit_or_not_of_known_samples_is_no_site(
    build: Callable[[], nn.Module], x: Tensor
) -> None:
    torch.manual_seed(0)
    model = build()
    assert proved(model, x) == []
    assert watched(survey(model, as_batch(x, 0))) == []


def test_an_expert_is_refused_with_its_reason() -> None:
    torch.manual_seed(0)
    found = survey(experts(), as_batch(TOKENS, 0))
    reasons = {r.layer: r.reason for r in found.refusals}
    assert {reasons[n] for n in ("first.gate", "first.up")} == {
        "what first.down reads is not the rows of all samples in order, as in an expert"
    }


def test_what_a_site_shows_is_what_its_consumer_reads() -> None:
    model = stack(gated)
    (site, *_) = proved(model, WIDE)
    seen: list[Tensor] = []
    read: list[Tensor] = []
    with watching_inputs(model, [site.consumer.module], lambda _, x: seen.append(x)):
        model(WIDE)
    mlp = model.get_submodule("0.mlp")
    handle = mlp.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    model(WIDE)
    handle.remove()
    by_hand = F.silu(mlp.get_submodule("gate")(read[0])) * mlp.get_submodule("up")(read[0])
    assert torch.equal(seen[0], by_hand)


def test_a_graph_without_saved_tensors_is_whole_but_cannot_go_backward() -> None:
    layer = nn.Linear(3, 2)
    with without_saved_tensors():
        y = layer(torch.randn(4, 3)).square().sum()
    assert y.grad_fn is not None
    with pytest.raises(RuntimeError, match="not for a backward pass"):
        y.backward()
