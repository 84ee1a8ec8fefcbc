from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from actprune.running.hashing import model_hash


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_the_same_tensors_have_the_same_hash() -> None:
    assert model_hash(net()) == model_hash(net())
    assert len(model_hash(net())) == 32


@pytest.mark.parametrize("bit", [0, 7, 31])
@pytest.mark.parametrize("name", ["0.weight", "2.bias", "1.running_var"])
def test_one_bit_changes_the_hash(name: str, bit: int) -> None:
    model = net()
    before = model_hash(model)
    tensor = model.state_dict()[name]
    mask = torch.tensor(1 << bit if bit < 31 else -(1 << 31), dtype=torch.int32)
    tensor.view(torch.int32).reshape(-1)[-1] ^= mask
    assert model_hash(model) != before


def test_names_shapes_and_types_count() -> None:
    plain = nn.Linear(4, 2, bias=False)
    same_bytes = nn.Linear(2, 4, bias=False)
    same_bytes.weight.data = plain.weight.data.reshape(4, 2).clone()
    renamed = nn.Sequential(plain)
    halved = copy.deepcopy(plain).bfloat16()
    hashes = {model_hash(m) for m in (plain, same_bytes, renamed, halved)}
    assert len(hashes) == 4


def test_flags_modes_layout_and_order_do_not_count() -> None:
    model = net()
    before = model_hash(model)
    model.requires_grad_(False).eval()
    weight = model.get_parameter("0.weight")
    weight.data = weight.data.T.contiguous().T  # other strides, same values
    assert model_hash(model) == before
    a, b = nn.Module(), nn.Module()
    for module, order in ((a, "xy"), (b, "yx")):
        for name in order:
            module.register_buffer(name, torch.ones(2))
    assert model_hash(a) == model_hash(b)


def test_every_kind_of_tensor_can_be_hashed() -> None:
    module = nn.Module()
    dtypes = [torch.bool, torch.int8, torch.float16, torch.bfloat16, torch.complex64]
    for i, dtype in enumerate(dtypes):
        module.register_buffer(f"b{i}", torch.ones(3).to(dtype))
    module.register_buffer("empty", torch.empty(0, 3))
    module.register_buffer("scalar", torch.tensor(1.0))
    assert len(model_hash(module)) == 32
