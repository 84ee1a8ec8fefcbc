from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from site_models import IMAGES, VECTORS, Model, concatenated, flattened_cnn, mlp, residual
from torch import Tensor, nn

from actprune.data.batch import as_batch
from actprune.running.hashing import model_hash
from actprune.sites.census import take_census
from actprune.sites.cut import Cut
from actprune.sites.find import survey
from actprune.sites.proof import agree, fits, flows_only_through
from actprune.sites.site import Site, Slot
from actprune.sites.trial import objection, objections, without

BATCH = as_batch(VECTORS, 0)


def claimed(units: int = 8, **consumer: int) -> Site:
    """The site that a trace might claim between layers `a` and `o`."""
    slots = (
        Slot(module="a", role="producer"),
        Slot(module="o", role="consumer", offset=consumer.get("offset", 0)),
    )
    return Site(name="a", kind="linear", units=units, slots=slots)


def check(model: nn.Module, site: Site) -> bool:
    with torch.no_grad():
        return flows_only_through(model.eval(), BATCH, site)


def layers(**more: nn.Module) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"a": nn.Linear(10, 8), "o": nn.Linear(8, 4), **more}


def test_a_true_claim_is_proved() -> None:
    assert check(Model(lambda m, x: m.o(F.relu(m.a(x))), **layers()), claimed())


def test_a_claim_about_the_wrong_columns_is_refuted() -> None:
    wide = layers(o=nn.Linear(10, 4))
    model = Model(lambda m, x: m.o(torch.cat([x[:, :2], F.relu(m.a(x))], 1)), **wide)
    assert check(model, claimed(offset=2))
    assert not check(model, claimed(offset=1))
    assert not check(model, claimed(offset=0))


def test_a_path_round_the_consumer_is_refuted_however_faint() -> None:
    model = Model(lambda m, x: m.o(h := F.relu(m.a(x))) + 1e-3 * h[:, :4], **layers())
    assert not check(model, claimed())


@pytest.mark.parametrize("output", ["tuple", "dict", "nested"])
def test_a_path_to_any_output_is_refuted(output: str) -> None:
    def run(m: Any, x: Tensor) -> object:
        h = F.relu(m.a(x))
        out = m.o(h)
        return {"tuple": (out, h), "dict": {"logits": out, "h": h}, "nested": (out, [{"h": h}])}[
            output
        ]

    assert not check(Model(run, **layers()), claimed())


def test_a_model_that_draws_numbers_proves_nothing() -> None:
    assert not check(Model(lambda m, x: m.o(m.a(x)) + torch.rand(1), **layers()), claimed())


def test_slots_must_lie_within_their_tensors() -> None:
    model = Model(lambda m, x: m.o(m.a(x)), **layers())
    assert fits(model, claimed())
    assert not fits(model, claimed(offset=1))
    assert not fits(model, claimed(units=9))


def test_outputs_agree_up_to_the_tolerance_times_the_largest_value() -> None:
    x = torch.tensor([1.0, -100.0])
    eps = torch.finfo().eps
    assert agree([x], [x + torch.tensor([90 * eps, 0.0])], lambda e: e)
    assert not agree([x], [x + torch.tensor([130 * eps, 0.0])], lambda e: e)
    assert agree([x / 0], [x / 0], lambda e: e)  # equal infinities, as masked logits have
    assert agree([torch.zeros(2)], [torch.zeros(2)], lambda e: e)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([], []),
        ([torch.zeros(2)], []),
        ([torch.zeros(2)], [torch.zeros(3)]),
        ([torch.zeros(2)], [torch.ones(2)]),
        ([torch.tensor([torch.nan])], [torch.tensor([torch.nan])]),
        ([torch.tensor([1.0])], [torch.tensor([torch.inf])]),
        ([torch.tensor([torch.inf])], [torch.tensor([-torch.inf])]),
    ],
)
def test_what_cannot_be_compared_does_not_agree(a: list[Tensor], b: list[Tensor]) -> None:
    assert not agree(a, b, lambda eps: 1.0 * eps)


@pytest.mark.parametrize("build", [mlp, flattened_cnn, residual, concatenated])
def test_a_trial_cut_leaves_the_model_as_it_was(build: Callable[[], nn.Module]) -> None:
    model = build().eval()
    batch = as_batch(VECTORS if build is mlp else IMAGES, 0)
    found = survey(model, batch)
    ids = [id(t) for t in (*model.parameters(), *model.buffers())]
    before = model_hash(model)
    for site in found.sites:
        cut = Cut.removing([site], {site.name: [0, 1]})
        with torch.no_grad():
            assert objection(model, batch, [site], found.census) is None
        with without(model, [site], cut):
            assert len(model.get_submodule(site.name).get_parameter("weight")) == site.units - 2
        with pytest.raises(RuntimeError), without(model, [site], cut):
            model(batch.args[0][:, :2])
    assert [id(t) for t in (*model.parameters(), *model.buffers())] == ids
    assert model_hash(model) == before


def test_a_trial_cut_finds_what_an_intervention_cannot() -> None:
    def mean_free(m: Any, x: Tensor) -> Tensor:
        h = F.relu(m.a(x))
        return m.o(h / h.shape[1])  # the number of units is in the values

    model = Model(mean_free, **layers()).eval()
    with torch.no_grad():
        assert check(model, claimed())
        census = take_census(model, BATCH, ["a", "o"])
        reason = objection(model, BATCH, [claimed()], census)
    assert reason == "cutting one of them is not the same as zeroing it"


class Chain(nn.Module):
    """Six hidden layers, of which one divides by its width."""

    def __init__(self, odd: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        widths = [6, 7, 5, 8, 9, 6, 7, 3]
        self.odd = odd
        chain = [nn.Linear(i, o) for i, o in pairwise(widths)]
        for layer in chain:
            layer.weight.data *= 2  # so that the first layer is still seen in the output
        self.layers = nn.ModuleList(chain)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        for i, layer in enumerate(self.layers[:-1]):
            x = layer(x).relu()
            if i == self.odd:
                x = x / x.shape[1]
        return self.layers[-1](x)


@pytest.mark.parametrize("odd", [-1, 0, 3, 5])
def test_sites_tried_together_are_told_apart_where_one_objects(odd: int) -> None:
    sound, model = Chain(-1).eval(), Chain(odd).eval()
    batch = as_batch(torch.rand(4, 6, generator=torch.Generator().manual_seed(2)), 0)
    sites = survey(sound, batch).sites
    census = survey(sound, batch).census
    assert len(sites) == 6
    with torch.no_grad():
        model.passes = 0
        against = objections(model, batch, sites, census)
    expected = set() if odd < 0 else {f"layers.{odd}"}
    assert against.keys() == expected
    assert model.passes == 2 if odd < 0 else model.passes <= 14
