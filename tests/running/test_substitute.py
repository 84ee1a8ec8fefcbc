from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actprune.running.hashing import model_hash
from actprune.running.substitute import Affine, compute, substituted


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3, stride=2, padding=1, dilation=2, groups=2)
        self.fc = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def other(layer: nn.Conv2d | nn.Linear, bias: bool = True) -> Affine:
    weight = torch.randn_like(layer.weight)
    return Affine(weight=weight, bias=torch.randn(len(weight)) if bias else None)


X = torch.randn(4, 2, 9, 9, generator=torch.Generator().manual_seed(1))


def really_set(model: Net, maps: dict[str, Affine]) -> Net:
    changed = copy.deepcopy(model)
    for name, affine in maps.items():
        layer = changed.get_submodule(name)
        layer.weight = nn.Parameter(affine.weight)
        layer.register_parameter("bias", None if affine.bias is None else nn.Parameter(affine.bias))
    return changed


@pytest.mark.parametrize("bias", [True, False])
def test_a_substitution_computes_what_the_weights_really_set_would(bias: bool) -> None:
    model = net()
    maps = {"conv": other(model.conv, bias), "fc": other(model.fc, bias)}

    with torch.no_grad(), substituted(model, maps):
        got = model(X)

    assert torch.equal(got, really_set(model, maps)(X))  # the same operations: the same bits
    assert not torch.equal(got, model(X))


@pytest.mark.parametrize("fails", [False, True])
def test_parameters_and_forward_are_as_before(fails: bool) -> None:
    model = net()
    before, names, out = model_hash(model), list(model.state_dict()), model(X)
    maps = {"conv": other(model.conv), "fc": other(model.fc)}

    if fails:
        with pytest.raises(KeyError, match="stop"), substituted(model, maps):
            raise KeyError("stop")
    else:
        with substituted(model, maps):
            assert model_hash(model) == before
            assert list(model.state_dict()) == names

    assert model_hash(model) == before
    assert torch.equal(model(X), out)
    assert "forward" not in vars(model.conv)


def test_an_unknown_layer_changes_nothing() -> None:
    model = net()
    with pytest.raises(AttributeError), substituted(model, {"fc": other(model.fc), "no": Any}):  # pyright: ignore
        pass
    assert "forward" not in vars(model.fc)


def test_substitutions_nest() -> None:
    model = net()
    a, b, out = {"fc": other(model.fc)}, {"fc": other(model.fc)}, model(X)

    with torch.no_grad(), substituted(model, a):
        with substituted(model, b):
            inner = model(X)
        outer = model(X)

    assert torch.equal(inner, really_set(model, b)(X))
    assert torch.equal(outer, really_set(model, a)(X))
    assert torch.equal(model(X), out)


def test_a_forward_that_was_patched_before_comes_back() -> None:
    model = net()
    vars(model.fc)["forward"] = lambda x: torch.zeros(len(x), 3)  # as other libraries do
    with substituted(model, {"fc": other(model.fc)}):
        assert model(X).abs().sum() > 0
    assert model(X).abs().sum() == 0


def test_computing_with_a_layers_own_weights_is_the_layer() -> None:
    model = net()
    assert torch.equal(
        compute(model.conv, Affine(weight=model.conv.weight, bias=model.conv.bias), X),
        model.conv(X),
    )


def test_a_fused_transformer_layer_is_substituted_too() -> None:
    # outside autograd torch would compute the whole layer in one kernel, from its own weights
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    affine = Affine(weight=torch.zeros(8, 16), bias=torch.ones(8))

    with torch.no_grad():
        dense = model(x)
        with substituted(model, {"linear2": affine}):
            got = model(x)
        assert torch.backends.mha.get_fastpath_enabled()
        model.linear2.weight.zero_()
        model.linear2.bias.fill_(1.0)
        expected = model(x)

    assert (got - dense).abs().max() > 0.1
    # the fused kernel and the layers add the same numbers in another order: sums of at most 16
    # terms of order 1 in three stages, each rounded, scaled by a normalization of order 1
    torch.testing.assert_close(got, expected, rtol=0, atol=3 * 16 * torch.finfo().eps * 10)
