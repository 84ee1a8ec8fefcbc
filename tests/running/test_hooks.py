from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actprune.running.hooks import changing_outputs, watching_inputs


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


X = torch.randn(5, 3)


def test_inputs_are_seen_by_name_and_detached() -> None:
    model, seen = net(), {}
    with watching_inputs(model, ["0", "2"], lambda name, x: seen.update({name: x})):
        model(X)

    assert torch.equal(seen["0"], X)
    assert torch.equal(seen["2"], model[1](model[0](X)))
    assert not seen["2"].requires_grad
    assert hooks(model) == 0


def test_a_returned_tensor_replaces_the_output_and_none_does_not() -> None:
    model = net()

    def change(name: str, x: Any, out: Any) -> Tensor | None:
        return torch.zeros_like(out) if name == "0" else None

    with changing_outputs(model, ["0", "1"], change):
        changed = model(X)

    assert torch.equal(changed, model.get_parameter("2.bias").expand(5, 2))
    assert hooks(model) == 0


@pytest.mark.parametrize("where", ["block", "callback", "name"])
def test_no_hook_outlives_a_failure(where: str) -> None:
    model = net()
    names = ["0", "2", "absent"] if where == "name" else ["0", "2"]

    def fail(*_: Any) -> None:
        raise ValueError("stop")

    def quiet(*_: Any) -> None:
        pass

    for watch in (watching_inputs, changing_outputs):
        act = fail if where == "callback" else quiet
        with pytest.raises((ValueError, AttributeError)), watch(model, names, act):
            model(X if where == "callback" else fail())
        assert hooks(model) == 0
