"""Gated MLPs, in two layers or in the halves of one, on the whole way from survey to saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actprune.data.batch import as_batch
from actprune.data.source import Arrays
from actprune.planning.criteria import CRITERIA
from actprune.planning.evidence import gather
from actprune.planning.plan import plan
from actprune.planning.result import Plan
from actprune.profiling.collect import profile
from actprune.profiling.result import Profile
from actprune.pruning.masked import masked
from actprune.pruning.prune import prune
from actprune.pruning.saved import rebuild, save_pruned
from actprune.refit import sequential
from actprune.refit.settings import Compensation
from actprune.sites.cut import Cut
from actprune.sites.find import survey

WIDTH, HIDDEN, TOKENS, WORDS = 8, 14, 5, 11


class SwiGlu(nn.Module):
    """down(silu(gate(x)) * up(x)), as LLaMA has it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(WIDTH, HIDDEN, bias=False) for _ in range(2))
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Fused(nn.Module):
    """The same with GELU, gate and value in one layer with a bias, as in Phi-3."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.down = nn.Linear(WIDTH, 2 * HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.both(x).chunk(2, -1)
        return self.down(F.gelu(gate) * up)


class Decoder(nn.Module):
    """Words [S, T] to logits [S, T, WORDS]; causal attention and MLPs add to a stream, one after
    the other or, `parallel`, in one sum. The head is the embedding."""

    def __init__(self, mlp: Callable[[], nn.Module], *, parallel: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.words.weight
        self.q, self.k, self.v, self.o = (
            nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3)) for _ in range(4)
        )
        self.mlp = nn.ModuleList(mlp() for _ in range(3))
        self.parallel = parallel

    def attend(self, i: int, x: Tensor) -> Tensor:
        q, k, v = (layers[i](x)[:, None] for layers in (self.q, self.k, self.v))
        return self.o[i](F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0])

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        for i, mlp in enumerate(self.mlp):
            y = F.rms_norm(x, (WIDTH,))
            if self.parallel:
                x = mlp(y) + self.attend(i, y) + x
            else:
                x = x + self.attend(i, y)
                x = x + mlp(F.rms_norm(x, (WIDTH,)))
        return self.head(F.rms_norm(x, (WIDTH,)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "two layers": lambda: Decoder(SwiGlu),
    "halves of one": lambda: Decoder(Fused),
    "parallel": lambda: Decoder(SwiGlu, parallel=True),
}


@cache
def build(name: str) -> nn.Module:
    return NETS[name]().double().eval()


@cache
def words() -> Tensor:
    return torch.randint(0, WORDS, (150, TOKENS + 1), generator=torch.Generator().manual_seed(1))


def data() -> Arrays:
    return Arrays.of(words()[:, :-1], labels=words()[:, 1:])


@cache
def seen(name: str) -> Profile:
    return profile(build(name), data())


def planned(name: str, kind: str, target: str = "units=60%", **options: Any) -> Plan:
    settings = Compensation.model_validate({"kind": kind})
    return plan(
        build(name), seen(name), target, compensation=settings, batches=data(), probes=False,
        **options,
    )  # fmt: skip


@torch.no_grad()
def outputs(model: nn.Module) -> Tensor:
    return model(words()[:, :-1])


def check_the_cut(name: str, made: Plan) -> None:
    model = build(name)
    assert all(s.site.kind == "gated" for s in made.sites)
    small = prune(model, made, batches=data())
    with masked(model, made, batches=data()) as same:
        inside = outputs(same)
    # float64: the same terms of order 1 without the zeros, some tens of them in a sum
    torch.testing.assert_close(outputs(small), inside, rtol=1e-11, atol=1e-11)
    assert (inside - outputs(model)).abs().max() > 1e-3
    assert sum(p.numel() for p in small.parameters()) == made.after.params
    census = survey(small, as_batch(words()[:2, :-1], 0)).census
    assert census.macs == made.after.macs
    assert small.get_parameter("head.weight") is small.get_parameter("words.weight")
    assert torch.equal(small.get_parameter("head.weight"), model.get_parameter("head.weight"))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("kind", ["none", "mean", "refit"])
def test_the_small_model_computes_what_the_masked_one_does(name: str, kind: str) -> None:
    made = planned(name, kind)
    assert [len(p.kept) for p in made.sites] == [8, 8, 8]
    check_the_cut(name, made)


@pytest.mark.parametrize("name", ["two layers", "halves of one"])
def test_global_allocation_meets_a_budget(name: str) -> None:
    made = planned(name, "refit", "macs=75%", allocate="global")
    assert made.after.macs <= 0.75 * made.before.macs
    check_the_cut(name, made)


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_every_criterion_ranks_gated_units(criterion: str) -> None:
    made = planned("halves of one", "none", criterion=criterion)
    assert [len(p.kept) for p in made.sites] == [8, 8, 8]


@pytest.mark.parametrize("name", ["two layers", "halves of one"])
def test_magnitude_is_that_of_gate_and_value_together(name: str) -> None:
    model = build(name)
    sites = [s.site for s in seen(name).sites]
    found = CRITERIA["magnitude"](gather(model, seen(name), sites, [], seed=0)[sites[0].name])
    if name == "two layers":
        makers = [model.get_parameter(f"mlp.0.{n}.weight") for n in ("gate", "up")]
    else:
        makers = list(model.get_parameter("mlp.0.both.weight").split(HIDDEN))
    squares = sum(w.detach().square().sum(1) for w in makers)
    assert isinstance(squares, Tensor)
    np.testing.assert_allclose(found.harm, squares.sqrt().numpy(), rtol=1e-12)  # rounding


@pytest.mark.parametrize("name", NETS)
def test_a_refit_comes_closer_than_none(name: str) -> None:
    gaps = {
        kind: float(
            (outputs(prune(build(name), planned(name, kind), batches=data()))
             - outputs(build(name))).square().mean()
        )
        for kind in ("none", "refit")
    }  # fmt: skip
    assert gaps["refit"] < gaps["none"]


@pytest.mark.parametrize("name", ["two layers", "halves of one"])
def test_one_pass_over_all_layers_refits_as_passes_of_their_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batches = build(name), list(data().batches(50))
    sites = [s.site for s in seen(name).sites]
    cut = Cut.removing(sites, {s.name: range(6) for s in sites})

    def fitted() -> dict[str, Any]:
        settings = Compensation(ridge=1e-3)
        return dict(sequential.compensate(model, sites, cut, settings, batches, seed=0))

    def fail(*_: Any) -> None:
        raise AssertionError("not in one pass")

    with monkeypatch.context() as m:
        m.setattr(sequential, "_one_by_one", fail)
        together = fitted()
    monkeypatch.setattr(sequential, "MOST", 0)
    for layer, affine in fitted().items():
        # float64, the same sums of the same numbers up to solves of condition below 1e4
        torch.testing.assert_close(together[layer].weight, affine.weight, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_a_pruned_model_loads_with_equal_outputs(name: str, tmp_path: Path) -> None:
    model, made = build(name), Plan.from_json(planned(name, "refit").to_json())
    small = prune(model, made, batches=data())
    save_pruned(small, model, made, tmp_path)
    again = rebuild(tmp_path, lambda: NETS[name]().double().eval())
    assert torch.equal(outputs(again), outputs(small))


def test_dead_gates_go_without_a_trace() -> None:
    """Planted: two gates that are exactly zero whatever comes."""

    class ReGlu(SwiGlu):
        def forward(self, x: Tensor) -> Tensor:
            return self.down(F.relu(self.gate(x)) * self.up(x))

    model = Decoder(ReGlu).double().eval()
    with torch.no_grad():
        model.get_parameter("mlp.1.gate.weight")[[2, 9]] = 0.0
    made = plan(model, profile(model, data()), "lossless", batches=data(), probes=False)
    (planted,) = (p for p in made.sites if p.site.name == "mlp.1.gate")
    assert set(planted.removed) >= {2, 9}
    before = outputs(model)
    # float64: the terms left out are zeros, so only the order of the sums may differ
    torch.testing.assert_close(
        outputs(prune(model, made, batches=data())), before, rtol=1e-12, atol=1e-12
    )
