"""Passes with changed layers that do not compute what comes before them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from actprune.data.batch import Batch
from actprune.running.replay import record, replayed
from actprune.running.state import undisturbed
from actprune.running.substitute import Affine, linear_or_conv, substituted


class Winding(nn.Module):
    """A layer used twice, an activation in place, a sum, and a branch on the data."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.side = nn.Conv2d(4, 4, 1)
        self.other = nn.Conv2d(4, 4, 1)
        self.last = nn.Linear(4, 5)
        self.ran: list[str] = []
        for name, module in self.named_children():
            module.register_forward_hook(lambda *_, name=name: self.ran.append(name))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu_()
        x = self.again(x).relu() + x
        x = self.again(x).relu() + x
        x = self.side(x) if x.mean() > 0 else self.other(x)
        return self.last(x.mean((2, 3)))


LAYERS = ("first", "again", "side", "last")


def batch() -> Batch:
    x = torch.rand(6, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    return Batch(args=(x,), kwargs={}, labels=None, ids=torch.arange(6))


def turned(model: nn.Module, name: str) -> Affine:
    layer = linear_or_conv(model, name)
    return Affine(weight=layer.weight.detach().flip(0) * 1.5, bias=layer.bias)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("kept", [2**30, 6 * 4 * 25 * 4 * 2, 0])
def test_a_replayed_pass_returns_the_bits_of_a_whole_one(name: str, kept: int) -> None:
    model, maps = Winding(), None
    with undisturbed(model):
        maps = {name: turned(model, name)}
        known = record(model, batch(), kept=kept)
        assert torch.equal(known.output, batch().run(model))
        with substituted(model, maps):
            whole = batch().run(model)
            with replayed(known, [model.get_submodule(name)]):
                assert torch.equal(batch().run(model), whole)
        assert not torch.equal(known.output, whole)


def computed(model: nn.Module, known, changed: str) -> set[str]:
    """The layers whose weights a replayed pass multiplies with."""
    found: set[str] = set()
    for name in LAYERS:
        layer = linear_or_conv(model, name)
        before = layer.weight.data.clone()
        layer.weight.data.fill_(torch.nan)  # seen in the output where the layer computes
        with replayed(known, [model.get_submodule(changed)]):
            if batch().run(model).isnan().any():
                found.add(name)
        layer.weight.data.copy_(before)
    return found


def test_only_layers_before_the_change_are_taken_from_the_record() -> None:
    model = Winding()
    with undisturbed(model):
        known = record(model, batch())
        assert computed(model, known, "last") == {"last"}
        assert computed(model, known, "side") == {"side", "last"}
        assert computed(model, known, "again") == {"again", "side", "last"}
        assert computed(model, known, "first") == set(LAYERS)


def test_an_output_overwritten_in_place_is_computed_again() -> None:
    model = Winding()
    with undisturbed(model):
        known = record(model, batch())
    assert model.norm not in known.outputs
    assert model.first in known.outputs


def test_models_are_left_as_they_were() -> None:
    model = Winding()
    with undisturbed(model):
        known = record(model, batch())
        with pytest.raises(RuntimeError), replayed(known, [model.last]):
            raise RuntimeError
    assert all("forward" not in m.__dict__ for m in model.modules())


def test_a_change_in_a_layer_that_never_ran_replays_nothing() -> None:
    model = Winding()
    with undisturbed(model):
        known = record(model, batch())
        with replayed(known, [model.other]):
            assert all("forward" not in m.__dict__ for m in model.modules())


def test_hooks_run_as_in_a_whole_pass() -> None:
    model = Winding()
    with undisturbed(model):
        known = record(model, batch())
        model.ran.clear()
        with replayed(known, [model.last]):
            batch().run(model)
    assert model.ran == ["first", "norm", "again", "again", "side", "last"]
