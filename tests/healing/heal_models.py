"""A small network, a narrower one of the same classes that has lost something, and samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from actprune.data.source import Arrays
from actprune.healing.settings import HealSettings


class Net(nn.Module):
    """Two hidden layers, with what training mode changes between them."""

    def __init__(self, width: int, outputs: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.a, self.norm = nn.Linear(5, width), nn.BatchNorm1d(width)
        self.b, self.drop = nn.Linear(width, 8), nn.Dropout(dropout)
        self.c = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.drop(self.b(self.norm(self.a(x)).relu()).relu()))


def dense(outputs: int = 3) -> Net:
    torch.manual_seed(0)
    net = Net(24, outputs)
    with torch.no_grad():  # statistics of its own, and outputs that differ between samples
        for _ in range(20):
            net(torch.randn(64, 5))
        net.c.weight *= 8
    return net.eval()


def narrow(outputs: int = 3, dropout: float = 0.0) -> Net:
    """The first 12 of the 24 hidden units, uncompensated."""
    whole, small = dense(outputs), Net(12, outputs, dropout)
    state = small.state_dict()
    for name, value in whole.state_dict().items():
        state[name] = value[..., :12] if name == "b.weight" else value[: len(state[name])] if (
            value.ndim
        ) else value  # fmt: skip
    small.load_state_dict(state)
    return small.eval()


def data(n: int = 400, *, labels: bool = True, wide: bool = False) -> Arrays:
    gen = torch.Generator().manual_seed(1)
    x = torch.randn(n, 5, generator=gen)
    with torch.no_grad():
        y = dense()(x).argmax(1) if labels else None
    return Arrays.of(x.double() if wide else x, labels=y)


def quick(**changes: Any) -> HealSettings:
    values: dict[str, Any] = {"steps": 60, "lr": 1e-2, "batch": 32, "every": 10}
    return HealSettings(**{**values, **changes})


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def assert_same_bits(a: nn.Module, b: nn.Module) -> None:
    x, y = state_of(a), state_of(b)
    assert x.keys() == y.keys()
    for name in x:
        assert torch.equal(x[name], y[name]), name
